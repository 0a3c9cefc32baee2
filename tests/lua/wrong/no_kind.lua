-- tests/lua/wrong/no_kind.lua: no kind "v1/podz"
return neap.controller { name = "x", for_ = "v1/podz", reconcile = function() end }
