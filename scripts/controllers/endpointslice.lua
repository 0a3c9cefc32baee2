-- Endpoints and EndpointSlices of Services with a selector. Source: Kubernetes documentation, "EndpointSlices".
local workload = require("workload")
local PER_SLICE, PER_ENDPOINTS = 100, 1000

local function target_port(pod, port)
  local want = port.targetPort
  if type(want) == "number" then
    return want
  end
  for _, c in pairs(pod.spec.containers) do
    for _, p in pairs(c.ports or {}) do
      if p.name == want and (p.protocol or "TCP") == (port.protocol or "TCP") then
        return p.containerPort
      end
    end
  end
end

-- The pod's ports in the Service's order; nil: it has none of a named one.
local function ports_of(service, pod)
  local ports = neap.array {}
  for _, port in pairs(service.spec.ports or {}) do
    local number = target_port(pod, port)
    if number then
      ports[#ports + 1] = {
        name = port.name or "", port = number, protocol = port.protocol or "TCP", appProtocol = port.appProtocol,
      }
    end
  end
  return ports
end

local function reference(pod)
  return { kind = "Pod", namespace = pod.metadata.namespace, name = pod.metadata.name, uid = pod.metadata.uid }
end

local function family_of(ip)
  return ip:find(":", 1, true) and "IPv6" or "IPv4"
end

-- The pod's address of the Service's family: slices of a second one are for dual-stack, which is not served.
local function address_of(pod, family)
  if pod.status.podIP and family_of(pod.status.podIP) == family then
    return pod.status.podIP
  end
  for _, x in pairs(pod.status.podIPs or {}) do
    if family_of(x.ip) == family then
      return x.ip
    end
  end
end

local function service_family(service)
  local families = service.spec.ipFamilies
  return families and families[1] or "IPv4"
end

-- Pods with an address, grouped by equal ports, in order of name.
local function collect(service)
  local family = service_family(service)
  local groups, by_hash = {}, {}
  for _, pod in workload.each(neap.list("v1/pods", {
    namespace = service.metadata.namespace, selector = { matchLabels = neap.edit(service.spec.selector) },
  })) do
    local phase, ip = pod.status.phase, address_of(pod, family)
    if ip and phase ~= "Succeeded" and phase ~= "Failed" then
      local ports = ports_of(service, pod)
      local hash = neap.hash(ports)
      local group = by_hash[hash]
      if not group then
        group = { ports = ports, endpoints = {} }
        by_hash[hash], groups[#groups + 1] = group, group
      end
      local ready, going = workload.ready(pod), pod.metadata.deletionTimestamp ~= nil
      local all = service.spec.publishNotReadyAddresses or false
      group.endpoints[#group.endpoints + 1] = {
        addresses = { ip },
        conditions = { ready = all or (ready and not going), serving = ready, terminating = going },
        nodeName = pod.spec.nodeName, targetRef = reference(pod),
        hostname = pod.spec.subdomain == service.metadata.name and pod.spec.hostname or nil,
      }
    end
  end
  return groups
end

local function wanted_slices(service)
  local out = {}
  for _, group in ipairs(collect(service)) do
    for first = 1, #group.endpoints, PER_SLICE do
      local some = neap.array { table.unpack(group.endpoints, first, math.min(first + PER_SLICE - 1, #group.endpoints)) }
      out[#out + 1] = { ports = group.ports, endpoints = some }
    end
  end
  if #out == 0 then
    local ports = neap.array {}
    for _, port in pairs(service.spec.ports or {}) do
      if type(port.targetPort) == "number" then
        ports[#ports + 1] = { name = port.name or "", port = port.targetPort, protocol = port.protocol or "TCP" }
      end
    end
    out[1] = { ports = #service.spec.ports > 0 and ports or neap.array {}, endpoints = neap.array {} }
  end
  return out
end

local function write_slices(service)
  local ns, name = service.metadata.namespace, service.metadata.name
  local have = {}
  for _, s in ipairs(neap.list("discovery.k8s.io/v1/endpointslices", { owner = service.metadata.uid })) do
    if not s.metadata.deletionTimestamp then
      have[#have + 1] = s
    end
  end
  local want = wanted_slices(service)
  local labels = workload.merged(service.metadata.labels, {
    ["kubernetes.io/service-name"] = name,
    ["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io",
  })
  if service.spec.clusterIP == "None" then
    labels["service.kubernetes.io/headless"] = ""
  end
  for i, slice in ipairs(want) do
    local old = have[i]
    if not old then
      workload.check(neap.create("discovery.k8s.io/v1/endpointslices", ns, {
        metadata = {
          generateName = name .. "-", labels = labels, ownerReferences = { workload.owner(service) },
          annotations = { ["endpoints.kubernetes.io/last-change-trigger-time"] = neap.time() },
        },
        addressType = service_family(service), ports = slice.ports, endpoints = slice.endpoints,
      }))
    elseif not (neap.equal(old.endpoints or {}, slice.endpoints) and neap.equal(old.ports or {}, slice.ports)) then
      workload.check(neap.patch("discovery.k8s.io/v1/endpointslices", ns, old.metadata.name,
        { ports = slice.ports, endpoints = slice.endpoints, metadata = { labels = labels } }))
    end
  end
  for i = #want + 1, #have do
    workload.except("NotFound", neap.delete("discovery.k8s.io/v1/endpointslices", ns, have[i].metadata.name))
  end
end

local function wanted_endpoints(service)
  local subsets = neap.array {}
  for _, group in ipairs(collect(service)) do
    local ready, waiting = neap.array {}, neap.array {}
    for i, e in ipairs(group.endpoints) do
      if i > PER_ENDPOINTS then
        break
      end
      local address = { ip = e.addresses[1], nodeName = e.nodeName, targetRef = e.targetRef, hostname = e.hostname }
      local list = e.conditions.ready and ready or (not e.conditions.terminating and waiting)
      if list then
        list[#list + 1] = address
      end
    end
    local ports = neap.array {}
    for i, p in ipairs(group.ports) do
      ports[i] = { name = p.name ~= "" and p.name or nil, port = p.port, protocol = p.protocol }
    end
    if #ready + #waiting > 0 then
      subsets[#subsets + 1] = {
        addresses = #ready > 0 and ready or nil, notReadyAddresses = #waiting > 0 and waiting or nil, ports = ports,
      }
    end
  end
  return subsets
end

local function write_endpoints(service)
  local ns, name = service.metadata.namespace, service.metadata.name
  local old, subsets = neap.get("v1/endpoints", ns, name), wanted_endpoints(service)
  local labels = workload.merged(service.metadata.labels,
    { ["endpoints.kubernetes.io/managed-by"] = "endpoint-controller" })
  if not old then
    workload.except("NotFound", neap.create("v1/endpoints", ns, { metadata = { name = name, labels = labels }, subsets = subsets }))
  elseif not neap.equal(old.subsets or {}, subsets) then
    workload.check(neap.update("v1/endpoints", ns, name, { metadata = { name = name, labels = labels }, subsets = subsets }))
  end
end

return neap.controller {
  name = "endpointslice",
  for_ = "v1/services",
  owns = { "discovery.k8s.io/v1/endpointslices" },
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
      if neap.get("v1/endpoints", ns, name) then
        workload.check(neap.delete("v1/endpoints", ns, name))
      end
      return
    end
    if not service.spec.selector or service.metadata.deletionTimestamp or service.spec.type == "ExternalName" then
      return
    end
    write_slices(service)
    write_endpoints(service)
  end,
}
