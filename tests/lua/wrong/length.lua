-- bad argument #1 to 'insert' (a table with __len)
table.insert(setmetatable({}, {
  __len = function()
    return 1 << 50
  end,
}), 1, "x")
