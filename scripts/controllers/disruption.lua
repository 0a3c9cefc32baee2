-- Status of PodDisruptionBudgets: how many pods may be evicted now. Source: Kubernetes documentation, "Specifying a
-- Disruption Budget for your Application", "Disruptions".
local workload = require("workload")
local COMPONENT = "controllermanager"
local CONFIRM_S = 120 -- an eviction whose pod is still there after this did not happen

-- How many pods a controller wants; nil and why.
local function scale_of(pod)
  local ref = workload.controller_of(pod)
  if not ref then
    return 0 -- nobody's: not counted
  end
  local resource = neap.resource(ref.apiVersion, ref.kind)
  local owner = resource and neap.get(resource, pod.metadata.namespace, ref.name)
  if not owner or owner.metadata.uid ~= ref.uid then
    return nil, ('found no controllers for pod "%s"'):format(pod.metadata.name)
  end
  local above = workload.controller_of(owner)
  if ref.kind == "ReplicaSet" and above and above.kind == "Deployment" then
    local deployment = neap.get("apps/v1/deployments", pod.metadata.namespace, above.name)
    if deployment and deployment.metadata.uid == above.uid then
      owner = deployment
    end
  end
  if not owner.spec.replicas then
    return nil, ("%s does not implement the scale subresource"):format(resource)
  end
  return owner.spec.replicas, nil, owner.metadata.uid
end

-- What the pods' controllers want together; nil and why.
local function expected_scale(pods)
  local total, seen = 0, {}
  for _, pod in workload.each(pods) do
    local scale, why, uid = scale_of(pod)
    if not scale then
      return nil, why
    end
    if uid and not seen[uid] then
      seen[uid] = true
      total = total + scale
    end
  end
  return total
end

-- Expected pods and how many of them must be healthy; nil and why.
local function wanted(budget, pods)
  local least, most = budget.spec.minAvailable, budget.spec.maxUnavailable
  if most == nil and type(least) ~= "string" then
    return #pods, least or 0
  end
  local expected, why = expected_scale(pods)
  if not expected then
    return nil, why
  end
  if most == nil then
    return expected, workload.portion(least, expected, true)
  end
  return expected, math.max(0, expected - workload.portion(most, expected, true))
end

-- Evictions whose pods are still to go, and when the first of them counts as failed.
local function pending(budget, by_name)
  local left, earliest = {}, nil
  for name, time in pairs(budget.status.disruptedPods or {}) do
    local pod, until_ = by_name[name], (neap.seconds(time) or 0) + CONFIRM_S
    if pod and not pod.metadata.deletionTimestamp then
      if until_ > neap.now() then
        left[name] = time
        earliest = math.min(earliest or until_, until_)
      else
        workload.event(pod, "Warning", "NotDeleted", "Pod was expected by PDB " .. budget.metadata.namespace .. "/" ..
          budget.metadata.name .. " to be deleted but it wasn't", COMPONENT)
      end
    end
  end
  return left, earliest
end

local function healthy(pods, disrupted)
  local count = 0
  for _, pod in workload.each(pods) do
    if not pod.metadata.deletionTimestamp and not disrupted[pod.metadata.name] and workload.ready(pod) then
      count = count + 1
    end
  end
  return count
end

-- The condition, its time kept while it stays.
local function condition(budget, allowed, reason, message)
  local status = allowed and "True" or "False"
  local old = workload.condition(budget, "DisruptionAllowed")
  return {
    type = "DisruptionAllowed", status = status, reason = reason, message = message or "",
    observedGeneration = budget.metadata.generation,
    lastTransitionTime = old and old.status == status and old.lastTransitionTime or neap.time(),
  }
end

local function write(budget, status)
  if neap.hash(status) == neap.hash(neap.edit(budget.status)) then
    return
  end
  local new = neap.edit(budget)
  new.status = status
  workload.except("NotFound Conflict", neap.update("policy/v1/poddisruptionbudgets", budget.metadata.namespace,
    budget.metadata.name, new, "status")) -- of the revision that was read: an eviction may have counted meanwhile
end

local function with_condition(budget, status, c)
  local others = workload.without_condition(neap.edit(budget.status.conditions or neap.array {}), "DisruptionAllowed")
  others[#others + 1] = c
  status.conditions = others
  return status
end

local function failed(budget, why)
  local old = workload.condition(budget, "DisruptionAllowed")
  if not old or old.message ~= why then
    workload.event(budget, "Warning", "CalculateExpectedPodCountFailed",
      "Failed to calculate the number of expected pods: " .. why, COMPONENT)
  end
  local status = neap.edit(budget.status)
  status.disruptionsAllowed, status.observedGeneration = 0, budget.metadata.generation
  write(budget, with_condition(budget, status, condition(budget, false, "SyncFailed", why)))
end

local function reconcile(namespace, name)
  local budget = neap.get("policy/v1/poddisruptionbudgets", namespace, name)
  if not budget or budget.metadata.deletionTimestamp then
    return
  end
  local pods, by_name = {}, {}
  if budget.spec.selector then
    pods = neap.list("v1/pods", { namespace = namespace, selector = neap.edit(budget.spec.selector) })
  end
  for _, pod in workload.each(pods) do
    by_name[pod.metadata.name] = pod
  end
  local expected, desired = wanted(budget, pods)
  if not expected then
    return failed(budget, desired)
  end
  if #pods == 0 and budget.status.observedGeneration ~= budget.metadata.generation then
    workload.event(budget, "Normal", "NoPods", "No matching pods found", COMPONENT)
  end
  local disrupted, earliest = pending(budget, by_name)
  local now_healthy = healthy(pods, disrupted)
  local allowed = expected > 0 and math.max(0, now_healthy - desired) or 0
  write(budget, with_condition(budget, {
    currentHealthy = now_healthy, desiredHealthy = desired, expectedPods = expected, disruptionsAllowed = allowed,
    disruptedPods = next(disrupted) and disrupted or nil, observedGeneration = budget.metadata.generation,
  }, condition(budget, allowed > 0, allowed > 0 and "SufficientPods" or "InsufficientPods")))
  return earliest and math.max(1, earliest - neap.now())
end

return neap.controller {
  name = "disruption",
  for_ = "policy/v1/poddisruptionbudgets",
  watches = {
    { "v1/pods", function(pod)
      local keys = {}
      for _, budget in ipairs(neap.list("policy/v1/poddisruptionbudgets", { namespace = pod.metadata.namespace })) do
        if budget.spec.selector and neap.matches(neap.edit(budget.spec.selector), pod.metadata.labels or {}) then
          keys[#keys + 1] = budget.metadata.namespace .. "/" .. budget.metadata.name
        end
      end
      return keys
    end },
  },
  reconcile = reconcile,
}
