-- As many pods as wanted, for ReplicaSets and ReplicationControllers: they differ in their kind and in how they
-- write a selector. Source: Kubernetes documentation, "ReplicaSet".
local workload = require("workload")
local BURST = 500

---@param kind string "apps/v1/replicasets"
---@param component string whose events these are
---@param selector_of fun(set: table): table as a LabelSelector
return function(kind, component, selector_of)
  -- Lower goes first when there are too many.
  local function rank(pod)
    local phases = { Pending = 0, Unknown = 1, Running = 2 }
    return {
      pod.spec.nodeName and 1 or 0,
      phases[pod.status.phase] or 0,
      workload.ready(pod) and 1 or 0,
      tonumber((pod.metadata.annotations or {})["controller.kubernetes.io/pod-deletion-cost"]) or 0,
      -(neap.seconds(pod.metadata.creationTimestamp) or 0),
    }
  end

  local function surplus(pods, count)
    local ranked = {}
    for i, pod in workload.each(pods) do
      ranked[i] = { pod = pod, rank = rank(pod) }
    end
    table.sort(ranked, function(a, b)
      for i = 1, #a.rank do
        if a.rank[i] ~= b.rank[i] then
          return a.rank[i] < b.rank[i]
        end
      end
      return a.pod.metadata.name < b.pod.metadata.name
    end)
    local out = {}
    for i = 1, count do
      out[i] = ranked[i].pod
    end
    return out
  end

  local function create(rs, count)
    local template = neap.edit(rs.spec.template)
    for _ = 1, math.min(count, BURST) do
      local pod, err = neap.create("v1/pods", rs.metadata.namespace, {
        metadata = {
          generateName = rs.metadata.name .. "-", labels = template.metadata.labels,
          annotations = template.metadata.annotations, finalizers = template.metadata.finalizers,
          ownerReferences = { workload.owner(rs) },
        },
        spec = template.spec,
      })
      if not pod then
        if err.reason == "Forbidden" and err.message:find("being terminated", 1, true) then
          return
        end
        workload.event(rs, "Warning", "FailedCreate", "Error creating: " .. err.message, component)
        return err.message
      end
      workload.event(rs, "Normal", "SuccessfulCreate", "Created pod: " .. pod.metadata.name, component)
    end
  end

  local function delete(rs, pods)
    for _, pod in ipairs(pods) do
      local _, err = neap.delete("v1/pods", rs.metadata.namespace, pod.metadata.name, { uid = pod.metadata.uid })
      if err and err.reason ~= "NotFound" then
        return err.message
      end
      workload.event(rs, "Normal", "SuccessfulDelete", "Deleted pod: " .. pod.metadata.name, component)
    end
  end

  local function status_of(rs, pods, failure)
    local min_ready, wait = rs.spec.minReadySeconds or 0, nil
    local status = { replicas = 0, fullyLabeledReplicas = 0, readyReplicas = 0, availableReplicas = 0 }
    for _, pod in workload.each(pods) do
      status.replicas = status.replicas + 1
      local full = true
      for k, v in pairs(rs.spec.template.metadata.labels or {}) do
        full = full and pod.metadata.labels and pod.metadata.labels[k] == v
      end
      status.fullyLabeledReplicas = status.fullyLabeledReplicas + (full and 1 or 0)
      status.readyReplicas = status.readyReplicas + (workload.ready(pod) and 1 or 0)
      local available, left = workload.available(pod, min_ready)
      status.availableReplicas = status.availableReplicas + (available and 1 or 0)
      wait = left and math.min(wait or left, left) or wait
    end
    status.observedGeneration = rs.metadata.generation
    local conditions = neap.edit(rs.status.conditions) or {}
    if failure then
      workload.set_condition(conditions, "ReplicaFailure", "True", "FailedCreate", failure)
    else
      conditions = workload.without_condition(conditions, "ReplicaFailure")
    end
    status.conditions = #conditions > 0 and conditions or nil
    return status, wait
  end

  local FIELDS = { "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration" }

  local function write_status(rs, status)
    local same = neap.equal(status.conditions or neap.null, rs.status.conditions or neap.null)
    for _, f in ipairs(FIELDS) do
      same = same and (rs.status[f] or 0) == (status[f] or 0)
    end
    if same then
      return
    end
    status.conditions = status.conditions or neap.null
    workload.except("NotFound", neap.patch(kind, rs.metadata.namespace, rs.metadata.name, { status = status },
      "status"))
  end

  return neap.controller {
    name = kind:match("([^/]+)s$"),
    for_ = kind,
    owns = { "v1/pods" },
    watches = {
      -- a pod without a controller may be one that a set wants
      { "v1/pods", workload.suitors(kind, selector_of) },
    },
    reconcile = function(ns, name)
      local rs = neap.get(kind, ns, name)
      if not rs then
        return
      end
      local active, failure = workload.claim("v1/pods", rs, selector_of(rs), workload.active), nil
      if not rs.metadata.deletionTimestamp then
        local missing = (rs.spec.replicas or 1) - #active
        if missing > 0 then
          failure = create(rs, missing)
        elseif missing < 0 then
          failure = delete(rs, surplus(active, -missing))
        end
      end
      local status, wait = status_of(rs, active, failure)
      write_status(rs, status)
      if failure then
        error(failure, 0)
      end
      return wait
    end,
  }
end
