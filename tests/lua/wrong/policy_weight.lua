-- weight is a whole number of 1 to 100
return neap.scheduler.score { name = "x", weight = 1000, score = function()
  return 1
end }
