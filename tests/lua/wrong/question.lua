-- tests/lua/wrong/question.lua:2: string or pattern too long for a pattern match
return { (("a"):rep(100)):find(("a?"):rep(80) .. ("a"):rep(80)) }
