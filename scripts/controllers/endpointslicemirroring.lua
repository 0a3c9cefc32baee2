-- EndpointSlices of Endpoints that somebody wrote by hand, for a Service without a selector.
-- Source: Kubernetes documentation, "EndpointSlices: EndpointSlice mirroring".
local workload = require("workload")
local ENDPOINTS, SLICES = "v1/endpoints", "discovery.k8s.io/v1/endpointslices"
local MANAGER = "endpointslicemirroring-controller.k8s.io"
local MANAGED, SERVICE = "endpointslice.kubernetes.io/managed-by", "kubernetes.io/service-name"
local SKIP, LEADER = "endpointslice.kubernetes.io/skip-mirror", "control-plane.alpha.kubernetes.io/leader"
local TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
local ENDPOINTS_MAX = 1000 -- of a subset

local function mirrored(endpoints, service)
  local labels, notes = endpoints.metadata.labels or {}, endpoints.metadata.annotations or {}
  return labels[SKIP] ~= "true" and labels["endpoints.kubernetes.io/managed-by"] ~= "endpoint-controller" and
    notes[LEADER] == nil and service ~= nil and not next(neap.edit(service.spec.selector or {}))
end

local function family(ip)
  return ip:find(":", 1, true) and "IPv6" or "IPv4"
end

local function endpoint(address, ready)
  return {
    addresses = { address.ip }, conditions = { ready = ready }, hostname = address.hostname, nodeName = address.nodeName,
    targetRef = address.targetRef and neap.edit(address.targetRef) or nil,
  }
end

-- What is wanted: a slice a subset and family.
local function wanted(endpoints)
  local out = {}
  for _, subset in pairs(endpoints.subsets or {}) do
    local families = {}
    local function add(list, ready)
      for _, address in pairs(list or {}) do
        local f = family(address.ip)
        families[f] = families[f] or neap.array {}
        if #families[f] < ENDPOINTS_MAX then
          table.insert(families[f], endpoint(address, ready))
        end
      end
    end
    add(subset.addresses, true)
    add(subset.notReadyAddresses, false)
    local ports = neap.array {}
    for _, port in pairs(subset.ports or {}) do
      ports[#ports + 1] = { name = port.name or "", port = port.port, protocol = port.protocol, appProtocol = port.appProtocol }
    end
    for f, list in pairs(families) do
      out[#out + 1] = { addressType = f, endpoints = list, ports = ports }
    end
  end
  return out
end

local function without_notes(notes)
  return workload.without(workload.without(notes, TRIGGER), "kubectl.kubernetes.io/last-applied-configuration")
end

local function labels_of(endpoints)
  return workload.merged(workload.without(endpoints.metadata.labels, SKIP), {
    [SERVICE] = endpoints.metadata.name, [MANAGED] = MANAGER,
  })
end

-- What a slice says, for comparing.
local function content(slice)
  return neap.hash({ slice.addressType, neap.edit(slice.endpoints or neap.array {}), neap.edit(slice.ports or neap.array {}) })
end

local function own_slices(namespace, name)
  return neap.list(SLICES, { namespace = namespace, selector = { matchLabels = { [SERVICE] = name, [MANAGED] = MANAGER } } })
end

local function write(endpoints, have, want)
  want.apiVersion, want.kind = "discovery.k8s.io/v1", "EndpointSlice"
  local labels, notes = labels_of(endpoints), without_notes(endpoints.metadata.annotations)
  if not have then
    want.metadata = {
      generateName = endpoints.metadata.name .. "-", labels = labels, annotations = notes,
      ownerReferences = { workload.owner(endpoints) },
    }
    workload.check(neap.create(SLICES, endpoints.metadata.namespace, want))
  elseif content(have) ~= content(want) or neap.hash(neap.edit(have.metadata.labels)) ~= neap.hash(labels) then
    local new = neap.edit(have)
    new.endpoints, new.ports, new.metadata.labels, new.metadata.annotations = want.endpoints, want.ports, labels, notes
    workload.except("NotFound Conflict", neap.update(SLICES, endpoints.metadata.namespace, have.metadata.name, new))
  end
end

local function reconcile(namespace, name)
  local endpoints, service = neap.get(ENDPOINTS, namespace, name), neap.get("v1/services", namespace, name)
  local free = {}
  for _, slice in ipairs(own_slices(namespace, name)) do
    free[slice.addressType] = free[slice.addressType] or {}
    table.insert(free[slice.addressType], slice)
  end
  if endpoints and not endpoints.metadata.deletionTimestamp and mirrored(endpoints, service) then
    for _, want in ipairs(wanted(endpoints)) do
      write(endpoints, table.remove(free[want.addressType] or {}, 1), want)
    end
  end
  for _, left in pairs(free) do
    for _, slice in ipairs(left) do
      workload.except("NotFound", neap.delete(SLICES, namespace, slice.metadata.name, { uid = slice.metadata.uid }))
    end
  end
end

local function same_name(object)
  return object.metadata.namespace .. "/" .. object.metadata.name
end

return neap.controller {
  name = "endpointslicemirroring",
  for_ = ENDPOINTS,
  watches = {
    { "v1/services", same_name },
    { SLICES, function(slice)
      local labels = slice.metadata.labels or {}
      if labels[MANAGED] == MANAGER and labels[SERVICE] then
        return slice.metadata.namespace .. "/" .. labels[SERVICE]
      end
    end },
  },
  reconcile = reconcile,
}
