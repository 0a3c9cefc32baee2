-- A Deployment's ReplicaSets: how many replicas each is to have. Source: Kubernetes documentation, "Deployments"
-- (rolling update, proportional scaling).
local workload = require("workload")
local rollout = {}
local KIND = "apps/v1/replicasets"
local DESIRED, MAX = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"

---How many pods more than wanted, and how many less, a rollout may have.
function rollout.surge(d)
  local r, n = d.spec.strategy.rollingUpdate, d.spec.replicas or 1
  if d.spec.strategy.type == "Recreate" then
    return 0, 0
  end
  local up = workload.portion(r and r.maxSurge or "25%", n, true)
  local down = workload.portion(r and r.maxUnavailable or "25%", n, false)
  if up == 0 and down == 0 then
    down = 1
  end
  return up, math.min(down, n) -- of none, none can be unavailable
end

function rollout.replicas(rs)
  return rs.spec.replicas or 1
end

---The sum over sets of spec.replicas ("spec") or of a field of the status.
function rollout.total(sets, field)
  local n = 0
  for _, rs in ipairs(sets) do
    n = n + (field == "spec" and rollout.replicas(rs) or field ~= "spec" and rs.status[field] or 0)
  end
  return n
end

---What a set remembers of its Deployment's size: by it a change of size is told from a rollout.
function rollout.annotations(d)
  local up, n = rollout.surge(d), d.spec.replicas or 1
  return { [DESIRED] = tostring(n), [MAX] = tostring(n + up) }
end

local function number(rs, annotation)
  return tonumber((rs.metadata.annotations or {})[annotation])
end

---Gives a set its number of replicas, and an event to the Deployment when that changes.
function rollout.scale(d, rs, n)
  local before, annotations = rollout.replicas(rs), rollout.annotations(d)
  local same = before == n
  for k, v in pairs(annotations) do
    same = same and (rs.metadata.annotations or {})[k] == v
  end
  if same then
    return rs
  end
  local got = workload.check(neap.patch(KIND, rs.metadata.namespace, rs.metadata.name,
    { metadata = { annotations = annotations }, spec = { replicas = n } }))
  if before ~= n then
    local message = ("Scaled %s replica set %s from %d to %d"):format(before < n and "up" or "down", rs.metadata.name,
      before, n)
    workload.event(d, "Normal", "ScalingReplicaSet", message, "deployment-controller")
  end
  return got
end

local function active(sets)
  local out = {}
  for _, rs in ipairs(sets) do
    if rollout.replicas(rs) > 0 then
      out[#out + 1] = rs
    end
  end
  return out
end

---Was the Deployment's size changed since its sets were given theirs?
function rollout.resized(d, sets)
  for _, rs in ipairs(active(sets)) do
    local known = number(rs, DESIRED)
    if known and known ~= (d.spec.replicas or 1) then
      return true
    end
  end
  return false
end

local function rounded(x)
  return x < 0 and math.ceil(x - 0.5) or math.floor(x + 0.5)
end

-- A set's share of a change of size: as large as it is among all.
local function share(d, rs, to_add, added)
  local size, n = rollout.replicas(rs), d.spec.replicas or 1
  if size == 0 or to_add == added then
    return 0
  end
  local fraction
  if n == 0 then
    fraction = -size
  else
    local before = number(rs, MAX)
    before = before and before > 0 and before or d.status.replicas or 0
    local wanted = (size * (n + rollout.surge(d))) / (before > 0 and before or 1)
    fraction = math.tointeger(rounded(wanted)) - size
  end
  local left = to_add - added
  return to_add > 0 and math.min(fraction, left) or math.max(fraction, left)
end

-- The largest first; of equal ones the newer first when there is something to add, else the older.
local function by_size(sets, newer_first)
  table.sort(sets, function(a, b)
    local x, y = rollout.replicas(a), rollout.replicas(b)
    if x ~= y then
      return x > y
    end
    local s, t = neap.seconds(a.metadata.creationTimestamp) or 0, neap.seconds(b.metadata.creationTimestamp) or 0
    if s ~= t then
      return (s > t) == newer_first
    end
    return (a.metadata.name > b.metadata.name) == newer_first
  end)
end

local function saturated(d, new)
  local n = d.spec.replicas or 1
  return new and rollout.replicas(new) == n and number(new, DESIRED) == n and (new.status.availableReplicas or 0) == n
end

---The size of a Deployment changed in the middle of a rollout, or while it is paused: each set gets its share.
function rollout.resize(d, new, old)
  local all = { table.unpack(old) }
  all[#all + 1] = new
  local some, n = active(all), d.spec.replicas or 1
  local only = #some == 1 and some[1] or #some == 0 and (new or old[#old])
  if only then
    rollout.scale(d, only, n)
    return
  end
  if saturated(d, new) then
    for _, rs in ipairs(active(old)) do
      rollout.scale(d, rs, 0)
    end
    return
  end
  if d.spec.strategy.type == "Recreate" then
    return
  end
  local to_add, added, sizes = (n > 0 and n + rollout.surge(d) or 0) - rollout.total(some, "spec"), 0, {}
  by_size(some, to_add > 0)
  for i, rs in ipairs(some) do
    local part = to_add ~= 0 and share(d, rs, to_add, added) or 0
    sizes[i] = rollout.replicas(rs) + part
    added = added + part
  end
  sizes[1] = math.max(0, sizes[1] + (to_add - added))
  for i, rs in ipairs(some) do
    rollout.scale(d, rs, sizes[i])
  end
end

-- Takes up to <may> replicas from the sets in their order; <limit> tells how many each has to give.
local function take(d, sets, may, limit)
  for i, rs in ipairs(sets) do
    local cut = math.min(math.max(may, 0), math.max(limit(rs), 0))
    if cut > 0 then
      sets[i] = rollout.scale(d, rs, rollout.replicas(rs) - cut)
      may = may - cut
    end
  end
end

---One step of a rolling update; returns the new set as it is then. <old>, oldest first, is updated in place.
function rollout.step(d, new, old)
  local n = d.spec.replicas or 1
  local up, down = rollout.surge(d)
  local size, all = rollout.replicas(new), rollout.total(old, "spec") + rollout.replicas(new)
  -- up: as far as the surge allows
  if size > n then
    new = rollout.scale(d, new, n)
  elseif size < n and all < n + up then
    new = rollout.scale(d, new, math.min(n, size + n + up - all))
  end
  -- down: first what is not healthy, then as far as availability allows
  local least = n - down
  local unavailable = rollout.replicas(new) - (new.status.availableReplicas or 0)
  local may = rollout.total(old, "spec") + rollout.replicas(new) - least - unavailable
  if may <= 0 then -- also while the sets' status does not show yet what was scaled down
    return new
  end
  take(d, old, may, function(rs)
    return rollout.replicas(rs) - (rs.status.availableReplicas or 0)
  end)
  local available = (new.status.availableReplicas or 0) + rollout.total(old, "availableReplicas")
  take(d, old, available - least, rollout.replicas)
  return new
end

return rollout
