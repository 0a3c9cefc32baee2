-- ReplicaSet: as many pods as wanted. Source: Kubernetes documentation, "ReplicaSet".
return require("replicas")("apps/v1/replicasets", "replicaset-controller", function(set)
  return set.spec.selector
end)
