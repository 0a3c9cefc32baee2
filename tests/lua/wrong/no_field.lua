-- tests/lua/wrong/no_field.lua:2: neap.controller has no field "reconsile"
return neap.controller { name = "x", for_ = "v1/pods", reconsile = function()
end }
