-- As many pods as wanted, for ReplicaSets and ReplicationControllers: they differ in their kind and in how they
-- write a selector. Source: Kubernetes documentation, "ReplicaSet".
local workload = require("workload")
local BURST, AT_ONCE, INT_MAX = 5000, 500, 0x7fffffff -- pods a sync makes: each looks at all that there are
local PHASES = { Pending = 0, Unknown = 1, Running = 2 }

-- Ages count by their magnitude only, so that pods of about the same age are taken at random: the younger first.
local function magnitude(time, now)
  local age = now - (neap.seconds(time) or now)
  return age > 0 and math.floor(math.log(age * 1e9, 2)) or 0 -- of nanoseconds, as in Kubernetes
end

local function cost(pod)
  local text = (pod.metadata.annotations or {})["controller.kubernetes.io/pod-deletion-cost"]
  local n = text and text:match("^%-?%d+$") and math.tointeger(tonumber(text)) or 0
  return math.abs(n) <= INT_MAX and n or 0
end

-- The most restarts of a container, and of a sidecar.
local function restarts(pod)
  local most, of_sidecars, sidecar = 0, 0, {}
  for _, c in pairs(pod.status.containerStatuses or {}) do
    most = math.max(most, c.restartCount or 0)
  end
  for _, c in pairs(pod.spec.initContainers or {}) do
    sidecar[c.name] = c.restartPolicy == "Always"
  end
  for _, c in pairs(pod.status.initContainerStatuses or {}) do
    of_sidecars = math.max(of_sidecars, sidecar[c.name] and c.restartCount or 0)
  end
  return most, of_sidecars
end

-- A text by which pods are sorted: the lowest goes first when there are too many. In the order of their worth: without
-- a node, not running, not ready, cheap to delete, on a node with many of them, ready for a short time, restarted
-- often, young; uids are random. Source: Kubernetes documentation, "ReplicaSet: scaling".
local function deletion_key(pod, crowd, now)
  local ready = workload.condition(pod, "Ready")
  local is_ready = ready ~= nil and ready.status == "True"
  local most, of_sidecars = restarts(pod)
  return ("%d%d%d%010d%010d%02d%010d%010d%02d%s"):format(
    pod.spec.nodeName and 1 or 0, PHASES[pod.status.phase] or 0, is_ready and 1 or 0,
    cost(pod) + INT_MAX + 1, INT_MAX - crowd,
    is_ready and magnitude(ready.lastTransitionTime, now) or 0, INT_MAX - most, INT_MAX - of_sidecars,
    magnitude(pod.metadata.creationTimestamp, now), pod.metadata.uid)
end

---@param kind string "apps/v1/replicasets"
---@param component string whose events these are
---@param selector_of fun(set: table): table as a LabelSelector
return function(kind, component, selector_of)
  local counts_terminating = kind == "apps/v1/replicasets" -- a ReplicationController's status has no such field

  -- Active pods by node, of all sets of the same owner: what a Deployment's older sets still have there counts.
  local function crowd(rs, pods)
    local owner, by_node = workload.controller_of(rs), {}
    local function add(list)
      for _, pod in workload.each(list) do
        local node = pod.spec.nodeName
        if node then
          by_node[node] = (by_node[node] or 0) + 1
        end
      end
    end
    add(pods)
    for _, other in ipairs(owner and neap.list(kind, { owner = owner.uid, controller = owner.uid }) or {}) do
      if other.metadata.uid ~= rs.metadata.uid then
        add(neap.list("v1/pods", workload.merged({ owner = other.metadata.uid, controller = other.metadata.uid },
          workload.ACTIVE)))
      end
    end
    return by_node
  end

  local function surplus(rs, pods, count)
    if count >= #pods then
      return pods
    end
    local by_node, now = crowd(rs, pods), neap.now()
    local sorted = workload.sorted(pods, function(pod)
      return deletion_key(pod, by_node[pod.spec.nodeName] or 0, now)
    end)
    return table.move(sorted, 1, count, 1, {})
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
        if workload.namespace_going(err) then
          return
        end
        workload.event(rs, "Warning", "FailedCreate", "Error creating: " .. err.message, component)
        return err.message, "FailedCreate"
      end
      count, part = count - #pods, math.min(part * 2, AT_ONCE)
    end
  end

  local function delete(rs, pods)
    for first = 1, #pods, AT_ONCE do
      local some = table.move(pods, first, math.min(first + AT_ONCE - 1, #pods), 1, {})
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
        workload.event(rs, "Warning", "FailedDelete", "Error deleting: " .. err.message, component)
        return err.message, "FailedDelete"
      end
    end
  end

  local function status_of(rs, pods, failure, reason)
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
    status.terminatingReplicas = counts_terminating and #neap.list("v1/pods", { owner = rs.metadata.uid,
      controller = rs.metadata.uid, selector = selector_of(rs), deleting = true, fields = workload.UNFINISHED }) or nil
    local conditions = neap.edit(rs.status.conditions) or {}
    if failure then
      workload.set_condition(conditions, "ReplicaFailure", "True", reason, failure)
    else
      conditions = workload.without_condition(conditions, "ReplicaFailure")
    end
    status.conditions = #conditions > 0 and conditions or nil
    return status, wait
  end

  local FIELDS = { "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration" }

  local function write_status(rs, status)
    local same = neap.equal(status.conditions or neap.null, rs.status.conditions or neap.null)
    same = same and rs.status.terminatingReplicas == status.terminatingReplicas
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
      local active, failure, reason = workload.claim("v1/pods", rs, selector_of(rs), workload.ACTIVE), nil, nil
      if not rs.metadata.deletionTimestamp then
        local missing = (rs.spec.replicas or 1) - #active
        if missing > 0 then
          failure, reason = create(rs, missing)
        elseif missing < 0 then
          failure, reason = delete(rs, surplus(rs, active, -missing))
        end
      end
      local status, wait = status_of(rs, active, failure, reason)
      write_status(rs, status)
      if failure then
        error(failure, 0)
      end
      return wait
    end,
  }
end
