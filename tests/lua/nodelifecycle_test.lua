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
