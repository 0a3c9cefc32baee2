-- Endpoints and EndpointSlices of Services with a selector. Source: Kubernetes documentation, "EndpointSlices".
local workload, endpoints = require("workload"), require("endpoints")
local SLICES, ENDPOINTS = "discovery.k8s.io/v1/endpointslices", "v1/endpoints"
local PER_SLICE, PER_ENDPOINTS, PART = 100, 1000, 10
local TRIGGER, OVER = "endpoints.kubernetes.io/last-change-trigger-time", "endpoints.kubernetes.io/over-capacity"
local HEADLESS = "service.kubernetes.io/headless"

-- The Service's labels and those of the controller; whether it is headless is told by the address alone.
local function labels_of(service, more)
  local labels = workload.merged(workload.without(service.metadata.labels, HEADLESS), more)
  if service.spec.clusterIP == "None" then
    labels[HEADLESS] = ""
  end
  return labels
end

-- ---- slices ----

-- Endpoints stay in the slice where they are, so that one that comes or goes changes one slice; new ones go where
-- there is room. Returns slices as they are to be: { ports, endpoints, old = the view or nil }.
local function pack_group(group, have)
  local wanted, out = {}, {}
  for _, e in ipairs(group.endpoints) do
    wanted[e.targetRef.uid] = e
  end
  for _, old in ipairs(have) do
    local slice = { ports = group.ports, old = old, endpoints = neap.array {} }
    for _, e in pairs(old.endpoints or {}) do
      local uid = e.targetRef and e.targetRef.uid
      if uid and wanted[uid] and #slice.endpoints < PER_SLICE then
        slice.endpoints[#slice.endpoints + 1], wanted[uid] = wanted[uid], nil
      end
    end
    out[#out + 1] = slice
  end
  local at = 1
  for _, e in ipairs(group.endpoints) do
    if wanted[e.targetRef.uid] then
      while out[at] and #out[at].endpoints >= PER_SLICE do
        at = at + 1
      end
      out[at] = out[at] or { ports = group.ports, endpoints = neap.array {} }
      table.insert(out[at].endpoints, e)
    end
  end
  return out
end

-- What is to be, and the slices that are to go. Without endpoints one empty slice says that somebody looked.
local function pack(groups, have)
  local by_key, want, gone = {}, {}, {}
  for _, s in ipairs(have) do
    local key = endpoints.key_of_ports(s.ports)
    by_key[key] = by_key[key] or {}
    table.insert(by_key[key], s)
  end
  for _, group in ipairs(groups) do
    for i, slice in ipairs(pack_group(group, by_key[group.key] or {})) do
      if #slice.endpoints > 0 then
        want[#want + 1] = slice
      else
        gone[#gone + 1] = slice.old
      end
      if i % PART == 0 then
        neap.turn()
      end
    end
    by_key[group.key] = nil
  end
  if #want == 0 then
    local empty = by_key[""] and table.remove(by_key[""])
    want[1] = { ports = neap.array {}, endpoints = neap.array {}, old = empty or table.remove(gone) }
  end
  for _, rest in pairs(by_key) do
    table.move(rest, 1, #rest, #gone + 1, gone)
  end
  return want, gone
end

-- A merge patch that makes <have> (a view of labels) <want>; nil: it is.
local function labels_patch(have, want)
  local patch = {}
  for k, v in pairs(want) do
    patch[k] = (have or {})[k] ~= v and v or nil
  end
  for k in pairs(have or {}) do
    patch[k] = want[k] == nil and neap.null or patch[k]
  end
  return next(patch) and patch or nil
end

local function create_slice(service, slice, labels)
  local _, err = neap.create(SLICES, service.metadata.namespace, {
    metadata = {
      generateName = service.metadata.name .. "-", labels = labels, ownerReferences = { workload.owner(service) },
      annotations = { [TRIGGER] = neap.time() },
    },
    addressType = endpoints.family(service), ports = slice.ports, endpoints = slice.endpoints,
  })
  if err and not workload.namespace_going(err) then
    error(err.message, 0)
  end
end

local function write_slice(service, slice, labels)
  local old = slice.old
  if not old then
    return create_slice(service, slice, labels)
  end
  local patch = labels_patch(old.metadata.labels, labels)
  if patch or not (neap.equal(old.endpoints or {}, slice.endpoints)
    and endpoints.key_of_ports(old.ports) == endpoints.key_of_ports(slice.ports)) then
    workload.except("NotFound", neap.patch(SLICES, service.metadata.namespace, old.metadata.name, {
      metadata = { labels = patch, annotations = { [TRIGGER] = neap.time() } },
      ports = slice.ports, endpoints = slice.endpoints,
    }))
  end
end

local function write_slices(service, groups)
  local have, family = {}, endpoints.family(service)
  local all = neap.list(SLICES, { owner = service.metadata.uid, deleting = false })
  for _, s in ipairs(all) do
    have[#have + 1] = s.addressType == family and s or nil
  end
  local want, gone = pack(groups, have)
  local labels = labels_of(service, {
    ["kubernetes.io/service-name"] = service.metadata.name,
    ["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io",
  })
  for i, slice in ipairs(want) do
    write_slice(service, slice, labels)
    if i % PART == 0 then
      neap.turn()
    end
  end
  for _, s in ipairs(all) do
    if s.addressType ~= family then
      gone[#gone + 1] = s
    end
  end
  for _, s in ipairs(gone) do
    workload.except("NotFound", neap.delete(SLICES, s.metadata.namespace, s.metadata.name, { uid = s.metadata.uid }))
  end
end

-- ---- Endpoints ----

local function ports_of(group)
  local ports = neap.array {}
  for i, p in ipairs(group.ports) do
    ports[i] = { name = p.name ~= "" and p.name or nil, port = p.port, protocol = p.protocol, appProtocol = p.appProtocol }
  end
  return ports
end

-- The addresses of a group: ready, and not ready, of which <room> more may be. Returns how many there would be.
local function addresses(group, room)
  local ready, waiting, count = neap.array {}, neap.array {}, 0
  for _, e in workload.each(group.endpoints) do
    local list = e.conditions.ready and ready or not e.conditions.terminating and waiting
    if list then
      count = count + 1
      list[#list + 1] = { ip = e.addresses[1], nodeName = e.nodeName, targetRef = e.targetRef, hostname = e.hostname }
    end
  end
  for i = #waiting, math.max(0, room - #ready) + 1, -1 do
    waiting[i] = nil
  end
  for i = #ready, room + 1, -1 do
    ready[i] = nil
  end
  return ready, waiting, count
end

local function subsets_of(service, groups)
  local subsets, room, total = neap.array {}, PER_ENDPOINTS, 0
  for _, group in ipairs(groups) do
    if #group.ports > 0 or #(service.spec.ports or {}) == 0 then
      local ready, waiting, count = addresses(group, room)
      room, total = room - #ready - #waiting, total + count
      if #ready + #waiting > 0 then
        subsets[#subsets + 1] = {
          addresses = #ready > 0 and ready or nil, notReadyAddresses = #waiting > 0 and waiting or nil,
          ports = ports_of(group),
        }
      end
    end
  end
  return subsets, total > PER_ENDPOINTS and "truncated" or nil
end

local function write_endpoints(service, groups)
  local ns, name = service.metadata.namespace, service.metadata.name
  local old, subsets, over = neap.get(ENDPOINTS, ns, name), subsets_of(service, groups)
  local labels = labels_of(service, { ["endpoints.kubernetes.io/managed-by"] = "endpoint-controller" })
  local notes = { [TRIGGER] = neap.time(), [OVER] = over }
  local new = { metadata = { name = name, labels = labels, annotations = notes }, subsets = subsets }
  if not old then
    local _, err = neap.create(ENDPOINTS, ns, new)
    if err and err.reason ~= "AlreadyExists" and not workload.namespace_going(err) then
      error(err.message, 0)
    end
  elseif not neap.equal(old.subsets or {}, subsets) or labels_patch(old.metadata.labels, labels)
    or (old.metadata.annotations or {})[OVER] ~= over then
    new.metadata.annotations = workload.merged(workload.without(old.metadata.annotations, OVER), notes)
    workload.except("NotFound", neap.update(ENDPOINTS, ns, name, new))
  end
end

return neap.controller {
  name = "endpointslice",
  for_ = "v1/services",
  owns = { SLICES },
  watches = {
    { "v1/pods", function(pod)
      local keys = {}
      for _, s in ipairs(neap.list("v1/services", { namespace = pod.metadata.namespace })) do
        if s.spec.selector and neap.matches({ matchLabels = neap.edit(s.spec.selector) }, pod.metadata.labels or {}) then
          keys[#keys + 1] = s.metadata.namespace .. "/" .. s.metadata.name
        end
      end
      return keys
    end },
  },
  reconcile = function(ns, name)
    local service = neap.get("v1/services", ns, name)
    if not service then
      if neap.get(ENDPOINTS, ns, name) then
        workload.except("NotFound", neap.delete(ENDPOINTS, ns, name))
      end
      return
    end
    if not service.spec.selector or service.metadata.deletionTimestamp or service.spec.type == "ExternalName" then
      return
    end
    local groups = endpoints.groups(service)
    write_slices(service, groups)
    write_endpoints(service, groups)
  end,
}
