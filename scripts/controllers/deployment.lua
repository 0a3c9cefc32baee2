-- Deployment: ReplicaSets by template, moved from one to the next. Source: Kubernetes documentation, "Deployments".
local workload, rollout = require("workload"), require("rollout")
local HASH, REVISION, HISTORY = "pod-template-hash", "deployment.kubernetes.io/revision",
  "deployment.kubernetes.io/revision-history"
local KIND = "apps/v1/replicasets"

-- The template without the label that tells sets apart.
local function plain_template(template)
  local t = neap.edit(template)
  t.metadata = t.metadata or {}
  t.metadata.labels = workload.without(t.metadata.labels, HASH)
  t.metadata.creationTimestamp = nil
  return t
end

local function revision_of(rs)
  return tonumber(rs.metadata.annotations and rs.metadata.annotations[REVISION]) or 0
end

local function oldest_first(a, b)
  local x, y = neap.seconds(a.metadata.creationTimestamp) or 0, neap.seconds(b.metadata.creationTimestamp) or 0
  return x < y or (x == y and a.metadata.name < b.metadata.name)
end

local function sets_of(d)
  local own = workload.claim(KIND, d, d.spec.selector)
  table.sort(own, oldest_first)
  return own
end

-- The oldest set with the wanted template, and the others.
local function split(d, sets)
  local want, new, old = plain_template(d.spec.template), nil, {}
  for _, rs in ipairs(sets) do
    if not new and neap.equal(plain_template(rs.spec.template), want) then
      new = rs
    else
      old[#old + 1] = rs
    end
  end
  return new, old
end

local function highest(sets)
  local n = 0
  for _, rs in ipairs(sets) do
    n = math.max(n, revision_of(rs))
  end
  return n
end

local function copied_annotations(d)
  local out = workload.without(d.metadata.annotations, "kubectl.kubernetes.io/last-applied-configuration")
  for _, k in ipairs { REVISION, HISTORY, "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas", "deprecated.deployment.rollback.to" } do
    out[k] = nil
  end
  return out
end

local function create_set(d, sets, replicas)
  local template = plain_template(d.spec.template)
  local count = d.status.collisionCount or 0
  local hash = neap.hash({ template, count })
  local name = d.metadata.name .. "-" .. hash
  template.metadata.labels[HASH] = hash
  local selector = neap.edit(d.spec.selector)
  selector.matchLabels = workload.merged(selector.matchLabels, { [HASH] = hash })
  local rs, err = neap.create(KIND, d.metadata.namespace, {
    apiVersion = "apps/v1", kind = "ReplicaSet",
    metadata = {
      name = name, labels = template.metadata.labels, ownerReferences = { workload.owner(d) },
      annotations = workload.merged(workload.merged(copied_annotations(d), rollout.annotations(d)),
        { [REVISION] = tostring(highest(sets) + 1) }),
    },
    spec = { replicas = replicas, selector = selector, template = template, minReadySeconds = d.spec.minReadySeconds },
  })
  if rs then
    local message = ("Scaled up replica set %s from 0 to %d"):format(name, replicas)
    workload.event(d, "Normal", "ScalingReplicaSet", message, "deployment-controller")
    return rs
  end
  if err.reason == "AlreadyExists" then -- another template with the same hash: count it, try again
    neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name,
      { status = { collisionCount = count + 1 } }, "status")
  end
  error(err.message, 0)
end

-- The new set carries the highest revision, and the Deployment's annotations; an older template that is wanted
-- again moves to the front.
local function set_revision(d, new, old)
  local have, annotations = new.metadata.annotations or {}, copied_annotations(d)
  local want = math.max(highest(old) + 1, revision_of(new))
  if revision_of(new) ~= want then
    local before = have[REVISION]
    annotations[REVISION] = tostring(want)
    annotations[HISTORY] = before and (have[HISTORY] and have[HISTORY] .. "," .. before or before) or nil
  end
  local changed = (new.spec.minReadySeconds or 0) ~= (d.spec.minReadySeconds or 0)
  for k, v in pairs(annotations) do
    changed = changed or have[k] ~= v
  end
  if changed then
    new = workload.check(neap.patch(KIND, new.metadata.namespace, new.metadata.name,
      { metadata = { annotations = annotations }, spec = { minReadySeconds = d.spec.minReadySeconds or 0 } }))
  end
  local text = new.metadata.annotations[REVISION]
  if not d.metadata.annotations or d.metadata.annotations[REVISION] ~= text then
    -- by way of status: a change of annotations through the main resource is a new generation
    workload.check(neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name,
      { metadata = { annotations = { [REVISION] = text } } }, "status"))
  end
  return new
end

local function old_pods_left(old)
  for _, rs in ipairs(old) do
    for _, pod in ipairs(neap.list("v1/pods", { owner = rs.metadata.uid })) do
      if pod.status.phase ~= "Succeeded" and pod.status.phase ~= "Failed" then
        return true
      end
    end
  end
  return false
end

local function clean_up(d, old)
  local limit = d.spec.revisionHistoryLimit or 10
  local idle = {}
  for _, rs in ipairs(old) do
    if (rs.spec.replicas or 1) == 0 and (rs.status.replicas or 0) == 0 and not rs.metadata.deletionTimestamp then
      idle[#idle + 1] = rs
    end
  end
  table.sort(idle, function(a, b)
    return revision_of(a) < revision_of(b)
  end)
  for i = 1, #idle - limit do
    workload.except("NotFound", neap.delete(KIND, d.metadata.namespace, idle[i].metadata.name, { uid = idle[i].metadata.uid }))
  end
end

local function write_status(d, new, old)
  local sets = { table.unpack(old) }
  sets[#sets + 1] = new
  local n = d.spec.replicas or 1
  local _, down = rollout.surge(d)
  local available, replicas = rollout.total(sets, "availableReplicas"), rollout.total(sets, "replicas")
  local status = {
    observedGeneration = d.metadata.generation, replicas = replicas, updatedReplicas = new and new.status.replicas or 0,
    readyReplicas = rollout.total(sets, "readyReplicas"), availableReplicas = available,
    unavailableReplicas = math.max(0, rollout.total(sets, "spec") - available),
  }
  local conditions = neap.edit(d.status.conditions) or {}
  if available >= n - down then
    workload.set_condition(conditions, "Available", "True", "MinimumReplicasAvailable",
      "Deployment has minimum availability.")
  else
    workload.set_condition(conditions, "Available", "False", "MinimumReplicasUnavailable",
      "Deployment does not have minimum availability.")
  end
  local failure = new and workload.condition(new, "ReplicaFailure")
  if failure then
    workload.set_condition(conditions, "ReplicaFailure", failure.status, failure.reason, failure.message)
  else
    conditions = workload.without_condition(conditions, "ReplicaFailure")
  end
  local complete = status.updatedReplicas == n and replicas == n and available == n
  local before = {}
  for _, f in ipairs { "replicas", "updatedReplicas", "readyReplicas", "availableReplicas" } do
    before[f] = d.status[f] or 0
  end
  local progressed = status.updatedReplicas > before.updatedReplicas or status.readyReplicas > before.readyReplicas
    or available > before.availableReplicas or replicas - status.updatedReplicas < before.replicas - before.updatedReplicas
  local wait
  local progress = workload.condition({ status = { conditions = conditions } }, "Progressing")
  local name = new and new.metadata.name or ""
  if complete then
    workload.set_condition(conditions, "Progressing", "True", "NewReplicaSetAvailable",
      ("ReplicaSet \"%s\" has successfully progressed."):format(name))
  elseif d.spec.paused then
    workload.set_condition(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
  elseif progressed or not progress or progress.reason == "NewReplicaSetAvailable" then
    workload.set_condition(conditions, "Progressing", "True", "ReplicaSetUpdated",
      ("ReplicaSet \"%s\" is progressing."):format(name))
    progress = workload.condition({ status = { conditions = conditions } }, "Progressing")
    if progressed then
      progress.lastUpdateTime = neap.time()
    end
    wait = d.spec.progressDeadlineSeconds
  elseif d.spec.progressDeadlineSeconds and progress.reason ~= "ProgressDeadlineExceeded" then
    local left = (neap.seconds(progress.lastUpdateTime) or neap.now()) + d.spec.progressDeadlineSeconds - neap.now()
    if left <= 0 then
      workload.set_condition(conditions, "Progressing", "False", "ProgressDeadlineExceeded",
        ("ReplicaSet \"%s\" has timed out progressing."):format(name))
    end
    wait = math.max(left, 1)
  end
  status.conditions = conditions
  local same = neap.equal(conditions, d.status.conditions or {})
  for k, v in pairs(status) do
    if k ~= "conditions" then
      same = same and (d.status[k] or 0) == v
    end
  end
  if not same then
    workload.check(neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name, { status = status },
      "status"))
  end
  return wait
end

-- Nothing new before the last old pod is gone.
local function recreate(d, sets, new, old)
  for i, rs in ipairs(old) do
    old[i] = rollout.scale(d, rs, 0)
  end
  if not old_pods_left(old) then
    local n = d.spec.replicas or 1
    new = rollout.scale(d, set_revision(d, new or create_set(d, sets, n), old), n)
    clean_up(d, old)
  end
  return new
end

local function rolling_update(d, sets, new, old)
  if not new then
    local n, up = d.spec.replicas or 1, rollout.surge(d)
    new = create_set(d, sets, math.max(0, math.min(n, n + up - rollout.total(old, "spec"))))
  end
  new = rollout.step(d, set_revision(d, new, old), old)
  clean_up(d, old)
  return new
end

return neap.controller {
  name = "deployment",
  for_ = "apps/v1/deployments",
  owns = { KIND },
  watches = {
    -- a set without a controller may be one that a Deployment wants
    { KIND, workload.suitors("apps/v1/deployments", function(d)
      return d.spec.selector
    end) },
    -- Recreate waits for the last pod of the old sets
    { "v1/pods", function(pod, event)
      local ref = event == "DELETED" and workload.controller_of(pod)
      local rs = ref and ref.kind == "ReplicaSet" and neap.get(KIND, pod.metadata.namespace, ref.name)
      local owner = rs and workload.controller_of(rs)
      return owner and owner.kind == "Deployment" and pod.metadata.namespace .. "/" .. owner.name or nil
    end },
  },
  reconcile = function(ns, name)
    local d = neap.get("apps/v1/deployments", ns, name)
    if not d or d.metadata.deletionTimestamp then
      return
    end
    local sets = sets_of(d)
    local new, old = split(d, sets)
    if d.spec.paused or rollout.resized(d, sets) then
      rollout.resize(d, new, old)
      if d.spec.paused then
        clean_up(d, old)
      end
    elseif d.spec.strategy.type == "Recreate" then
      new = recreate(d, sets, new, old)
    else
      new = rolling_update(d, sets, new, old)
    end
    return write_status(d, new, old)
  end,
}
