-- What controllers of pods share.
local workload = {}

---The owner reference that makes <owner> the controller of a new object.
---@param owner table a view
function workload.owner(owner)
  return {
    apiVersion = owner.apiVersion, kind = owner.kind, name = owner.metadata.name, uid = owner.metadata.uid,
    controller = true, blockOwnerDeletion = true,
  }
end

---The owner reference with controller = true; nil: none.
function workload.controller_of(object)
  for _, ref in pairs(object.metadata.ownerReferences or {}) do
    if ref.controller then
      return ref
    end
  end
end

function workload.condition(object, kind)
  for _, c in pairs(object.status and object.status.conditions or {}) do
    if c.type == kind then
      return c
    end
  end
end

function workload.ready(pod)
  local c = workload.condition(pod, "Ready")
  return c ~= nil and c.status == "True"
end

---Ready for at least <seconds>. Second result: how long until it is.
function workload.available(pod, seconds)
  local c = workload.condition(pod, "Ready")
  if not c or c.status ~= "True" then
    return false
  end
  if not seconds or seconds == 0 then
    return true
  end
  local since = neap.seconds(c.lastTransitionTime) or neap.now()
  local left = since + seconds - neap.now()
  return left <= 0, left
end

---Neither finished nor going.
function workload.active(pod)
  local phase = pod.status and pod.status.phase
  return phase ~= "Succeeded" and phase ~= "Failed" and not pod.metadata.deletionTimestamp
end

---A map without one key, as a new table.
function workload.without(map, key)
  local out = {}
  for k, v in pairs(map or {}) do
    if k ~= key then
      out[k] = v
    end
  end
  return out
end

function workload.merged(a, b)
  local out = {}
  for k, v in pairs(a or {}) do
    out[k] = v
  end
  for k, v in pairs(b or {}) do
    out[k] = v
  end
  return out
end

---An error of the API unless it is one of those reasons.
function workload.check(result, err, ...)
  if result ~= nil or not err then
    return result
  end
  for _, reason in ipairs({ ... }) do
    if err.reason == reason then
      return nil, err
    end
  end
  error(err.message, 0)
end

---Writes an Event about an object; failures of it are nobody's business.
function workload.event(object, kind, reason, message, source)
  local ns, now = object.metadata.namespace or "default", neap.time()
  neap.create("v1/events", ns, {
    metadata = { name = object.metadata.name .. "." .. neap.suffix(10), namespace = ns },
    involvedObject = {
      apiVersion = object.apiVersion, kind = object.kind, name = object.metadata.name,
      namespace = object.metadata.namespace, uid = object.metadata.uid,
      resourceVersion = object.metadata.resourceVersion,
    },
    type = kind, reason = reason, message = message, count = 1, firstTimestamp = now, lastTimestamp = now,
    source = { component = source }, reportingComponent = source,
  })
end

---An absolute number from 3 or "25%" of a total.
function workload.portion(value, total, round_up)
  if type(value) == "string" then
    local percent = tonumber(value:match("^(%d+)%%$")) or 0
    local exact = total * percent
    return round_up and (exact + 99) // 100 or exact // 100
  end
  return value or 0
end

---Sets a condition in a plain list; true when it changed.
function workload.set_condition(list, kind, status, reason, message)
  local now = neap.time()
  for i, c in ipairs(list) do
    if c.type == kind then
      if c.status == status and c.reason == reason and c.message == message then
        return false
      end
      list[i] = {
        type = kind, status = status, reason = reason, message = message, lastUpdateTime = now,
        lastTransitionTime = c.status == status and c.lastTransitionTime or now,
      }
      return true
    end
  end
  list[#list + 1] = {
    type = kind, status = status, reason = reason, message = message, lastUpdateTime = now, lastTransitionTime = now,
  }
  return true
end

return workload
