-- tests/lua/wrong/json.lua:6: 
local t = {}
for _ = 1, 60 do
  t = { t, t }
end
neap.hash(t)
