-- The range that the server was started with is ready as soon as it is there. Others are stored only.
-- Source: Kubernetes documentation, "Virtual IPs and Service Proxies: IP address objects".
local workload = require("workload")
local KIND = "networking.k8s.io/v1/servicecidrs"

return neap.controller {
  name = "servicecidr",
  for_ = KIND,
  reconcile = function(_, name)
    local range = neap.get(KIND, nil, name)
    if not range or name ~= "kubernetes" or workload.condition(range, "Ready") then
      return
    end
    local conditions = neap.edit(range.status and range.status.conditions) or {}
    conditions[#conditions + 1] = {
      type = "Ready", status = "True", reason = "Ready", message = "Kubernetes Service CIDR is ready",
      lastTransitionTime = neap.time(),
    }
    workload.except("NotFound", neap.apply(KIND, nil, name, { status = { conditions = conditions } },
      { manager = "servicecidr", force = true, subresource = "status" }))
  end,
}
