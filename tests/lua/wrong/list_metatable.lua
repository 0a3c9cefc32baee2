-- attempt to index a string value
getmetatable(neap.array {}).__index = function()
  return 1
end
