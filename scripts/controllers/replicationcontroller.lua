-- ReplicationController: what ReplicaSets replaced. Source: Kubernetes documentation, "ReplicationController".
return require("replicas")("v1/replicationcontrollers", "replication-controller", function(set)
  return { matchLabels = set.spec.selector }
end)
