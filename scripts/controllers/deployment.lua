-- Deployment: ReplicaSets by template, moved from one to the next. Source: Kubernetes documentation, "Deployments".
local workload, rollout, progress = require("workload"), require("rollout"), require("progress")
local HASH, REVISION, HISTORY = "pod-template-hash", "deployment.kubernetes.io/revision",
  "deployment.kubernetes.io/revision-history"
local KIND = "apps/v1/replicasets"
local NAME_MAX, HISTORY_MAX, NO_LIMIT = 253, 2000, 0x7fffffff

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

-- Why a set could not be made, as a condition and an event.
local function create_failed(d, conditions, name, err)
  local message = ('Failed to create new replica set "%s": %s'):format(name, err.message)
  local all = progress.note(d, conditions, "False", "ReplicaSetCreateError", message)
  neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name, { status = { conditions = all } }, "status")
  workload.event(d, "Warning", "ReplicaSetCreateError", message, "deployment-controller")
end

-- A set of that name is there: ours, or another template's with the same hash, which is counted.
local function collided(d, name, count)
  local rs = neap.get(KIND, d.metadata.namespace, name)
  local ref = rs and workload.controller_of(rs)
  if rs and ref and ref.uid == d.metadata.uid
    and neap.equal(plain_template(rs.spec.template), plain_template(d.spec.template)) then
    return rs
  elseif rs then
    neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name,
      { status = { collisionCount = count + 1 } }, "status")
  end
end

-- The set of the wanted template, made new; the conditions say so. Nil in a namespace that is going.
local function create_set(d, sets, replicas, conditions)
  local template = plain_template(d.spec.template)
  local count = d.status.collisionCount or 0
  local hash = neap.hash({ template, count })
  local name = d.metadata.name:sub(1, NAME_MAX - 1 - #hash) .. "-" .. hash
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
    if replicas > 0 then
      local message = ("Scaled up replica set %s from 0 to %d"):format(name, replicas)
      workload.event(d, "Normal", "ScalingReplicaSet", message, "deployment-controller")
    end
    return rs, progress.note(d, conditions, "True", "NewReplicaSetCreated", ('Created new replica set "%s"'):format(name))
  elseif workload.namespace_going(err) then
    return nil
  end
  rs = err.reason == "AlreadyExists" and collided(d, name, count)
  if not rs then
    if err.reason ~= "AlreadyExists" then
      create_failed(d, conditions, name, err)
    end
    error(err.message, 0)
  end
  return rs, conditions
end

-- The revisions that a set had, the newest last; of a long history the oldest go.
local function history(have, before)
  local text = have and have ~= "" and have .. "," .. before or before
  while text and #text > HISTORY_MAX and text:find(",", 1, true) do
    text = text:match("^[^,]*,(.*)$")
  end
  return text
end

-- The new set carries the highest revision, and the Deployment's annotations; an older template that is wanted
-- again moves to the front.
local function set_revision(d, new, old)
  local have, annotations = new.metadata.annotations or {}, copied_annotations(d)
  local want = math.max(highest(old) + 1, revision_of(new))
  if revision_of(new) ~= want then
    local before = have[REVISION]
    annotations[REVISION] = tostring(want)
    annotations[HISTORY] = before and history(have[HISTORY], before) or nil
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
    if (rs.status.replicas or 0) > 0
      or #neap.list("v1/pods", { owner = rs.metadata.uid, fields = workload.UNFINISHED }) > 0 then
      return true
    end
  end
  return false
end

-- Keeps the newest of the old sets; one that still has pods stays, and counts.
local function clean_up(d, old)
  local limit, alive = d.spec.revisionHistoryLimit or 10, {}
  if limit == NO_LIMIT then
    return
  end
  for _, rs in ipairs(old) do
    alive[#alive + 1] = not rs.metadata.deletionTimestamp and rs or nil
  end
  table.sort(alive, function(a, b)
    local x, y = revision_of(a), revision_of(b)
    return x < y or (x == y and oldest_first(a, b))
  end)
  for i = 1, #alive - limit do
    local rs = alive[i]
    if (rs.spec.replicas or 1) == 0 and (rs.status.replicas or 0) == 0
      and (rs.status.observedGeneration or 0) >= rs.metadata.generation then
      workload.except("NotFound", neap.delete(KIND, d.metadata.namespace, rs.metadata.name, { uid = rs.metadata.uid }))
    end
  end
end

-- Nothing new before the last old pod is gone. Returns the new set and the conditions.
local function recreate(d, sets, new, old, conditions)
  local n, down = d.spec.replicas or 1, false
  for i, rs in ipairs(old) do
    down = down or rollout.replicas(rs) > 0
    old[i] = rollout.scale(d, rs, 0)
  end
  if down or old_pods_left(old) then
    return new, conditions
  end
  if not new then
    new, conditions = create_set(d, sets, n, conditions)
    new = new and set_revision(d, new, old)
  end
  return new and rollout.scale(d, new, n), conditions
end

local function rolling_update(d, sets, new, old, conditions)
  if not new then
    local n, up = d.spec.replicas or 1, rollout.surge(d)
    local size = math.max(0, math.min(n, n + up - rollout.total(old, "spec")))
    new, conditions = create_set(d, sets, size, conditions)
    new = new and set_revision(d, new, old)
  end
  return new and rollout.step(d, new, old), conditions
end

local function all_of(new, old)
  local sets = { table.unpack(old) }
  sets[#sets + 1] = new
  return sets
end

-- One step towards the wanted template.
local function roll_out(d, sets, new, old, conditions)
  local step = d.spec.strategy.type == "Recreate" and recreate or rolling_update
  new, conditions = step(d, sets, new, old, conditions)
  if not conditions then
    return nil -- the namespace is going
  end
  if progress.complete(d, d.status) then
    clean_up(d, old)
  end
  local all = all_of(new, old)
  local status = progress.status(d, conditions, new, all)
  local wait = progress.rollout(d, status, new, all)
  progress.write(d, status)
  return wait
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
    if not d then
      return
    end
    local sets = sets_of(d)
    local new, old = split(d, sets)
    local conditions = neap.edit(d.status.conditions) or neap.array {}
    if d.metadata.deletionTimestamp then
      progress.write(d, progress.status(d, conditions, new, sets))
      return
    end
    conditions = progress.paused(d, conditions)
    if new then
      new = set_revision(d, new, old)
      conditions = progress.found(d, conditions, new)
    end
    if not d.spec.paused and not rollout.resized(d, sets) then
      return roll_out(d, sets, new, old, conditions)
    end
    rollout.resize(d, new, old)
    if d.spec.paused then
      clean_up(d, old)
    end
    progress.write(d, progress.status(d, conditions, new, all_of(new, old)))
  end,
}
