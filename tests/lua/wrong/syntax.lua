-- tests/lua/wrong/syntax.lua:3:
return neap.controller {
  name = = "x",
}
