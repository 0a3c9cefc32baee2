local BUDGETS = "policy/v1/poddisruptionbudgets"

local function budget(spec)
  spec.selector = { matchLabels = { app = "web" } }
  return { apiVersion = "policy/v1", kind = "PodDisruptionBudget", metadata = { name = "b" }, spec = spec }
end

local function set(replicas)
  return {
    apiVersion = "apps/v1", kind = "ReplicaSet", metadata = { name = "web" },
    spec = {
      replicas = replicas, selector = { matchLabels = { app = "web" } },
      template = { metadata = { labels = { app = "web" } }, spec = { containers = { { name = "c", image = "i" } } } },
    },
  }
end

local function status(t)
  return t:get(BUDGETS, "default", "b").status
end

local function condition(t)
  return status(t).conditions[1]
end

test("minAvailable as a number: what is healthy above it", function(t)
  t:controller("disruption")
  t:controller("replicaset")
  t:create(budget { minAvailable = 2 })
  t:has(status(t), { observedGeneration = 1, expectedPods = 0, desiredHealthy = 2, disruptionsAllowed = 0 })
  t:has(condition(t), { type = "DisruptionAllowed", status = "False", reason = "InsufficientPods", observedGeneration = 1 })
  t:create(set(3))
  t:has(status(t), { expectedPods = 3, currentHealthy = 0, disruptionsAllowed = 0 })
  t:kubelet()
  t:has(status(t), { expectedPods = 3, currentHealthy = 3, desiredHealthy = 2, disruptionsAllowed = 1 })
  t:has(condition(t), { status = "True", reason = "SufficientPods" })
  t:equal(t:failures(), 0)
end)

test("maxUnavailable is a share of what the controller wants, not of what there is", function(t)
  t:controller("disruption")
  t:controller("replicaset")
  t:create(set(4))
  t:create(budget { maxUnavailable = "25%" })
  t:kubelet()
  t:has(status(t), { expectedPods = 4, desiredHealthy = 3, currentHealthy = 4, disruptionsAllowed = 1 })
  local pod = t:list("v1/pods")[1].metadata.name
  t:patch("v1/pods", "default", pod, { status = { conditions = { { type = "Ready", status = "False" } } } }, "status")
  t:has(status(t), { currentHealthy = 3, disruptionsAllowed = 0 })
end)

test("an eviction counts until its pod goes, or for two minutes", function(t)
  t:controller("disruption")
  t:controller("replicaset")
  t:create(set(3))
  t:create(budget { minAvailable = 1 })
  t:kubelet()
  local pod = t:list("v1/pods")[1].metadata.name
  t:patch(BUDGETS, "default", "b", { status = { disruptedPods = { [pod] = t:time() }, disruptionsAllowed = 1 } }, "status")
  t:has(status(t), { currentHealthy = 2, disruptionsAllowed = 1 })
  t:advance(118)
  t:equal(status(t).currentHealthy, 2)
  t:advance(4)
  t:equal(status(t).currentHealthy, 3)
  t:equal(status(t).disruptedPods, nil)
  t:equal(#t:events("NotDeleted"), 1)
end)

test("pods whose controller cannot be asked: nothing may go, and it says why", function(t)
  t:controller("disruption")
  local pod = {
    apiVersion = "v1", kind = "Pod", spec = { containers = { { name = "c", image = "i" } } },
    metadata = { name = "p", labels = { app = "web" }, ownerReferences = {
      { apiVersion = "example.com/v1", kind = "Thing", name = "t", uid = "u", controller = true } } },
  }
  t:create(pod)
  t:create(budget { maxUnavailable = 1 })
  t:has(condition(t), { status = "False", reason = "SyncFailed", message = 'found no controllers for pod "p"' })
  t:equal(#t:events("CalculateExpectedPodCountFailed"), 1)
end)
