-- the script took more time than it may
local _ <close> = setmetatable({}, {
  __close = function()
    while true do
    end
  end,
})
error("first")
