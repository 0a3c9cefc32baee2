local KIND = "networking.k8s.io/v1/servicecidrs"

local function range(name)
  return { apiVersion = "networking.k8s.io/v1", kind = "ServiceCIDR", metadata = { name = name },
    spec = { cidrs = { "10.1.0.0/16" } } }
end

test("the server's own range is ready; one that nothing is taken from is not", function(t)
  t:controller("servicecidr")
  t:create(range("kubernetes"))
  t:create(range("more"))
  local own = t:get(KIND, nil, "kubernetes").status.conditions
  t:equal(#own, 1)
  t:has(own[1], { type = "Ready", status = "True" })
  t:equal(t:get(KIND, nil, "more").status.conditions, nil)
  t:equal(t:failures(), 0)
end)
