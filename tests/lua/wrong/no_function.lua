-- a rule needs mutate or validate
return neap.admission { name = "x", resources = { "pods" } }
