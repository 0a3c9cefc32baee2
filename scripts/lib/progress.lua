-- A Deployment's status: what its sets count together, and how the rollout goes.
-- Source: Kubernetes documentation, "Deployments: Deployment status".
local workload, rollout = require("workload"), require("rollout")
local progress = {}
local NEVER = 0x7fffffff -- a deadline or a limit of this is none

---A condition that says the same with the same reason stays as it is; lastTransitionTime belongs to the status.
function progress.set(conditions, kind, status, reason, message)
  local old, now = workload.condition({ status = { conditions = conditions } }, kind), neap.time()
  if old and old.status == status and old.reason == reason then
    return conditions
  end
  local out = workload.without_condition(conditions, kind)
  out[#out + 1] = {
    type = kind, status = status, reason = reason, message = message, lastUpdateTime = now,
    lastTransitionTime = old and old.status == status and old.lastTransitionTime or now,
  }
  return out
end

---The seconds without progress that are a failure; nil: nobody cares.
function progress.deadline(d)
  return d.spec.progressDeadlineSeconds ~= NEVER and d.spec.progressDeadlineSeconds or nil
end

---Progressing, when somebody cares.
function progress.note(d, conditions, status, reason, message)
  return progress.deadline(d) and progress.set(conditions, "Progressing", status, reason, message) or conditions
end

local function progressing(conditions)
  return workload.condition({ status = { conditions = conditions } }, "Progressing")
end

---Pausing and going on begin a new deadline; a deadline that has passed is still told.
function progress.paused(d, conditions)
  local c = progressing(conditions)
  if c and c.reason == "ProgressDeadlineExceeded" then
    return conditions
  elseif d.spec.paused then
    return progress.note(d, conditions, "Unknown", "DeploymentPaused", "Deployment is paused")
  elseif c and c.reason == "DeploymentPaused" then
    return progress.note(d, conditions, "Unknown", "DeploymentResumed", "Deployment is resumed")
  end
  return conditions
end

function progress.found(d, conditions, new)
  return progressing(conditions) and conditions
    or progress.note(d, conditions, "True", "FoundNewReplicaSet", ('Found new replica set "%s"'):format(new.metadata.name))
end

function progress.complete(d, status)
  local n = d.spec.replicas or 1
  return (status.updatedReplicas or 0) == n and (status.replicas or 0) == n and (status.availableReplicas or 0) == n
    and (status.observedGeneration or 0) >= d.metadata.generation
end

local function terminating(sets)
  local n = 0
  for _, rs in ipairs(sets) do
    if not rs.status.terminatingReplicas then
      return nil
    end
    n = n + rs.status.terminatingReplicas
  end
  return n
end

---What the sets count together, and Available.
function progress.status(d, conditions, new, sets)
  local _, down = rollout.surge(d)
  local available = rollout.total(sets, "availableReplicas")
  local enough = available >= (d.spec.replicas or 1) - down
  return {
    observedGeneration = d.metadata.generation, replicas = rollout.total(sets, "replicas"),
    updatedReplicas = new and new.status.replicas or 0, readyReplicas = rollout.total(sets, "readyReplicas"),
    availableReplicas = available, unavailableReplicas = math.max(0, rollout.total(sets, "spec") - available),
    terminatingReplicas = terminating(sets),
    conditions = progress.set(conditions, "Available", enough and "True" or "False",
      enough and "MinimumReplicasAvailable" or "MinimumReplicasUnavailable",
      enough and "Deployment has minimum availability." or "Deployment does not have minimum availability."),
  }
end

-- More that is new, ready or available, or less that is old, than the stored status says?
local function moved(d, status)
  local function before(f)
    return d.status[f] or 0
  end
  return status.updatedReplicas > before "updatedReplicas" or status.readyReplicas > before "readyReplicas"
    or status.availableReplicas > before "availableReplicas"
    or status.replicas - status.updatedReplicas < before "replicas" - before "updatedReplicas"
end

-- A rollout that came to its end is not judged any more: pods that are lost later are no rollout without progress.
local function judge(d, status, new, current)
  local what = new and ('ReplicaSet "%s"'):format(new.metadata.name) or ('Deployment "%s"'):format(d.metadata.name)
  local conditions = status.conditions
  if progress.complete(d, status) then
    return progress.set(conditions, "Progressing", "True", "NewReplicaSetAvailable", what .. " has successfully progressed.")
  elseif moved(d, status) then -- lastUpdateTime is when there was progress, also for the same reason
    local out = workload.without_condition(conditions, "Progressing")
    out = progress.set(out, "Progressing", "True", "ReplicaSetUpdated", what .. " is progressing.")
    if current and current.status == "True" then
      out[#out].lastTransitionTime = current.lastTransitionTime
    end
    return out
  elseif current and current.reason ~= "NewReplicaSetAvailable"
    and (neap.seconds(current.lastUpdateTime) or neap.now()) + progress.deadline(d) < neap.now() then
    return progress.set(conditions, "Progressing", "False", "ProgressDeadlineExceeded", what .. " has timed out progressing.")
  end
  return conditions
end

-- The failure of the new set, or else of another.
local function failure(new, sets)
  local c = new and workload.condition(new, "ReplicaFailure")
  for _, rs in ipairs(sets) do
    c = c or workload.condition(rs, "ReplicaFailure")
  end
  return c
end

---Puts Progressing and ReplicaFailure into a status. Returns the seconds until the deadline has passed.
function progress.rollout(d, status, new, sets)
  local current, deadline = progressing(status.conditions), progress.deadline(d)
  if not deadline then
    status.conditions = workload.without_condition(status.conditions, "Progressing")
  elseif not (current and current.reason == "NewReplicaSetAvailable" and status.replicas == status.updatedReplicas) then
    status.conditions = judge(d, status, new, current)
  end
  local failed = failure(new, sets)
  if failed then
    status.conditions = progress.set(status.conditions, "ReplicaFailure", failed.status, failed.reason, failed.message)
  else
    status.conditions = workload.without_condition(status.conditions, "ReplicaFailure")
  end
  current = progressing(status.conditions)
  local settled = { NewReplicaSetAvailable = true, ProgressDeadlineExceeded = true }
  if deadline and current and not settled[current.reason] then
    local since = neap.seconds(current.lastUpdateTime) or neap.now()
    return math.max(0, since + deadline - neap.now()) + 1
  end
end

---Writes it when something changed.
function progress.write(d, status)
  local same = neap.equal(status.conditions, d.status.conditions or {})
    and d.status.terminatingReplicas == status.terminatingReplicas
  for k, v in pairs(status) do
    if k ~= "conditions" and k ~= "terminatingReplicas" then
      same = same and (d.status[k] or 0) == v
    end
  end
  if not same then
    status.terminatingReplicas = status.terminatingReplicas or neap.null
    workload.except("NotFound", neap.patch("apps/v1/deployments", d.metadata.namespace, d.metadata.name,
      { status = status }, "status"))
  end
end

return progress
