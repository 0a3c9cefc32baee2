-- What controllers of pods share.
local workload = {}
local PART, RUN = 1000, 250 -- objects a turn; sorted without a turn

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

---Pods that may still do something, going or not: a field selector.
workload.UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"

---Pods that are neither finished nor going: options of neap.list.
workload.ACTIVE = { fields = workload.UNFINISHED, deleting = false }

---Was something refused because its namespace is being deleted? Then there is nothing to be done.
function workload.namespace_going(err)
  return err.reason == "Forbidden" and err.message:find("being terminated", 1, true) ~= nil
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

---What a call of the API returned, or its error raised.
function workload.check(result, err)
  if result == nil and err then
    error(err.message, 0)
  end
  return result
end

---The same, but those reasons are no errors: nil and the ApiError.
---@param reasons string "NotFound Conflict"
function workload.except(reasons, result, err)
  if result == nil and err and (" " .. reasons .. " "):find(" " .. err.reason .. " ", 1, true) then
    return nil, err
  end
  return workload.check(result, err)
end

---Patches the metadata of an object that nobody changed since it was read; nil when somebody did or it is gone:
---then an event comes, and with it another look.
function workload.patch_as_seen(resource, object, metadata)
  metadata.uid, metadata.resourceVersion = object.metadata.uid, object.metadata.resourceVersion
  return workload.except("NotFound Conflict",
    neap.patch(resource, object.metadata.namespace, object.metadata.name, { metadata = metadata }))
end

local function event_of(object, kind, reason, message, source)
  local ns, now = object.metadata.namespace or "default", neap.time()
  return ns, {
    metadata = { name = object.metadata.name .. "." .. neap.suffix(10), namespace = ns },
    involvedObject = {
      apiVersion = object.apiVersion, kind = object.kind, name = object.metadata.name,
      namespace = object.metadata.namespace, uid = object.metadata.uid,
      resourceVersion = object.metadata.resourceVersion,
    },
    type = kind, reason = reason, message = message, count = 1, firstTimestamp = now, lastTimestamp = now,
    source = { component = source }, reportingComponent = source,
  }
end

---Writes an Event about an object; failures of it are nobody's business.
function workload.event(object, kind, reason, message, source)
  neap.create("v1/events", event_of(object, kind, reason, message, source))
end

---The same for several messages at once.
---@param messages string[]
function workload.events(object, kind, reason, messages, source)
  local list, ns = {}, nil
  for i, message in ipairs(messages) do
    ns, list[i] = event_of(object, kind, reason, message, source)
  end
  neap.create_all("v1/events", ns, list)
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

---A plain list of conditions without those of a type.
function workload.without_condition(list, kind)
  local out = neap.array {}
  for _, c in ipairs(list) do
    if c.type ~= kind then
      out[#out + 1] = c
    end
  end
  return out
end

---As ipairs, for lists that may be long: between parts of it others run, and the budget of time begins anew.
---Within a reconcile only. What the list holds does not change meanwhile: an item sees one snapshot.
---@generic T
---@param list T[]
---@return fun(): integer?, T?
function workload.each(list)
  local i = 0
  return function()
    i = i + 1
    if i % PART == 0 then
      neap.turn()
    end
    if list[i] ~= nil then
      return i, list[i]
    end
  end
end

-- Two sorted lists of pairs {key, item} as one.
local function merge(a, b)
  local out, i, j = {}, 1, 1
  for n = 1, #a + #b do
    if n % PART == 0 then
      neap.turn()
    end
    if j > #b or i <= #a and a[i][1] <= b[j][1] then
      out[n], i = a[i], i + 1
    else
      out[n], j = b[j], j + 1
    end
  end
  return out
end

local function by_key(a, b)
  return a[1] < b[1]
end

---The items of a list that may be long, by a key that is made once of each. It takes turns: table.sort on thousands
---of objects cannot. Within a reconcile only.
---@generic T
---@param list T[]
---@param key fun(item: T): string
---@return T[]
function workload.sorted(list, key)
  local runs, run = {}, nil
  for i, item in workload.each(list) do
    if i % RUN == 1 then
      run = {}
      runs[#runs + 1] = run
    end
    run[#run + 1] = { key(item), item }
  end
  for i, r in ipairs(runs) do
    table.sort(r, by_key)
    if i % (PART // RUN) == 0 then
      neap.turn()
    end
  end
  while #runs > 1 do
    local merged = {}
    for i = 1, #runs, 2 do
      merged[#merged + 1] = merge(runs[i], runs[i + 1] or {})
    end
    runs = merged
  end
  local out = {}
  for i, pair in workload.each(runs[1] or {}) do
    out[i] = pair[2]
  end
  return out
end

local function owners_without(object, uid)
  local refs = neap.array {}
  for _, ref in pairs(object.metadata.ownerReferences or {}) do
    if ref.uid ~= uid then
      refs[#refs + 1] = neap.edit(ref)
    end
  end
  return refs
end

---What <owner> controls of a kind: its own that match the selector, and orphans that match, which are adopted.
---Its own that do not match any more are let go. Neither is done while the owner is being deleted.
---Source: Kubernetes' controller references ("Garbage Collection", "ReplicaSet").
---@param resource Resource
---@param owner View
---@param selector table a LabelSelector
---@param wanted? table which objects count at all: options of neap.list (fields, deleting)
function workload.claim(resource, owner, selector, wanted)
  local own, uid = {}, owner.metadata.uid
  local function patch(object, refs)
    return workload.patch_as_seen(resource, object, { ownerReferences = refs })
  end
  local function list(options)
    return neap.list(resource, workload.merged(workload.merged(wanted, { namespace = owner.metadata.namespace }), options))
  end
  for i, o in workload.each(list { owner = uid, controller = uid, selector = selector }) do
    own[i] = o
  end
  if owner.metadata.deletionTimestamp then
    return own
  end
  for _, o in ipairs(list { owner = uid, controller = uid, unlike = selector }) do
    patch(o, owners_without(o, uid))
  end
  for _, o in ipairs(list { controller = false, selector = selector, deleting = false }) do
    local refs = owners_without(o, uid)
    refs[#refs + 1] = workload.owner(owner)
    own[#own + 1] = patch(o, refs)
  end
  return own
end

---Keys of the objects of <resource> that may want an orphan: for a controller's watches.
---@param resource Resource
---@param selector_of fun(object: View): table
function workload.suitors(resource, selector_of)
  return function(object)
    if workload.controller_of(object) or not object.metadata.labels then
      return nil
    end
    local keys = {}
    for _, o in ipairs(neap.list(resource, { namespace = object.metadata.namespace })) do
      if neap.matches(selector_of(o), object.metadata.labels) then
        keys[#keys + 1] = o.metadata.namespace .. "/" .. o.metadata.name
      end
    end
    return keys
  end
end

return workload
