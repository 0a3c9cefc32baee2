-- Garbage: dependents of owners that are gone; foreground and orphaning deletions.
-- Source: Kubernetes documentation, "Garbage Collection".
local workload = require("workload")
local FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
local RECHECK_S = 30

local namespaced = {}
for _, k in ipairs(neap.kinds()) do
  namespaced[k.kind] = k.namespaced
end

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

-- An owner as its reference names it: nil when there is none; false, and nothing is done about the dependent, when
-- nobody can tell: a kind that is not served, or an owner in a namespace of a dependent that is in none.
local function owner_of(ref, namespace)
  local kind = neap.resource(ref.apiVersion, ref.kind)
  if not kind or (namespaced[kind] and not namespace) then
    return false
  end
  local o = neap.get(kind, namespace, ref.name)
  return o and o.metadata.uid == ref.uid and o or nil
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

-- Changes references by their uids, whatever else somebody changed since the object was read.
local function patch_references(o, refs)
  workload.except("NotFound Conflict", neap.patch(kind_of(o), o.metadata.namespace, o.metadata.name,
    { metadata = { uid = o.metadata.uid, ownerReferences = neap.array(refs) } }, nil, "strategic"))
end

local function drop_references(o, uids)
  local refs = {}
  for i, uid in ipairs(uids) do
    refs[i] = { uid = uid, ["$patch"] = "delete" }
  end
  patch_references(o, refs)
end

local function orphan(o)
  for _, d in ipairs(neap.owned(o.metadata.uid)) do
    drop_references(d, { o.metadata.uid })
  end
  without_finalizer(o, ORPHAN)
end

local function deleted_in_foreground(o)
  return o.metadata.deletionTimestamp ~= nil and has(o.metadata.finalizers, FOREGROUND)
end

-- Only as it was seen: whoever gave it another owner meanwhile keeps it. What is changed comes again.
local function delete(o, policy)
  workload.except("NotFound Conflict", neap.delete(kind_of(o), o.metadata.namespace, o.metadata.name,
    { uid = o.metadata.uid, version = o.metadata.resourceVersion, propagation = policy }))
end

-- Owners by what they are: how many stay, the uids of those that are gone or wait for their dependents, and how many
-- wait. Nil when of one nothing is known.
local function classify(o)
  local solid, others, waiting = 0, {}, 0
  for _, ref in pairs(o.metadata.ownerReferences or {}) do
    local owner = owner_of(ref, o.metadata.namespace)
    if owner == false then
      return nil
    elseif not owner then
      others[#others + 1] = ref.uid
    elseif deleted_in_foreground(owner) then
      others[#others + 1], waiting = ref.uid, waiting + 1
    else
      solid = solid + 1
    end
  end
  return solid, others, waiting
end

-- A circle: what <o> owns waits for its own dependents, <o> perhaps among them. Nobody waits for <o> any more.
local function unblock(o)
  local refs = {}
  for _, ref in pairs(o.metadata.ownerReferences) do
    refs[#refs + 1] = ref.blockOwnerDeletion and { uid = ref.uid, blockOwnerDeletion = false } or nil
  end
  if #refs > 0 then
    patch_references(o, refs)
  end
end

-- An object none of whose owners stays goes; one that has some left loses the references to the others.
-- Returns whether an owner that is being deleted in the foreground still has to wait for it.
local function collect(o)
  local solid, others, waiting = classify(o)
  if not solid or #others == 0 then
    return false
  end
  if solid > 0 then
    drop_references(o, others)
    return false
  end
  local dependents, circle = waiting > 0 and neap.owned(o.metadata.uid) or {}, false
  if #dependents == 0 then
    delete(o, has(o.metadata.finalizers, ORPHAN) and "Orphan"
      or has(o.metadata.finalizers, FOREGROUND) and "Foreground" or "Background")
    return waiting > 0
  end
  for _, d in workload.each(dependents) do
    circle = circle or deleted_in_foreground(d)
  end
  if circle then
    unblock(o)
  end
  workload.except("NotFound Conflict", neap.delete(kind_of(o), o.metadata.namespace, o.metadata.name,
    { uid = o.metadata.uid, propagation = "Foreground" }))
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
  for _, d in workload.each(neap.owned(o.metadata.uid)) do
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
      for _, d in workload.each(neap.owned(name)) do
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
