-- owns wants a list
return neap.controller { name = "x", for_ = "v1/pods", owns = "v1/pods", reconcile = function()
end }
