-- a controller needs reconcile or sync
return neap.controller { name = "x", for_ = "v1/pods" }
