-- The endpoints of a Service: its pods, and the ports that they have for it. Source: Kubernetes documentation,
-- "EndpointSlices", "Service: traffic distribution".
local workload = require("workload")
local endpoints = {}

local function named_port(containers, port, only)
  for _, c in pairs(containers or {}) do
    for _, p in pairs(c.ports or {}) do
      if p.name == port.targetPort and (p.protocol or "TCP") == (port.protocol or "TCP")
        and (not only or c.restartPolicy == only) then
        return p.containerPort
      end
    end
  end
end

local function target_port(pod, port)
  if type(port.targetPort) == "number" then
    return port.targetPort
  end
  return named_port(pod.spec.containers, port) or named_port(pod.spec.initContainers, port, "Always")
end

-- The pod's ports in the Service's order, without those named ones that it has not.
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

---The same text for the same ports, as they are wanted and as they are stored.
function endpoints.key_of_ports(ports)
  local out = {}
  for i, p in ipairs(ports or {}) do
    out[i] = ("%s/%d/%s/%s"):format(p.name or "", p.port or 0, p.protocol or "TCP", p.appProtocol or "")
  end
  return table.concat(out, ",")
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

function endpoints.family(service)
  local families = service.spec.ipFamilies
  return families and families[1] or "IPv4"
end

local function zone_of(node_name, known)
  if node_name and known[node_name] == nil then
    local node = neap.get("v1/nodes", nil, node_name)
    known[node_name] = node and (node.metadata.labels or {})["topology.kubernetes.io/zone"] or false
  end
  return node_name and known[node_name] or nil
end

-- Who is to be sent there first.
local function hints_of(service, e)
  local wish = service.spec.trafficDistribution
  if not wish or not e.conditions.ready then
    return nil
  end
  local zones = e.zone and { { name = e.zone } } or nil
  local nodes = wish == "PreferSameNode" and e.nodeName and { { name = e.nodeName } } or nil
  return (zones or nodes) and { forZones = zones, forNodes = nodes } or nil
end

local function endpoint(service, pod, ip, zones)
  local ready, going = workload.ready(pod), pod.metadata.deletionTimestamp ~= nil
  local all = service.spec.publishNotReadyAddresses or false
  local e = {
    addresses = { ip },
    conditions = { ready = all or (ready and not going), serving = ready, terminating = going },
    nodeName = pod.spec.nodeName, zone = zone_of(pod.spec.nodeName, zones),
    targetRef = { kind = "Pod", namespace = pod.metadata.namespace, name = pod.metadata.name, uid = pod.metadata.uid },
    hostname = pod.spec.subdomain == service.metadata.name and pod.spec.hostname or nil,
  }
  e.hints = hints_of(service, e)
  return e
end

---Pods with an address, grouped by equal ports, in order of name: { ports, key, endpoints }.
function endpoints.groups(service)
  local family, zones = endpoints.family(service), {}
  local groups, by_key = {}, {}
  for _, pod in workload.each(neap.list("v1/pods", {
    namespace = service.metadata.namespace, selector = { matchLabels = neap.edit(service.spec.selector) },
    fields = workload.UNFINISHED,
  })) do
    local ip = address_of(pod, family)
    if ip then
      local ports = ports_of(service, pod)
      local key = endpoints.key_of_ports(ports)
      local group = by_key[key]
      if not group then
        group = { ports = ports, key = key, endpoints = {} }
        by_key[key], groups[#groups + 1] = group, group
      end
      group.endpoints[#group.endpoints + 1] = endpoint(service, pod, ip, zones)
    end
  end
  return groups
end

return endpoints
