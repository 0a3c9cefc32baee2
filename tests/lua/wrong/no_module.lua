-- tests/lua/wrong/no_module.lua:2: no module 'none' in the folder lib
return require("none")
