-- string or pattern too long for a pattern match
return { (("a"):rep(60000)):find("\0*.-.-.-b") }
