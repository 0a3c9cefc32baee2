local function heartbeat(t, name)
  local spec = { holderIdentity = name, renewTime = (t:time():gsub("Z$", ".000000Z")) }
  if t:get("coordination.k8s.io/v1/leases", "kube-node-lease", name) then
    t:patch("coordination.k8s.io/v1/leases", "kube-node-lease", name, { spec = spec })
  else
    t:create {
      apiVersion = "coordination.k8s.io/v1", kind = "Lease", metadata = { name = name, namespace = "kube-node-lease" },
      spec = spec,
    }
  end
end

local function taints(t, name)
  local out = {}
  for _, taint in ipairs(t:get("v1/nodes", nil, name).spec.taints or {}) do
    out[#out + 1] = taint.key:gsub("^node.kubernetes.io/", "") .. ":" .. taint.effect
  end
  table.sort(out)
  return out
end

local function beat_for(t, name, seconds)
  for _ = 1, seconds, 10 do
    heartbeat(t, name)
    t:advance(10)
  end
end

test("a node that beats is ready and without taints", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  beat_for(t, "n", 120)
  t:equal(taints(t, "n"), {})
end)

test("what happened while the whole cluster was off is no silence of a node", function(t)
  t:node("n")
  heartbeat(t, "n")
  t:advance(7200)
  t:controller("nodelifecycle")
  t:advance(30)
  t:equal(taints(t, "n"), {})
  t:equal(t:get("v1/nodes", nil, "n").status.conditions[1].status, "True")
  beat_for(t, "n", 120)
  t:equal(taints(t, "n"), {})
  t:advance(120)
  t:equal(taints(t, "n"), { "unreachable:NoExecute", "unreachable:NoSchedule" })
end)

test("a node that was silent is believed as soon as it tells its status, before its Lease is renewed", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  t:advance(120)
  t:equal(t:get("v1/nodes", nil, "n").status.conditions[1].status, "Unknown")
  t:patch("v1/nodes", nil, "n", { status = { conditions = { {
    type = "Ready", status = "True", reason = "KubeletReady", lastHeartbeatTime = t:time(), lastTransitionTime = t:time(),
  } } } }, "status")
  t:equal(t:get("v1/nodes", nil, "n").status.conditions[1].status, "True")
  t:equal(taints(t, "n"), {})
  beat_for(t, "n", 60)
  t:equal(taints(t, "n"), {})
end)

test("a silent node is Unknown, tainted, and its pods go after five minutes", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  t:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = "p" },
    spec = { nodeName = "n", containers = { { name = "c", image = "i" } } },
  }
  t:kubelet()
  t:advance(120)
  t:equal(t:get("v1/nodes", nil, "n").status.conditions[1].status, "Unknown")
  t:equal(taints(t, "n"), { "unreachable:NoExecute", "unreachable:NoSchedule" })
  t:equal(t:get("v1/pods", "default", "p").metadata.deletionTimestamp, nil)
  t:advance(400)
  t:ok(t:get("v1/pods", "default", "p").metadata.deletionTimestamp, "the pod is still there")
  t:ok(#t:events("TaintManagerEviction") >= 1)
end)

test("a node that is not ready is tainted so, and freed when it is", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  t:patch("v1/nodes", nil, "n", { status = { conditions = { { type = "Ready", status = "False" } } } }, "status")
  t:equal(taints(t, "n"), { "not-ready:NoExecute", "not-ready:NoSchedule" })
  t:patch("v1/nodes", nil, "n", { status = { conditions = { { type = "Ready", status = "True" } } } }, "status")
  t:equal(taints(t, "n"), {})
end)

local function pod_on(t, node, tolerations)
  t:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = "p" },
    spec = { nodeName = node, tolerations = tolerations, containers = { { name = "c", image = "i" } } },
  }
  t:kubelet()
end

local function said(object, kind)
  for _, c in ipairs(object.status.conditions or {}) do
    if c.type == kind then
      return c
    end
  end
end

test("the pods of a silent node are not ready: nobody is sent there", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  pod_on(t, "n")
  t:equal(said(t:get("v1/pods", "default", "p"), "Ready").status, "True")
  t:advance(60)
  t:equal(said(t:get("v1/pods", "default", "p"), "Ready").status, "False")
  t:equal(#t:events("NodeNotReady"), 2) -- of the node and of the pod
end)

test("a node that never reported is said to be so; the network's condition is left alone", function(t)
  t:controller("nodelifecycle")
  t:create { apiVersion = "v1", kind = "Node", metadata = { name = "n" } }
  t:patch("v1/nodes", nil, "n", { status = { conditions = { { type = "NetworkUnavailable", status = "False" } } } }, "status")
  t:advance(60)
  local node = t:get("v1/nodes", nil, "n")
  for _, kind in ipairs { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" } do
    t:has(said(node, kind), { status = "Unknown", reason = "NodeStatusNeverUpdated" })
  end
  t:equal(said(node, "NetworkUnavailable").status, "False")
end)

test("a pod that is bound to a node which evicts goes at once, and says why", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  t:patch("v1/nodes", nil, "n", { spec = { taints = { { key = "k", effect = "NoExecute" } } } })
  t:create { apiVersion = "v1", kind = "Pod", metadata = { name = "p" }, spec = { containers = { { name = "c", image = "i" } } } }
  t:create {
    apiVersion = "v1", kind = "Binding", metadata = { name = "p", namespace = "default" },
    target = { kind = "Node", name = "n" },
  }
  t:ok(t:get("v1/pods", "default", "p").metadata.deletionTimestamp, "it stays")
  t:has(said(t:get("v1/pods", "default", "p"), "DisruptionTarget"), { status = "True", reason = "DeletionByTaintManager" })
end)

test("the pods of a node that is no more go after a while, failed", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  pod_on(t, "n")
  t:patch("v1/pods", "default", "p", { metadata = { finalizers = { "example.com/look" } } })
  t:delete("v1/nodes", nil, "n")
  t:advance(30)
  t:equal(t:get("v1/pods", "default", "p").metadata.deletionTimestamp, nil)
  t:advance(15)
  local pod = t:get("v1/pods", "default", "p")
  t:ok(pod.metadata.deletionTimestamp)
  t:equal(pod.status.phase, "Failed")
  t:has(said(pod, "DisruptionTarget"), { status = "True", reason = "DeletionByPodGC" })
  t:patch("v1/pods", "default", "p", { metadata = { finalizers = neap.null } })
  t:equal(t:get("v1/pods", "default", "p"), nil)
end)

test("a node that comes again in time keeps its pods", function(t)
  t:controller("nodelifecycle")
  t:node("n")
  heartbeat(t, "n")
  pod_on(t, "n")
  t:delete("v1/nodes", nil, "n")
  t:advance(30)
  t:node("n")
  beat_for(t, "n", 60)
  t:equal(t:get("v1/pods", "default", "p").metadata.deletionTimestamp, nil)
end)
