-- Namespaces that are being deleted: their content goes, pods first, then they are finalized.
local workload = require("workload")

local function content(ns)
  local found = {}
  for _, k in ipairs(neap.kinds()) do
    if k.namespaced then
      local list = neap.list(k.kind, { namespace = ns })
      if #list > 0 then
        found[#found + 1] = { kind = k.kind, objects = list }
      end
    end
  end
  table.sort(found, function(a, b)
    return a.kind == "v1/pods" and b.kind ~= "v1/pods"
  end)
  return found
end

local function set_conditions(ns, remaining)
  local conditions = neap.edit(ns.status.conditions) or {}
  local names, finalizers = {}, {}
  for _, f in ipairs(remaining) do
    names[#names + 1] = ("%s has %d resource instances"):format(f.kind, #f.objects)
    for _, o in ipairs(f.objects) do
      for _, x in pairs(o.metadata.finalizers or {}) do
        finalizers[x] = (finalizers[x] or 0) + 1
      end
    end
  end
  local changed = false
  local function set(kind, bad, reason, message, ok_reason, ok_message)
    if workload.set_condition(conditions, kind, bad and "True" or "False", bad and reason or ok_reason,
      bad and message or ok_message) then
      changed = true
    end
  end
  set("NamespaceDeletionDiscoveryFailure", false, "", "", "ResourcesDiscovered",
    "All resources successfully discovered")
  set("NamespaceDeletionGroupVersionParsingFailure", false, "", "", "ParsedGroupVersions",
    "All legacy kube types successfully parsed")
  set("NamespaceDeletionContentFailure", false, "", "", "ContentDeleted",
    "All content successfully deleted, may be waiting on finalization")
  set("NamespaceContentRemaining", #names > 0, "SomeResourcesRemain",
    "Some resources are remaining: " .. table.concat(names, ", "), "ContentRemoved", "All content successfully removed")
  local waiting = {}
  for f, n in pairs(finalizers) do
    waiting[#waiting + 1] = ("%s in %d resource instances"):format(f, n)
  end
  table.sort(waiting)
  set("NamespaceFinalizersRemaining", #waiting > 0, "SomeFinalizersRemain",
    "Some content in the namespace has finalizers remaining: " .. table.concat(waiting, ", "), "ContentHasNoFinalizers",
    "All content-preserving finalizers finished")
  for _, c in ipairs(conditions) do
    c.lastUpdateTime = nil
  end
  if changed then
    workload.except("NotFound", neap.patch("v1/namespaces", nil, ns.metadata.name, { status = { conditions = conditions } }, "status"))
  end
end

local function finalize(ns)
  local left = neap.array {}
  for _, f in pairs(ns.spec.finalizers or {}) do
    if f ~= "kubernetes" then
      left[#left + 1] = f
    end
  end
  local o = neap.edit(ns)
  o.spec.finalizers = left
  o.metadata.resourceVersion = nil
  workload.except("NotFound", neap.update("v1/namespaces", nil, ns.metadata.name, o, "finalize"))
end

return neap.controller {
  name = "namespace",
  for_ = "v1/namespaces",
  watches = {
    -- what goes may be the last
    { "*", function(o, event)
      local ns = event == "DELETED" and o.metadata.namespace
      return ns and "/" .. ns or nil
    end },
  },
  reconcile = function(_, name)
    local ns = neap.get("v1/namespaces", nil, name)
    if not ns or not ns.metadata.deletionTimestamp then
      return
    end
    local found, pods_left = content(name), false
    for _, f in ipairs(found) do
      if f.kind == "v1/pods" then
        pods_left = true
      end
      if f.kind == "v1/pods" or not pods_left then
        for _, o in ipairs(f.objects) do
          if not o.metadata.deletionTimestamp then
            workload.except("NotFound Conflict", neap.delete(f.kind, name, o.metadata.name, { propagation = "Background" }))
          end
        end
      end
    end
    found = content(name)
    if #found == 0 then
      finalize(ns)
      return
    end
    set_conditions(ns, found)
    return 2
  end,
}
