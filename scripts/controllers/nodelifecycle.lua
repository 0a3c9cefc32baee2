-- Nodes that no longer report are marked and tainted; pods that do not tolerate it are deleted in time.
-- Source: Kubernetes documentation, "Nodes: heartbeats", "Taints and Tolerations".
local workload = require("workload")
local GRACE = 50
local NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
local CONDITION_TAINTS = {
  MemoryPressure = "node.kubernetes.io/memory-pressure", DiskPressure = "node.kubernetes.io/disk-pressure",
  PIDPressure = "node.kubernetes.io/pid-pressure", NetworkUnavailable = "node.kubernetes.io/network-unavailable",
}

local function mark_unknown(node)
  local conditions = neap.edit(node.status.conditions) or {}
  local changed = false
  for _, c in ipairs(conditions) do
    if (c.type == "Ready" or CONDITION_TAINTS[c.type]) and c.status ~= "Unknown" then
      c.status, c.reason, c.message = "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."
      c.lastTransitionTime, changed = neap.time(), true
    end
  end
  if changed then
    workload.check(neap.patch("v1/nodes", nil, node.metadata.name, { status = { conditions = conditions } }, "status"))
  end
end

local function wanted_taints(node, silent)
  local want = {}
  local ready = workload.condition(node, "Ready")
  local function add(key, effect)
    want[key .. effect] = { key = key, effect = effect }
  end
  if silent or (ready and ready.status == "Unknown") then
    add(UNREACHABLE, "NoSchedule")
    add(UNREACHABLE, "NoExecute")
  elseif not ready or ready.status ~= "True" then
    add(NOT_READY, "NoSchedule")
    add(NOT_READY, "NoExecute")
  end
  for kind, key in pairs(CONDITION_TAINTS) do
    local c = workload.condition(node, kind)
    if c and c.status == "True" then
      add(key, "NoSchedule")
    end
  end
  if node.spec.unschedulable then
    add("node.kubernetes.io/unschedulable", "NoSchedule")
  end
  return want
end

local MANAGED = { [NOT_READY] = true, [UNREACHABLE] = true, ["node.kubernetes.io/unschedulable"] = true }
for _, key in pairs(CONDITION_TAINTS) do
  MANAGED[key] = true
end

local function write_taints(node, silent)
  local want, taints, changed = wanted_taints(node, silent), neap.array {}, false
  for _, t in pairs(node.spec.taints or {}) do
    local id = t.key .. t.effect
    if not MANAGED[t.key] or want[id] then
      taints[#taints + 1] = neap.edit(t)
      want[id] = nil
    else
      changed = true
    end
  end
  for _, t in pairs(want) do
    if t.effect == "NoExecute" then
      t.timeAdded = neap.time()
    end
    taints[#taints + 1], changed = t, true
  end
  if changed then
    workload.except("Conflict", neap.patch("v1/nodes", nil, node.metadata.name,
      { metadata = { resourceVersion = node.metadata.resourceVersion }, spec = { taints = taints } }))
  end
  return taints
end

local function tolerated(pod, taint)
  local seconds, any = nil, false
  for _, t in pairs(pod.spec.tolerations or {}) do
    local key = not t.key or t.key == "" or t.key == taint.key
    local value = t.operator == "Exists" or (t.value or "") == (taint.value or "")
    local effect = not t.effect or t.effect == "" or t.effect == taint.effect
    if key and value and effect then
      any = true
      if t.tolerationSeconds then
        seconds = math.min(seconds or t.tolerationSeconds, t.tolerationSeconds)
      end
    end
  end
  return any, seconds
end

-- Deletes what may no longer run there; how long until the next one may not.
local function evict(node, taints)
  local wait
  for _, taint in ipairs(taints) do
    if taint.effect == "NoExecute" then
      local since = neap.seconds(taint.timeAdded) or neap.now()
      for _, pod in ipairs(neap.list("v1/pods", { field = "spec.nodeName", value = node.metadata.name })) do
        local any, seconds = tolerated(pod, taint)
        local left = any and seconds and since + seconds - neap.now()
        if not pod.metadata.deletionTimestamp and (not any or (left and left <= 0)) then
          workload.event(pod, "Normal", "TaintManagerEviction",
            ("Marking for deletion Pod %s/%s"):format(pod.metadata.namespace, pod.metadata.name), "taint-eviction-controller")
          workload.except("NotFound Conflict", neap.delete("v1/pods",
            pod.metadata.namespace, pod.metadata.name, { uid = pod.metadata.uid }))
        elseif left and left > 0 then
          wait = math.min(wait or left, left)
        end
      end
    end
  end
  return wait
end

return neap.controller {
  name = "nodelifecycle",
  for_ = "v1/nodes",
  watches = {
    { "v1/pods", function(pod, event)
      return event == "ADDED" and pod.spec.nodeName and "/" .. pod.spec.nodeName or nil
    end },
  },
  reconcile = function(_, name)
    local node = neap.get("v1/nodes", nil, name)
    if not node or node.metadata.deletionTimestamp then
      return
    end
    local lease = neap.get("coordination.k8s.io/v1/leases", "kube-node-lease", name)
    local heard = lease and neap.seconds(lease.spec.renewTime) or neap.seconds(node.metadata.creationTimestamp)
    local silent = (heard or 0) + GRACE <= neap.now()
    if silent then
      mark_unknown(node)
      node = neap.get("v1/nodes", nil, name) or node
    end
    local wait = evict(node, write_taints(node, silent))
    local until_silent = silent and GRACE or math.max(1, (heard or 0) + GRACE - neap.now())
    return math.min(wait or until_silent, until_silent)
  end,
}
