local SLICES = "discovery.k8s.io/v1/endpointslices"

local function service(selector)
  return {
    apiVersion = "v1", kind = "Service", metadata = { name = "db" },
    spec = { selector = selector, ports = { { port = 80 } } },
  }
end

local function endpoints(subsets, labels)
  return { apiVersion = "v1", kind = "Endpoints", metadata = { name = "db", labels = labels }, subsets = subsets }
end

local function hand_written(ip, labels)
  return endpoints({ { addresses = { { ip = ip } }, ports = { { port = 5432 } } } }, labels)
end

test("Endpoints without a selector are mirrored, followed, and gone with them", function(t)
  t:controller("endpointslicemirroring")
  t:create(service())
  t:create(hand_written("10.1.2.3", { team = "a" }))
  local slices = t:list(SLICES)
  t:equal(#slices, 1)
  t:has(slices[1], {
    addressType = "IPv4", ports = { { name = "", port = 5432 } },
    endpoints = { { addresses = { "10.1.2.3" }, conditions = { ready = true } } },
    metadata = { labels = {
      ["kubernetes.io/service-name"] = "db", team = "a",
      ["endpointslice.kubernetes.io/managed-by"] = "endpointslicemirroring-controller.k8s.io",
    } },
  })
  local name = slices[1].metadata.name
  t:patch("v1/endpoints", "default", "db", { subsets = { { addresses = { { ip = "10.2.3.4" } }, ports = { { port = 5432 } } } } })
  t:equal(t:list(SLICES)[1].endpoints[1].addresses[1], "10.2.3.4")
  t:equal(t:list(SLICES)[1].metadata.name, name)
  t:delete("v1/endpoints", "default", "db")
  t:equal(#t:list(SLICES), 0)
  t:equal(t:failures(), 0)
end)

test("both families have slices of their own; addresses that are not ready are not", function(t)
  t:controller("endpointslicemirroring")
  t:create(service())
  t:create(endpoints({ { addresses = { { ip = "10.0.0.1" } }, notReadyAddresses = { { ip = "fd00::1" } }, ports = { { port = 1 } } } }))
  local by = {}
  for _, s in ipairs(t:list(SLICES)) do
    by[s.addressType] = s
  end
  t:equal(by.IPv4.endpoints[1].conditions.ready, true)
  t:equal(by.IPv6.endpoints[1].conditions.ready, false)
end)

test("not those of a Service with a selector, of no Service, or that say so; what was mirrored goes", function(t)
  t:controller("endpointslicemirroring")
  t:create(hand_written("10.1.2.3"))
  t:equal(#t:list(SLICES), 0)
  t:create(service())
  t:equal(#t:list(SLICES), 1)
  t:patch("v1/endpoints", "default", "db", { metadata = { labels = { ["endpointslice.kubernetes.io/skip-mirror"] = "true" } } })
  t:equal(#t:list(SLICES), 0)
  t:patch("v1/endpoints", "default", "db", { metadata = { labels = { ["endpointslice.kubernetes.io/skip-mirror"] = neap.null } } })
  t:equal(#t:list(SLICES), 1)
  t:patch("v1/services", "default", "db", { spec = { selector = { app = "db" } } })
  t:equal(#t:list(SLICES), 0)
end)
