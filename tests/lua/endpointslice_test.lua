local SLICES = "discovery.k8s.io/v1/endpointslices"

local function service(name, ports)
  return {
    apiVersion = "v1", kind = "Service", metadata = { name = name },
    spec = { selector = { app = "web" }, ports = ports or { { port = 80, targetPort = 8080 } } },
  }
end

local function pod(name, port)
  return {
    apiVersion = "v1", kind = "Pod", metadata = { name = name, labels = { app = "web" } },
    spec = {
      containers = {
        { name = "c", image = "i", ports = port and { { name = "http", containerPort = port } } or nil },
      },
    },
  }
end

test("ready pods are ready endpoints, in slices and in Endpoints", function(t)
  t:controller("endpointslice")
  t:create(service("web"))
  t:create(pod("a"))
  t:equal(#(t:list(SLICES)[1].endpoints or {}), 0)
  t:kubelet()
  local slice = t:list(SLICES)[1]
  t:equal(slice.metadata.labels["kubernetes.io/service-name"], "web")
  t:has(slice.ports[1], { port = 8080, protocol = "TCP" })
  t:has(slice.endpoints[1], {
    addresses = { t:get("v1/pods", "default", "a").status.podIP }, conditions = { ready = true, serving = true },
    targetRef = { kind = "Pod", name = "a" },
  })
  t:has(t:get("v1/endpoints", "default", "web").subsets[1], {
    addresses = { { ip = t:get("v1/pods", "default", "a").status.podIP } }, ports = { { port = 8080 } },
  })
end)

test("a pod that is not ready is not in Endpoints' addresses; one that is gone is nowhere", function(t)
  t:controller("endpointslice")
  t:create(service("web"))
  t:create(pod("a"))
  t:kubelet()
  t:patch("v1/pods", "default", "a", {
    status = { conditions = { { type = "Ready", status = "False" } } },
  }, "status")
  t:equal(t:list(SLICES)[1].endpoints[1].conditions.ready, false)
  t:has(t:get("v1/endpoints", "default", "web").subsets[1], { notReadyAddresses = { { targetRef = { name = "a" } } } })
  t:equal(t:get("v1/endpoints", "default", "web").subsets[1].addresses, nil)
  t:delete("v1/pods", "default", "a", { grace = 0 })
  t:equal(#(t:list(SLICES)[1].endpoints or {}), 0)
  t:equal(t:get("v1/endpoints", "default", "web").subsets, nil)
end)

test("named target ports: pods with different numbers are in different slices", function(t)
  t:controller("endpointslice")
  t:create(service("web", { { port = 80, targetPort = "http" } }))
  t:create(pod("a", 8080))
  t:create(pod("b", 9090))
  t:kubelet()
  local ports = {}
  for _, slice in ipairs(t:list(SLICES)) do
    ports[#ports + 1] = slice.ports[1].port
  end
  table.sort(ports)
  t:equal(ports, { 8080, 9090 })
end)

test("a slice holds 100 endpoints", function(t)
  t:controller("endpointslice")
  for i = 1, 103 do
    t:create(pod(("p%03d"):format(i)))
  end
  t:kubelet()
  t:create(service("web"))
  local sizes = {}
  for _, slice in ipairs(t:list(SLICES)) do
    sizes[#sizes + 1] = #slice.endpoints
  end
  table.sort(sizes)
  t:equal(sizes, { 3, 100 })
end)

test("without a selector they are somebody else's; a deleted Service leaves no Endpoints", function(t)
  t:controller("endpointslice")
  t:create { apiVersion = "v1", kind = "Service", metadata = { name = "own" }, spec = { ports = { { port = 1 } } } }
  t:equal(#t:list(SLICES), 0)
  t:create(service("web"))
  t:delete("v1/services", "default", "web")
  t:equal(t:get("v1/endpoints", "default", "web"), nil)
end)

local function by_name(t)
  local out = {}
  for _, slice in ipairs(t:list(SLICES)) do
    out[slice.metadata.name] = slice
  end
  return out
end

test("a pod that comes or goes changes one slice", function(t)
  t:controller("endpointslice")
  for i = 1, 203 do
    t:create(pod(("p%03d"):format(i)))
  end
  t:kubelet()
  t:create(service("web"))
  local before, changed, names = by_name(t), 0, {}
  t:create(pod("a-first"))
  t:delete("v1/pods", "default", "p050", { grace = 0 })
  t:kubelet()
  for name, slice in pairs(by_name(t)) do
    t:ok(before[name], "another slice")
    changed = changed + (slice.metadata.resourceVersion ~= before[name].metadata.resourceVersion and 1 or 0)
    for _, e in ipairs(slice.endpoints) do
      names[#names + 1] = e.targetRef.name
    end
  end
  t:ok(changed <= 2, changed .. " slices changed for one pod that went and one that came")
  t:equal(#names, 203)
end)

test("without pods: one slice without ports and endpoints; the Service's labels follow", function(t)
  t:controller("endpointslice")
  local s = service("web")
  s.metadata.labels = { tier = "front" }
  s.spec.clusterIP = "None"
  t:create(s)
  local slice = t:list(SLICES)[1]
  t:equal(#t:list(SLICES), 1)
  t:equal(#(slice.ports or {}), 0)
  t:has(slice.metadata.labels, { tier = "front", ["service.kubernetes.io/headless"] = "" })
  t:has(t:get("v1/endpoints", "default", "web").metadata.labels, { tier = "front", ["service.kubernetes.io/headless"] = "" })
  t:create(pod("a"))
  t:kubelet()
  t:equal(#t:list(SLICES), 1)
  t:patch("v1/services", "default", "web", { metadata = { labels = { tier = neap.null, colour = "red" } } })
  t:equal(t:list(SLICES)[1].metadata.labels.tier, nil)
  t:equal(t:list(SLICES)[1].metadata.labels.colour, "red")
  t:equal(t:get("v1/endpoints", "default", "web").metadata.labels.tier, nil)
end)

test("zones and hints, terminating pods, publishNotReadyAddresses, hostnames", function(t)
  t:controller("endpointslice")
  local n = t:node("n")
  t:patch("v1/nodes", nil, n.metadata.name, { metadata = { labels = { ["topology.kubernetes.io/zone"] = "z1" } } })
  local s, p = service("web"), pod("a")
  s.spec.trafficDistribution = "PreferSameNode"
  p.spec.nodeName, p.spec.hostname, p.spec.subdomain = "n", "first", "web"
  t:create(s)
  t:create(p)
  t:kubelet()
  t:has(t:list(SLICES)[1].endpoints[1], {
    zone = "z1", nodeName = "n", hostname = "first",
    hints = { forZones = { { name = "z1" } }, forNodes = { { name = "n" } } },
    conditions = { ready = true, serving = true, terminating = false },
  })
  t:delete("v1/pods", "default", "a")
  t:has(t:list(SLICES)[1].endpoints[1].conditions, { ready = false, serving = true, terminating = true })
  t:equal(t:get("v1/endpoints", "default", "web").subsets, nil)
  t:patch("v1/services", "default", "web", { spec = { publishNotReadyAddresses = true } })
  t:has(t:list(SLICES)[1].endpoints[1].conditions, { ready = true, serving = true, terminating = true })
  t:equal(#t:get("v1/endpoints", "default", "web").subsets[1].addresses, 1)
end)

test("a pod without the named port is in a slice without ports, and not in Endpoints; a sidecar's port counts", function(t)
  t:controller("endpointslice")
  t:create(service("web", { { port = 80, targetPort = "http", appProtocol = "kubernetes.io/h2c" } }))
  t:create(pod("none"))
  local p = pod("side")
  p.spec.initContainers = { { name = "s", image = "i", restartPolicy = "Always", ports = { { name = "http", containerPort = 99 } } } }
  t:create(p)
  t:kubelet()
  local seen = {}
  for _, slice in ipairs(t:list(SLICES)) do
    seen[slice.endpoints[1].targetRef.name] = slice.ports and slice.ports[1] and slice.ports[1].port or 0
  end
  t:equal(seen, { none = 0, side = 99 })
  local subsets = t:get("v1/endpoints", "default", "web").subsets
  t:equal(#subsets, 1)
  t:has(subsets[1].ports[1], { port = 99, appProtocol = "kubernetes.io/h2c" })
end)
