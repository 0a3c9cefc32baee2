-- Makes reconcile() of a controller's sync(parent, observed): the engine's declarative half. sync returns
-- {children = {...}, status = {...}, resync = seconds}. What is owned and no longer wanted is deleted; children
-- and status are written by server-side apply under the controller's name: what others set stays theirs, and a
-- field that is no longer wanted goes, also after a restart.
local workload = require("workload")

-- Does <have> say all that <want> says? Lists are compared whole.
local function covers(have, want)
  if type(want) ~= "table" or #want > 0 or next(want) == nil or type(have) ~= "table" and type(have) ~= "userdata" then
    return neap.equal(have, want)
  end
  for k, v in pairs(want) do
    if not covers(have[k], v) then
      return false
    end
  end
  return true
end

return function(controller)
  local last = {} -- "namespace/name" of the parent -> what was applied: nothing is applied twice for nothing

  local function owned_by(parent, child)
    return workload.merged(child, { metadata = workload.merged(child.metadata, {
      ownerReferences = neap.array { workload.owner(parent) },
    }) })
  end

  local function apply(kind, ns, name, have, before, want, subresource)
    if not (have and before and neap.equal(before, want) and covers(have, want)) then
      workload.check(neap.apply(kind, ns, name, want,
        { manager = controller.name, force = true, subresource = subresource }))
    end
  end

  local function apply_children(parent, children, before, wanted)
    local ns = parent.metadata.namespace
    for _, child in ipairs(children) do
      local kind = neap.resource(child.apiVersion, child.kind)
        or error("no kind " .. tostring(child.apiVersion) .. " " .. tostring(child.kind))
      local name = child.metadata.name
      local key = kind .. "/" .. name
      wanted[key] = owned_by(parent, child)
      apply(kind, ns, name, neap.get(kind, ns, name), before[key], wanted[key])
    end
    for _, kind in ipairs(controller.owns or {}) do
      for _, o in ipairs(neap.list(kind, { owner = parent.metadata.uid })) do
        if not wanted[kind .. "/" .. o.metadata.name] and not o.metadata.deletionTimestamp then
          workload.except("NotFound", neap.delete(kind, ns, o.metadata.name, { uid = o.metadata.uid }))
        end
      end
    end
  end

  return function(ns, name)
    local parent, key = neap.get(controller.for_, ns, name), (ns or "") .. "/" .. name
    if not parent or parent.metadata.deletionTimestamp then
      last[key] = nil
      return
    end
    local observed = {}
    for _, kind in ipairs(controller.owns or {}) do
      observed[kind] = neap.list(kind, { owner = parent.metadata.uid })
    end
    local result = controller.sync(parent, observed) or {}
    local before, wanted = last[key] or {}, {}
    if result.children then
      apply_children(parent, result.children, before, wanted)
    end
    if result.status then
      wanted.status = { status = result.status }
      apply(controller.for_, ns, name, parent, before.status, wanted.status, "status")
    end
    last[key] = wanted
    return result.resync
  end
end
