-- tests/lua/wrong/lib/itself.lua:2: module 'itself' requires itself
return require("itself")
