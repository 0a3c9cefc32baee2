-- Nodes that no longer report are marked and tainted, their pods are not ready; pods that do not tolerate it are deleted
-- in time. Pods of a node that is no more are deleted too. Source: Kubernetes documentation, "Nodes: heartbeats",
-- "Taints and Tolerations", "Pod Lifecycle: garbage collection of Pods", "Disruptions: pod disruption conditions".
local workload = require("workload")
local GRACE, GONE_S = 50, 40
local LOOK_S = 10 -- Leases are looked at so often: to be told of each renewal would cost as much, and gain seconds
local NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
local CONDITION_TAINTS = {
  MemoryPressure = "node.kubernetes.io/memory-pressure", DiskPressure = "node.kubernetes.io/disk-pressure",
  PIDPressure = "node.kubernetes.io/pid-pressure", NetworkUnavailable = "node.kubernetes.io/network-unavailable",
}

-- What the agent says about its node; the network's condition is not its.
local REPORTED = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" }

local function mark_unknown(node)
  local conditions, by_type = neap.edit(node.status.conditions) or neap.array {}, {}
  local changed = false
  for _, c in ipairs(conditions) do
    by_type[c.type] = c
  end
  for _, kind in ipairs(REPORTED) do
    local c, now = by_type[kind], neap.time()
    if not c then
      conditions[#conditions + 1], changed = {
        type = kind, status = "Unknown", reason = "NodeStatusNeverUpdated", message = "Kubelet never posted node status.",
        lastHeartbeatTime = node.metadata.creationTimestamp, lastTransitionTime = now,
      }, true
    elseif c.status ~= "Unknown" then
      c.status, c.reason, c.message = "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."
      c.lastTransitionTime, changed = now, true
    end
  end
  if changed then
    workload.check(neap.patch("v1/nodes", nil, node.metadata.name, { status = { conditions = conditions } }, "status"))
    workload.event(node, "Normal", "NodeNotReady", ("Node %s status is now: NodeNotReady"):format(node.metadata.name),
      "node-controller")
  end
end

local function pods_of(name)
  return neap.list("v1/pods", { field = "spec.nodeName", value = name })
end

-- Sets a condition of a pod, and what else its status shall say.
local function tell(pod, condition, status)
  condition.lastTransitionTime = neap.time()
  status = status or {}
  status.conditions = neap.array { condition }
  workload.except("NotFound Conflict", neap.patch("v1/pods", pod.metadata.namespace, pod.metadata.name,
    { metadata = { uid = pod.metadata.uid }, status = status }, "status", "strategic"))
end

-- Nobody is sent to the pods of a silent node; its agent says otherwise when it is back.
local function mark_pods(name)
  for _, pod in workload.each(pods_of(name)) do
    if workload.ready(pod) then
      tell(pod, { type = "Ready", status = "False" })
      workload.event(pod, "Warning", "NodeNotReady", "Node is not ready", "node-controller")
    end
  end
end

local absent = {} -- name of a node that is no more -> since when

-- Its pods go, after a while: it may be made again. Returns how long.
local function bury(name)
  local pods = pods_of(name)
  if #pods == 0 then
    absent[name] = nil
    return nil
  end
  absent[name] = absent[name] or neap.now()
  local left = absent[name] + GONE_S - neap.now()
  if left > 0 then
    return left
  end
  for _, pod in workload.each(pods) do
    if pod.status.phase ~= "Succeeded" and pod.status.phase ~= "Failed" then
      tell(pod, { type = "DisruptionTarget", status = "True", reason = "DeletionByPodGC",
        message = "PodGC: node no longer exists" }, { phase = "Failed" })
    end
    workload.except("NotFound Conflict", neap.delete("v1/pods", pod.metadata.namespace, pod.metadata.name,
      { uid = pod.metadata.uid, grace = 0 }))
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
      for _, pod in workload.each(pods_of(node.metadata.name)) do
        local any, seconds = tolerated(pod, taint)
        local left = any and seconds and since + seconds - neap.now()
        if not pod.metadata.deletionTimestamp and (not any or (left and left <= 0)) then
          workload.event(pod, "Normal", "TaintManagerEviction",
            ("Marking for deletion Pod %s/%s"):format(pod.metadata.namespace, pod.metadata.name), "taint-eviction-controller")
          tell(pod, { type = "DisruptionTarget", status = "True", reason = "DeletionByTaintManager",
            message = "Taint manager: deleting due to NoExecute taint" })
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

local function evicts(node)
  for _, taint in pairs(node.spec.taints or {}) do
    if taint.effect == "NoExecute" then
      return true
    end
  end
  return false
end

local seen = {} -- name of a node -> what it said last, and when that was seen here

-- How long a node has said nothing, by Lease or status, as far as we have watched: what happened while nobody did (the
-- whole cluster was off) is no silence of its.
local function silence(node)
  local name = node.metadata.name
  local lease = neap.get("coordination.k8s.io/v1/leases", "kube-node-lease", name)
  local ready = workload.condition(node, "Ready")
  local said = (lease and lease.spec.renewTime or "") .. " " .. (ready and ready.lastHeartbeatTime or "")
  local last = seen[name]
  if not last or last.said ~= said then
    last = { said = said, at = neap.now() }
    seen[name] = last
  end
  return neap.now() - last.at
end

return neap.controller {
  name = "nodelifecycle",
  for_ = "v1/nodes",
  watches = {
    { "v1/pods", function(pod, event)
      local name = event ~= "DELETED" and pod.spec.nodeName
      local node = name and neap.get("v1/nodes", nil, name)
      return name and (not node or evicts(node)) and "/" .. name or nil
    end },
  },
  reconcile = function(_, name)
    local node = neap.get("v1/nodes", nil, name)
    if not node then
      seen[name] = nil
      return bury(name)
    end
    absent[name] = nil
    if node.metadata.deletionTimestamp then
      return
    end
    local quiet = silence(node)
    local silent = quiet >= GRACE
    if silent then
      mark_unknown(node)
      mark_pods(name)
      node = neap.get("v1/nodes", nil, name) or node
    end
    local wait = evict(node, write_taints(node, silent))
    return math.min(wait or LOOK_S, LOOK_S)
  end,
}
