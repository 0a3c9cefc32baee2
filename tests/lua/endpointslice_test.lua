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
