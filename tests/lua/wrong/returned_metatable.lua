-- neap.controller wants a plain table
return neap.controller(setmetatable({}, {
  __index = function(_, k)
    error("no " .. k)
  end,
}))
