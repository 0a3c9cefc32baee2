-- bad argument #2 to 'setmetatable' (__gc is not for scripts)
setmetatable({}, {
  __gc = function()
    while true do
    end
  end,
})
