-- Namespaces that are being deleted: their content goes, pods first, then they are finalized.
local workload = require("workload")

local PODS, AT_ONCE, AGAIN_S, RECHECK_S = "v1/pods", 500, 0.05, 2

-- What is in a namespace, by kind.
local function content(ns)
  local found, pods = {}, nil
  for _, k in ipairs(neap.kinds()) do
    if k.namespaced then
      local list = neap.list(k.kind, { namespace = ns })
      if #list > 0 then
        local f = { kind = k.kind, objects = list }
        pods, found[#found + 1] = k.kind == PODS and f or pods, f
      end
    end
  end
  return found, pods
end

-- Deletes what is not being deleted yet; how many that were.
local function delete(f)
  local rest, gone = {}, 0
  for _, o in workload.each(f.objects) do
    rest[#rest + 1] = not o.metadata.deletionTimestamp and o or nil
  end
  for first = 1, #rest, AT_ONCE do
    local some = table.move(rest, first, math.min(first + AT_ONCE - 1, #rest), 1, {})
    for _, r in ipairs(neap.delete_all(f.kind, some, { propagation = "Background" })) do
      if not r.error then
        gone = gone + 1
      elseif r.error.reason ~= "NotFound" and r.error.reason ~= "Conflict" then
        error(r.error.message, 0)
      end
    end
  end
  return gone
end

-- "deployments.apps", "pods.": as Kubernetes names them there.
local function in_words(kind)
  local group, resource = kind:match("^(.*)/[^/]*/([^/]*)$")
  return (resource or kind:match("/(.*)$")) .. "." .. (group or "")
end

local function set_conditions(ns, remaining)
  local conditions = neap.edit(ns.status.conditions) or {}
  local names, finalizers = {}, {}
  for _, f in ipairs(remaining) do
    names[#names + 1] = ("%s has %d resource instances"):format(in_words(f.kind), #f.objects)
    for _, o in workload.each(f.objects) do
      for _, x in pairs(o.metadata.finalizers or {}) do
        finalizers[x] = (finalizers[x] or 0) + 1
      end
    end
  end
  table.sort(names)
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
    local found, pods = content(name)
    if #found == 0 then
      finalize(ns)
      return
    end
    local gone = 0
    for _, f in ipairs(pods and { pods } or found) do -- nothing else goes before the last pod
      gone = gone + delete(f)
    end
    if gone > 0 then
      return AGAIN_S -- what is left shows in the next snapshot
    end
    set_conditions(ns, found)
    return RECHECK_S
  end,
}
