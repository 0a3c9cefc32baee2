-- Every namespace has a ServiceAccount "default" and the cluster's certificate in kube-root-ca.crt.
local workload = require("workload")

local function of_namespace(object)
  return "/" .. object.metadata.namespace
end

local NAME, DESCRIPTION = "kube-root-ca.crt", "kubernetes.io/description"
local NOTES = {
  [DESCRIPTION] = "Contains a CA bundle that can be used to verify the kube-apiserver when "
    .. "using internal endpoints such as the internal service IP or kubernetes.default.svc.",
}

-- The certificate, as it is and with nothing beside it.
local function publish(namespace)
  local cm, data = neap.get("v1/configmaps", namespace, NAME), { ["ca.crt"] = neap.ca }
  if not cm then
    workload.except("AlreadyExists", neap.create("v1/configmaps", namespace,
      { metadata = { name = NAME, annotations = NOTES }, data = data }))
  elseif not neap.equal(cm.data or {}, data) or not (cm.metadata.annotations or {})[DESCRIPTION] then
    local new = neap.edit(cm)
    new.data, new.metadata.annotations = data, workload.merged(new.metadata.annotations, NOTES)
    workload.except("NotFound Conflict", neap.update("v1/configmaps", namespace, NAME, new))
  end
end

return neap.controller {
  name = "serviceaccount",
  for_ = "v1/namespaces",
  watches = {
    { "v1/serviceaccounts", function(o, event)
      return event == "DELETED" and o.metadata.name == "default" and of_namespace(o) or nil
    end },
    { "v1/configmaps", function(o)
      return o.metadata.name == "kube-root-ca.crt" and of_namespace(o) or nil
    end },
  },
  reconcile = function(_, name)
    local ns = neap.get("v1/namespaces", nil, name)
    if not ns or ns.metadata.deletionTimestamp then
      return
    end
    if not neap.get("v1/serviceaccounts", name, "default") then
      workload.except("AlreadyExists", neap.create("v1/serviceaccounts", name, { metadata = { name = "default" } }))
    end
    publish(name)
  end,
}
