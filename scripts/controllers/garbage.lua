-- Garbage: dependents of owners that are gone; foreground and orphaning deletions.
-- Source: Kubernetes documentation, "Garbage Collection".
local workload = require("workload")
local FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
local RECHECK_S = 30

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
  workload.patch_as_seen(kind_of(o), o, { finalizers = left })
end

local function orphan(o)
  for _, d in ipairs(neap.owned(o.metadata.uid)) do
    local refs = neap.array {}
    for _, ref in pairs(d.metadata.ownerReferences) do
      if ref.uid ~= o.metadata.uid then
        refs[#refs + 1] = neap.edit(ref)
      end
    end
    workload.patch_as_seen(kind_of(d), d, { ownerReferences = refs })
  end
  without_finalizer(o, ORPHAN)
end

local function deleted_in_foreground(o)
  return o.metadata.deletionTimestamp ~= nil and has(o.metadata.finalizers, FOREGROUND)
end

local function set_owners(o, refs)
  workload.patch_as_seen(kind_of(o), o, { ownerReferences = refs })
end

local function delete(o, policy)
  workload.except("NotFound Conflict", neap.delete(kind_of(o), o.metadata.namespace, o.metadata.name,
    { uid = o.metadata.uid, propagation = policy }))
end

-- References by their owners: those that stay, and how many owners are gone or wait for their dependents.
local function classify(o)
  local solid, gone, waiting = neap.array {}, 0, 0
  for _, ref in pairs(o.metadata.ownerReferences or {}) do
    local exists, owner = owner_exists(ref, o.metadata.namespace)
    if not exists then
      gone = gone + 1
    elseif owner and deleted_in_foreground(owner) then
      waiting = waiting + 1
    else
      solid[#solid + 1] = neap.edit(ref)
    end
  end
  return solid, gone, waiting
end

-- A circle: what <o> owns waits for its own dependents, <o> perhaps among them. Nobody waits for <o> any more.
local function unblock(o)
  local refs, changed = neap.array {}, false
  for _, ref in pairs(o.metadata.ownerReferences) do
    local copy = neap.edit(ref)
    changed = changed or copy.blockOwnerDeletion
    copy.blockOwnerDeletion = copy.blockOwnerDeletion and false
    refs[#refs + 1] = copy
  end
  if changed then
    set_owners(o, refs)
  end
end

-- An object none of whose owners stays goes; one that has some left loses the references to the others.
-- Returns whether an owner that is being deleted in the foreground still has to wait for it.
local function collect(o)
  local solid, gone, waiting = classify(o)
  if gone == 0 and waiting == 0 then
    return false
  end
  if #solid > 0 then
    set_owners(o, solid)
    return false
  end
  if waiting == 0 then
    delete(o, has(o.metadata.finalizers, ORPHAN) and "Orphan"
      or has(o.metadata.finalizers, FOREGROUND) and "Foreground" or "Background")
    return false
  end
  local dependents, circle = neap.owned(o.metadata.uid), false
  for _, d in ipairs(dependents) do
    circle = circle or deleted_in_foreground(d)
  end
  if circle then
    unblock(o)
  end
  delete(o, #dependents > 0 and "Foreground" or "Background")
  return not circle
end

local function blocks(d, owner)
  for _, ref in pairs(d.metadata.ownerReferences) do
    if ref.uid == owner.metadata.uid and ref.blockOwnerDeletion then
      return true
    end
  end
  return false
end

local function foreground(o)
  local waits = false
  for _, d in ipairs(neap.owned(o.metadata.uid)) do
    if d.metadata.deletionTimestamp then
      waits = waits or blocks(d, o)
    elseif blocks(d, o) then
      waits = collect(d) or waits
    else
      collect(d)
    end
  end
  if not waits then
    without_finalizer(o, FOREGROUND)
    return nil
  end
  return RECHECK_S -- a reference may be taken away without an event that names the owner
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
        return foreground(o)
      end
    else
      collect(o)
    end
  end,
}
