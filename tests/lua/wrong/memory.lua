-- tests/lua/wrong/memory.lua:4: not enough memory
local s = "x"
while true do
  s = s .. s
end
