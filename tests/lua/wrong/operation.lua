-- no operation "create"
return neap.admission { name = "x", resources = { "pods" }, operations = { "create" }, validate = function() end }
