local function configmap(name, finalizers)
  return {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, namespace = "work", finalizers = finalizers },
  }
end

test("a deleted namespace takes its content along, then goes", function(t)
  t:controller("namespace")
  t:namespace("work")
  t:create(configmap("a"))
  t:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = "p", namespace = "work" },
    spec = { containers = { { name = "c", image = "i" } } },
  }
  t:delete("v1/namespaces", nil, "work")
  t:kubelet()
  t:advance(60)
  t:equal(t:get("v1/namespaces", nil, "work"), nil)
  t:equal(t:list("v1/configmaps", { namespace = "work" }), {})
  t:ok(t:get("v1/namespaces", nil, "default"), "another namespace went as well")
end)

test("a finalizer holds it, and its conditions say so", function(t)
  t:controller("namespace")
  t:namespace("work")
  t:create(configmap("held", { "example.com/hold" }))
  t:delete("v1/namespaces", nil, "work")
  t:advance(1)
  local ns = t:get("v1/namespaces", nil, "work")
  t:equal(ns.status.phase, "Terminating")
  local found = {}
  for _, c in ipairs(ns.status.conditions) do
    found[c.type] = c
  end
  t:has(found.NamespaceFinalizersRemaining, { status = "True" })
  t:ok(found.NamespaceFinalizersRemaining.message:find("example.com/hold in 1 resource instances", 1, true))
  t:has(found.NamespaceContentRemaining,
    { status = "True", message = "Some resources are remaining: configmaps. has 1 resource instances" })
  t:refused("because it is being terminated", configmap("late"))
  t:patch("v1/configmaps", "work", "held", { metadata = { finalizers = neap.null } })
  t:advance(60)
  t:equal(t:get("v1/namespaces", nil, "work"), nil)
end)
