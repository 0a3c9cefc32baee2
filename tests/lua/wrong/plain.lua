-- string or pattern too long for a pattern match
return { (("a"):rep(200000)):find(("a"):rep(100000) .. "b", 1, true) }
