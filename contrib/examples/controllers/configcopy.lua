-- Copies: a ConfigMap labelled "copies.example.com/to: VALUE" has a copy of its data in every namespace labelled
-- "copies.example.com/from: VALUE". The copies follow the original, are repaired when somebody edits them, and
-- go when the original or a label goes.
local TO, FROM, ORIGIN = "copies.example.com/to", "copies.example.com/from", "copies.example.com/origin"

local function label(o, name)
  return o.metadata.labels and o.metadata.labels[name]
end

-- "ns/name" of every original.
local function originals(value)
  local keys = {}
  for _, cm in ipairs(neap.list("v1/configmaps")) do
    if label(cm, TO) and (not value or label(cm, TO) == value) then
      keys[#keys + 1] = cm.metadata.namespace .. "/" .. cm.metadata.name
    end
  end
  return keys
end

local function check(result, err, harmless)
  if not result and err.reason ~= harmless then
    error(err.message, 0) -- tried again, later and later
  end
end

local function copy(origin, cm, namespace)
  local have = neap.get("v1/configmaps", namespace, cm.metadata.name)
  if not have then
    check(neap.create("v1/configmaps", namespace, {
      metadata = { name = cm.metadata.name, annotations = { [ORIGIN] = origin } },
      data = neap.edit(cm.data),
    }))
  elseif not have.metadata.annotations or have.metadata.annotations[ORIGIN] ~= origin then
    neap.log("configcopy", namespace .. "/" .. cm.metadata.name .. " is somebody else's: not touched")
  elseif not neap.equal(have.data or {}, cm.data or {}) then
    local new = neap.edit(have)
    new.data = neap.edit(cm.data)
    check(neap.update("v1/configmaps", namespace, cm.metadata.name, new))
  end
end

return neap.controller {
  name = "configcopy",
  for_ = "v1/configmaps",
  watches = {
    -- a namespace that gets or loses the label
    { "v1/namespaces", function()
      return originals()
    end },
    -- a copy that was edited or deleted
    { "v1/configmaps", function(o)
      return o.metadata.annotations and o.metadata.annotations[ORIGIN]
    end },
  },
  reconcile = function(ns, name)
    local origin = ns .. "/" .. name
    local cm = neap.get("v1/configmaps", ns, name)
    local value = cm and not cm.metadata.deletionTimestamp and label(cm, TO)
    for _, namespace in ipairs(neap.list("v1/namespaces")) do
      local there = namespace.metadata.name
      if there ~= ns and not namespace.metadata.deletionTimestamp then
        local have = neap.get("v1/configmaps", there, name)
        if value and label(namespace, FROM) == value then
          copy(origin, cm, there)
        elseif have and have.metadata.annotations and have.metadata.annotations[ORIGIN] == origin then
          local gone, err = neap.delete("v1/configmaps", there, name, { uid = have.metadata.uid })
          check(gone, err, "NotFound")
        end
      end
    end
  end,
}
