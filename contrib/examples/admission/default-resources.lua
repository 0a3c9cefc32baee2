-- A container without a memory request gets one, and a warning that it did.
local DEFAULT = "64Mi"

return neap.admission {
  name = "default-resources",
  resources = { "pods" },
  operations = { "CREATE" },
  exclude_namespaces = { "kube-system" },
  mutate = function(request)
    for _, container in ipairs(request.object.spec.containers) do
      local requests = neap.ensure(container, "resources", "requests")
      if not requests.memory then
        requests.memory = DEFAULT
        neap.warn(("container %s has no memory request: %s is taken"):format(container.name, DEFAULT))
      end
    end
  end,
}
