local EXAMPLES = "../../contrib/examples/"

local function pod(name)
  return {
    apiVersion = "v1", kind = "Pod", metadata = { name = name },
    spec = { containers = { { name = "a", image = "i" }, { name = "b", image = "i" } } },
  }
end

test("configcopy: copies come, follow, are repaired, go", function(t)
  t:controller(EXAMPLES .. "controllers/configcopy.lua")
  t:namespace("red")
  t:namespace("blue")
  t:create {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = "shared", labels = { ["copies.example.com/to"] = "x" } },
    data = { a = "1" },
  }
  t:equal(t:get("v1/configmaps", "red", "shared"), nil)
  t:patch("v1/namespaces", nil, "red", { metadata = { labels = { ["copies.example.com/from"] = "x" } } })
  t:equal(t:get("v1/configmaps", "red", "shared").data, { a = "1" })
  t:equal(t:get("v1/configmaps", "blue", "shared"), nil)
  t:patch("v1/configmaps", "default", "shared", { data = { b = "2" } })
  t:equal(t:get("v1/configmaps", "red", "shared").data, { a = "1", b = "2" })
  t:patch("v1/configmaps", "red", "shared", { data = { a = "forged" } })
  t:equal(t:get("v1/configmaps", "red", "shared").data, { a = "1", b = "2" })
  t:delete("v1/configmaps", "red", "shared")
  t:ok(t:get("v1/configmaps", "red", "shared"))
  t:delete("v1/configmaps", "default", "shared")
  t:equal(t:get("v1/configmaps", "red", "shared"), nil)
  t:equal(t:failures(), 0)
end)

test("configcopy: a ConfigMap of somebody else's is left alone", function(t)
  t:controller(EXAMPLES .. "controllers/configcopy.lua")
  t:namespace("red")
  t:create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "shared", namespace = "red" }, data = { own = "1" } }
  t:patch("v1/namespaces", nil, "red", { metadata = { labels = { ["copies.example.com/from"] = "x" } } })
  t:create {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = "shared", labels = { ["copies.example.com/to"] = "x" } },
  }
  t:equal(t:get("v1/configmaps", "red", "shared").data, { own = "1" })
end)

test("podcleaner: finished pods go after an hour, others stay", function(t)
  t:controller(EXAMPLES .. "controllers/podcleaner.lua")
  t:create(pod("done"))
  t:create(pod("runs"))
  t:kubelet()
  t:patch("v1/pods", "default", "done", { status = { phase = "Succeeded" } }, "status")
  t:advance(3599)
  t:ok(t:get("v1/pods", "default", "done"))
  t:advance(2)
  t:equal(t:get("v1/pods", "default", "done"), nil)
  t:ok(t:get("v1/pods", "default", "runs"))
end)

local function deployment(labels, namespace)
  return {
    apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "web", namespace = namespace, labels = labels },
    spec = {
      selector = { matchLabels = { app = "web" } },
      template = {
        metadata = { labels = { app = "web" } }, spec = { containers = { { name = "c", image = "i" } } },
      },
    },
  }
end

test("require-label: refused without, accepted with, and only teams that are listed", function(t)
  t:admission(EXAMPLES .. "admission/require-label.lua")
  local err = t:refused("admission rule \"require-label\" denied the request: the label team is required", deployment())
  t:equal(err.code, 403)
  t:equal(err.reason, "Forbidden")
  t:create(deployment({ team = "red" }))
  t:create {
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = "teams", namespace = "kube-system" }, data = { blue = "" },
  }
  local _, refused = t.try:patch("apps/v1/deployments", "default", "web", { spec = { replicas = 2 } })
  t:ok(refused.message:find("there is no team \"red\"", 1, true), refused.message)
  t:create(deployment(nil, "kube-system"))
end)

test("default-resources: a request where there is none, with a warning", function(t)
  t:admission(EXAMPLES .. "admission/default-resources.lua")
  local o = pod("p")
  o.spec.containers[2].resources = { requests = { memory = "1Gi" } }
  local made = t:create(o)
  t:equal(made.spec.containers[1].resources.requests, { memory = "64Mi" })
  t:equal(made.spec.containers[2].resources.requests, { memory = "1Gi" })
  t:equal(t:warnings(), neap.array { "container a has no memory request: 64Mi is taken" })
end)
