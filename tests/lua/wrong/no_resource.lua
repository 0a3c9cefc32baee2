-- tests/lua/wrong/no_resource.lua: no resource "apps/deployment"
return neap.admission { name = "x", resources = { "apps/deployment" }, validate = function() end }
