-- Garbage: dependents of owners that are gone; foreground and orphaning deletions.
-- Source: Kubernetes documentation, "Garbage Collection".
local workload = require("workload")
local FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"

local function kind_of(o)
  return neap.resource(o.apiVersion, o.kind)
end

local function key_of(o)
  local kind = kind_of(o)
  return kind and ("object/%s|%s|%s"):format(kind, o.metadata.namespace or "", o.metadata.name) or nil
end

local function has(list, value)
  for _, v in pairs(list or {}) do
    if v == value then
      return true
    end
  end
  return false
end

local function owner_exists(ref, namespace)
  local kind = neap.resource(ref.apiVersion, ref.kind)
  if not kind then
    return true -- a kind that is not served: nothing is known of it
  end
  local o = neap.get(kind, namespace, ref.name)
  return o ~= nil and o.metadata.uid == ref.uid, o
end

local function without_finalizer(o, name)
  local left = neap.array {}
  for _, f in pairs(o.metadata.finalizers or {}) do
    if f ~= name then
      left[#left + 1] = f
    end
  end
  local patch = { metadata = { uid = o.metadata.uid, finalizers = left } }
  workload.check(neap.patch(kind_of(o), o.metadata.namespace, o.metadata.name, patch), nil, "NotFound")
end

local function orphan(o)
  for _, d in ipairs(neap.owned(o.metadata.uid)) do
    local refs = neap.array {}
    for _, ref in pairs(d.metadata.ownerReferences) do
      if ref.uid ~= o.metadata.uid then
        refs[#refs + 1] = neap.edit(ref)
      end
    end
    workload.check(neap.patch(kind_of(d), d.metadata.namespace, d.metadata.name,
      { metadata = { uid = d.metadata.uid, ownerReferences = refs } }), nil, "NotFound")
  end
  without_finalizer(o, ORPHAN)
end

local function foreground(o)
  local blocking = false
  for _, d in ipairs(neap.owned(o.metadata.uid)) do
    for _, ref in pairs(d.metadata.ownerReferences) do
      blocking = blocking or (ref.uid == o.metadata.uid and ref.blockOwnerDeletion)
    end
    if not d.metadata.deletionTimestamp then
      workload.check(neap.delete(kind_of(d), d.metadata.namespace, d.metadata.name,
        { uid = d.metadata.uid, propagation = "Foreground" }), nil, "NotFound", "Conflict")
    end
  end
  if not blocking then
    without_finalizer(o, FOREGROUND)
  end
end

-- An object none of whose owners is there goes; one that has some left loses the references to the others.
local function collect(o)
  local solid, gone = 0, 0
  for _, ref in pairs(o.metadata.ownerReferences or {}) do
    if owner_exists(ref, o.metadata.namespace) then
      solid = solid + 1
    else
      gone = gone + 1
    end
  end
  if gone == 0 then
    return
  end
  if solid == 0 then
    local policy = has(o.metadata.finalizers, ORPHAN) and "Orphan"
      or has(o.metadata.finalizers, FOREGROUND) and "Foreground" or "Background"
    workload.check(neap.delete(kind_of(o), o.metadata.namespace, o.metadata.name,
      { uid = o.metadata.uid, propagation = policy }), nil, "NotFound", "Conflict")
    return
  end
  local refs = neap.array {}
  for _, ref in pairs(o.metadata.ownerReferences) do
    if owner_exists(ref, o.metadata.namespace) then
      refs[#refs + 1] = neap.edit(ref)
    end
  end
  workload.check(neap.patch(kind_of(o), o.metadata.namespace, o.metadata.name,
    { metadata = { uid = o.metadata.uid, ownerReferences = refs } }), nil, "NotFound")
end

return neap.controller {
  name = "garbage",
  for_ = "apps/v1/controllerrevisions", -- any kind: all are watched below
  watches = {
    { "*", function(o, event)
      if event ~= "DELETED" then
        return key_of(o)
      end
      local keys = { "owner/" .. o.metadata.uid }
      -- a dependent that is gone may be the last that a foreground deletion waits for
      for _, ref in pairs(o.metadata.ownerReferences or {}) do
        local kind = neap.resource(ref.apiVersion, ref.kind)
        if kind then
          keys[#keys + 1] = ("object/%s|%s|%s"):format(kind, o.metadata.namespace or "", ref.name)
        end
      end
      return keys
    end },
  },
  reconcile = function(what, name)
    if what == "owner" then
      for _, d in ipairs(neap.owned(name)) do
        if not d.metadata.deletionTimestamp then
          collect(d)
        end
      end
      return
    end
    if what ~= "object" then
      return
    end
    local kind, ns, object_name = name:match("^([^|]*)|([^|]*)|(.*)$")
    local o = kind and neap.get(kind, ns ~= "" and ns or nil, object_name)
    if not o then
      return
    end
    if o.metadata.deletionTimestamp then
      if has(o.metadata.finalizers, ORPHAN) then
        orphan(o)
      elseif has(o.metadata.finalizers, FOREGROUND) then
        foreground(o)
      end
    else
      collect(o)
    end
  end,
}
