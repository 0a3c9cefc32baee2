-- tests/lua/wrong/endless.lua:3: the script took more time than it may
while true do
  local _ = 1
end
