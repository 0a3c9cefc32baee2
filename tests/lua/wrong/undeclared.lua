-- must return neap.controller{...}, neap.admission{...} or a policy
return { name = "x", for_ = "v1/pods", reconcile = function()
end }
