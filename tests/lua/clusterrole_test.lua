local KIND = "rbac.authorization.k8s.io/v1/clusterroles"

local function role(name, labels, verb)
  return {
    apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole", metadata = { name = name, labels = labels },
    rules = { { apiGroups = { "" }, resources = { "pods" }, verbs = { verb } } },
  }
end

test("an aggregated role holds the rules of those that it selects, each once", function(t)
  t:controller("clusterrole")
  t:create {
    apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole", metadata = { name = "all" },
    aggregationRule = { clusterRoleSelectors = { { matchLabels = { part = "all" } } } },
  }
  t:create(role("a", { part = "all" }, "get"))
  t:create(role("b", { part = "all" }, "list"))
  t:create(role("c", { part = "all" }, "list"))
  t:create(role("d", { part = "other" }, "delete"))
  local verbs = {}
  for _, rule in ipairs(t:get(KIND, nil, "all").rules) do
    verbs[#verbs + 1] = rule.verbs[1]
  end
  table.sort(verbs)
  t:equal(verbs, { "get", "list" })
end)

test("a part that is deleted takes its rules away", function(t)
  t:controller("clusterrole")
  t:create(role("a", { part = "all" }, "get"))
  t:create {
    apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole", metadata = { name = "all" },
    aggregationRule = { clusterRoleSelectors = { { matchLabels = { part = "all" } } } },
  }
  t:equal(#t:get(KIND, nil, "all").rules, 1)
  t:delete(KIND, nil, "a")
  t:equal(#(t:get(KIND, nil, "all").rules or {}), 0)
end)

test("a part whose label goes takes its rules away", function(t)
  t:controller("clusterrole")
  t:create(role("a", { part = "all" }, "get"))
  t:create {
    apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole", metadata = { name = "all" },
    aggregationRule = { clusterRoleSelectors = { { matchLabels = { part = "all" } } } },
  }
  t:patch(KIND, nil, "a", { metadata = { labels = neap.null } })
  t:equal(#(t:get(KIND, nil, "all").rules or {}), 0)
end)
