-- a function score or filter is missing
return neap.scheduler.filter { name = "x" }
