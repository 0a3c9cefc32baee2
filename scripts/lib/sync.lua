-- Makes reconcile() of a controller's sync(parent, observed): the engine's declarative half. sync returns
-- {children = {...}, status = {...}, resync = seconds}; what is missing is created, what is owned and no longer wanted is
-- deleted, and the rest is merged against the last desired state (kept in memory: after a restart the
-- first pass only adds and changes).
local workload = require("workload")

local function diff(last, want, have)
  local patch, any = {}, false
  for k, v in pairs(want) do
    if type(v) == "table" and #v == 0 and type(have) ~= "nil" and type(have[k]) ~= "nil" and next(v) ~= nil then
      local inner = diff(last and last[k], v, have[k])
      if inner then
        patch[k], any = inner, true
      end
    elseif not neap.equal(v, have and have[k]) then
      patch[k], any = v, true
    end
  end
  for k in pairs(last or {}) do
    if want[k] == nil and have and have[k] ~= nil then
      patch[k], any = neap.null, true
    end
  end
  return any and patch or nil
end

return function(controller)
  local last = {} -- uid of the parent -> key of the child -> what was wanted

  local function apply(parent, children)
    local ns, uid = parent.metadata.namespace, parent.metadata.uid
    local before, wanted = last[uid] or {}, {}
    for _, child in ipairs(children) do
      local kind = neap.resource(child.apiVersion, child.kind)
        or error("no kind " .. tostring(child.apiVersion) .. " " .. tostring(child.kind))
      local name = child.metadata.name
      local key = kind .. "/" .. name
      wanted[key] = child
      local have = neap.get(kind, ns, name)
      if not have then
        -- in a copy: what was wanted has no owner, and the next pass must not take it away
        local metadata = workload.merged(child.metadata, { ownerReferences = { workload.owner(parent) } })
        workload.check(neap.create(kind, ns, workload.merged(child, { metadata = metadata })))
      else
        local patch = diff(before[key], child, have)
        if patch then
          workload.check(neap.patch(kind, ns, name, patch))
        end
      end
    end
    for _, kind in ipairs(controller.owns or {}) do
      for _, o in ipairs(neap.list(kind, { owner = uid })) do
        if not wanted[kind .. "/" .. o.metadata.name] and not o.metadata.deletionTimestamp then
          workload.check(neap.delete(kind, ns, o.metadata.name, { uid = o.metadata.uid }))
        end
      end
    end
    last[uid] = wanted
  end

  return function(ns, name)
    local parent = neap.get(controller.for_, ns, name)
    if not parent or parent.metadata.deletionTimestamp then
      return
    end
    local observed = {}
    for _, kind in ipairs(controller.owns or {}) do
      observed[kind] = neap.list(kind, { owner = parent.metadata.uid })
    end
    local result = controller.sync(parent, observed) or {}
    if result.children then
      apply(parent, result.children)
    end
    if result.status and diff(nil, result.status, parent.status) then
      workload.check(neap.patch(controller.for_, ns, name, { status = result.status }, "status"))
    end
    return result.resync
  end
end
