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

  local function new_pod(rs, template)
    return {
      metadata = {
        generateName = rs.metadata.name .. "-", labels = template.metadata.labels,
        annotations = template.metadata.annotations, finalizers = template.metadata.finalizers,
        ownerReferences = { workload.owner(rs) },
      },
      spec = template.spec,
    }
  end

  ---Tells what was made or deleted. Returns the first error that counts.
  local function tell(rs, results, done, reason, text)
    local messages, failure = {}, nil
    for i, r in ipairs(results) do
      if r.error then
        failure = failure or r.error
      elseif r.object then
        messages[#messages + 1] = text .. done(r, i)
      end
    end
    workload.events(rs, "Normal", reason, messages, component)
    return failure
  end

  -- In parts that double while all goes well, so that what is refused is refused few times.
  local function create(rs, count)
    local template, part = neap.edit(rs.spec.template), 1
    count = math.min(count, BURST)
    while count > 0 do
      local pods = {}
      for i = 1, math.min(part, count) do
        pods[i] = new_pod(rs, template)
      end
      local err = tell(rs, neap.create_all("v1/pods", rs.metadata.namespace, pods), function(r)
        return r.object.metadata.name
      end, "SuccessfulCreate", "Created pod: ")
      if err then
        if err.reason == "Forbidden" and err.message:find("being terminated", 1, true) then
          return
        end
        workload.event(rs, "Warning", "FailedCreate", "Error creating: " .. err.message, component)
        return err.message
      end
      count, part = count - #pods, part * 2
    end
  end

  local function delete(rs, pods)
    for first = 1, #pods, BURST do
      local some = table.move(pods, first, math.min(first + BURST - 1, #pods), 1, {})
      local results = neap.delete_all("v1/pods", some)
      for _, r in ipairs(results) do
        if r.error and r.error.reason == "NotFound" then
          r.error = nil
        end
      end
      local err = tell(rs, results, function(_, i)
        return some[i].metadata.name
      end, "SuccessfulDelete", "Deleted pod: ")
      if err then
        return err.message
      end
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
      local active, failure = workload.claim("v1/pods", rs, selector_of(rs), workload.ACTIVE), nil
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
