-- for_ wants a resource, as "v1/pods"
return neap.controller { name = "x", reconcile = function()
end }
