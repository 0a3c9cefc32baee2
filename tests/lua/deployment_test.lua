local DEPLOYMENTS, SETS = "apps/v1/deployments", "apps/v1/replicasets"

local function deployment(replicas, image)
  return {
    apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "web" },
    spec = {
      replicas = replicas, selector = { matchLabels = { app = "web" } },
      template = {
        metadata = { labels = { app = "web" } },
        spec = { containers = { { name = "c", image = image or "one" } } },
      },
    },
  }
end

local function start(t, d)
  t:controller("replicaset")
  t:controller("deployment")
  t:controller("garbage")
  return t:create(d)
end

local function image(t, text)
  t:patch(DEPLOYMENTS, "default", "web", {
    spec = { template = { spec = neap.edit { containers = { { name = "c", image = text } } } } },
  })
end

local function images(t)
  local out = {}
  for _, pod in ipairs(t:list("v1/pods")) do
    if not pod.metadata.deletionTimestamp then
      local i = pod.spec.containers[1].image
      out[i] = (out[i] or 0) + 1
    end
  end
  return out
end

local function condition(t, kind)
  for _, c in ipairs(t:get(DEPLOYMENTS, "default", "web").status.conditions or {}) do
    if c.type == kind then
      return c
    end
  end
end

test("one set with the template's hash, its pods, status and revision", function(t)
  start(t, deployment(3))
  local sets = t:list(SETS)
  t:equal(#sets, 1)
  t:equal(sets[1].metadata.labels["pod-template-hash"], sets[1].metadata.name:match("^web%-(.*)$"))
  t:equal(condition(t, "Available").status, "False")
  t:kubelet()
  local d = t:get(DEPLOYMENTS, "default", "web")
  t:has(d.status, { replicas = 3, updatedReplicas = 3, readyReplicas = 3, availableReplicas = 3, observedGeneration = 1 })
  t:equal(d.metadata.annotations["deployment.kubernetes.io/revision"], "1")
  t:has(condition(t, "Available"), { status = "True", reason = "MinimumReplicasAvailable" })
  t:has(condition(t, "Progressing"), { status = "True", reason = "NewReplicaSetAvailable" })
  t:equal(t:failures(), 0)
end)

test("a rolling update stays within maxSurge and maxUnavailable, and leaves the old set empty", function(t)
  start(t, deployment(4))
  t:kubelet()
  image(t, "two")
  for _ = 1, 30 do
    local total, ready = 0, 0
    for _, pod in ipairs(t:list("v1/pods")) do
      if not pod.metadata.deletionTimestamp then
        total = total + 1
        ready = ready + (pod.status.phase == "Running" and 1 or 0)
      end
    end
    t:ok(total <= 5, "more pods than replicas and surge: " .. total)
    t:ok(ready >= 3, "fewer pods than may be unavailable: " .. ready)
    t:kubelet { rounds = 1 }
  end
  t:equal(images(t), { two = 4 })
  local sizes = {}
  for _, rs in ipairs(t:list(SETS)) do
    sizes[rs.spec.template.spec.containers[1].image] = rs.spec.replicas
  end
  t:equal(sizes, { one = 0, two = 4 })
  t:equal(t:get(DEPLOYMENTS, "default", "web").metadata.annotations["deployment.kubernetes.io/revision"], "2")
end)

test("going back to an old template uses its set and gives it the newest revision", function(t)
  start(t, deployment(2))
  t:kubelet()
  local first = t:list(SETS)[1].metadata.name
  image(t, "two")
  t:kubelet()
  image(t, "one")
  t:kubelet()
  t:equal(images(t), { one = 2 })
  t:equal(#t:list(SETS), 2)
  t:equal(t:get(SETS, "default", first).metadata.annotations["deployment.kubernetes.io/revision"], "3")
end)

test("Recreate: nothing new before the last old pod is gone", function(t)
  local d = deployment(2)
  d.spec.strategy = { type = "Recreate" }
  start(t, d)
  t:create { apiVersion = "v1", kind = "Node", metadata = { name = "n" } }
  for _, pod in ipairs(t:list("v1/pods")) do
    t:create {
      apiVersion = "v1", kind = "Binding", metadata = { name = pod.metadata.name, namespace = "default" },
      target = { kind = "Node", name = "n" },
    }
  end
  t:kubelet()
  image(t, "two")
  t:equal(images(t), {}) -- they are being deleted: a node has them
  t:equal(#t:list("v1/pods"), 2)
  t:kubelet()
  t:equal(images(t), { two = 2 })
end)

test("paused: a new template waits", function(t)
  local d = deployment(1)
  start(t, d)
  t:kubelet()
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = true } })
  image(t, "two")
  t:kubelet()
  t:equal(images(t), { one = 1 })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = false } })
  t:kubelet()
  t:equal(images(t), { two = 1 })
end)

test("no progress within the deadline is a condition", function(t)
  local d = deployment(1)
  d.spec.progressDeadlineSeconds = 60
  start(t, d)
  t:advance(59)
  t:equal(condition(t, "Progressing").status, "True")
  t:advance(5)
  t:has(condition(t, "Progressing"), { status = "False", reason = "ProgressDeadlineExceeded" })
end)

test("the history keeps as many old sets as are asked for", function(t)
  local d = deployment(1)
  d.spec.revisionHistoryLimit = 1
  start(t, d)
  t:kubelet()
  for _, text in ipairs { "two", "three", "four" } do
    image(t, text)
    t:kubelet()
  end
  t:equal(#t:list(SETS), 2)
end)

test("deleted, it takes its sets and pods along", function(t)
  start(t, deployment(2))
  t:kubelet()
  t:delete(DEPLOYMENTS, "default", "web", { propagation = "Background" })
  t:kubelet()
  t:equal(#t:list(SETS), 0)
  t:equal(#t:list("v1/pods"), 0)
end)

local function sizes(t)
  local out = {}
  for _, rs in ipairs(t:list(SETS)) do
    out[rs.spec.template.spec.containers[1].image] = rs.spec.replicas
  end
  return out
end

test("a change of size in the middle of a rollout is shared out", function(t)
  local d = deployment(10)
  d.spec.strategy = { type = "RollingUpdate", rollingUpdate = { maxSurge = 3, maxUnavailable = 2 } }
  start(t, d)
  t:kubelet()
  image(t, "two") -- its pods never become ready: nobody starts them
  t:equal(sizes(t), { one = 8, two = 5 })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { replicas = 30 } })
  t:equal(sizes(t), { one = 20, two = 13 })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { replicas = 10 } })
  t:equal(sizes(t), { one = 8, two = 5 })
end)

test("paused, it still follows a change of size", function(t)
  start(t, deployment(2))
  t:kubelet()
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = true } })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { replicas = 4 } })
  t:equal(sizes(t), { one = 4 })
end)

test("a set without a controller that matches is adopted; its revision counts; one that stops matching is let go", function(t)
  t:create {
    apiVersion = "apps/v1", kind = "ReplicaSet",
    metadata = {
      name = "older", labels = { app = "web" },
      annotations = { ["deployment.kubernetes.io/revision"] = "3546343826724305832" },
    },
    spec = {
      replicas = 1, selector = { matchLabels = { app = "web", pod = "x" } },
      template = {
        metadata = { labels = { app = "web", pod = "x" } }, spec = { containers = { { name = "c", image = "zero" } } },
      },
    },
  }
  start(t, deployment(1))
  t:kubelet()
  local d = t:get(DEPLOYMENTS, "default", "web")
  t:equal(d.metadata.annotations["deployment.kubernetes.io/revision"], "3546343826724305833")
  local older = t:get(SETS, "default", "older")
  t:equal(older.metadata.ownerReferences[1].uid, d.metadata.uid)
  t:equal(older.spec.replicas, 0)
  t:patch(SETS, "default", "older", { metadata = { labels = { app = "other" } } })
  t:equal(t:get(SETS, "default", "older").metadata.ownerReferences, nil)
end)

test("going back and forth leaves the revisions a set had in its history", function(t)
  start(t, deployment(1))
  t:kubelet()
  image(t, "two")
  t:kubelet()
  image(t, "one")
  t:kubelet()
  for _, rs in ipairs(t:list(SETS)) do
    if rs.spec.template.spec.containers[1].image == "one" then
      t:equal(rs.metadata.annotations["deployment.kubernetes.io/revision"], "3")
      t:equal(rs.metadata.annotations["deployment.kubernetes.io/revision-history"], "1")
    end
  end
end)

test("a rollout that came to its end is not judged again when a pod is lost", function(t)
  local d = deployment(1)
  d.spec.progressDeadlineSeconds = 60
  start(t, d)
  t:kubelet()
  t:equal(condition(t, "Progressing").reason, "NewReplicaSetAvailable")
  t:patch("v1/pods", "default", t:list("v1/pods")[1].metadata.name,
    { status = { conditions = { { type = "Ready", status = "False" } } } }, "status")
  t:equal(condition(t, "Available").status, "False")
  t:advance(600)
  t:has(condition(t, "Progressing"), { status = "True", reason = "NewReplicaSetAvailable" })
end)

test("Recreate allows no pod to be unavailable", function(t)
  local d = deployment(2)
  d.spec.strategy = { type = "Recreate" }
  start(t, d)
  t:has(condition(t, "Available"), { status = "False", reason = "MinimumReplicasUnavailable" })
  t:kubelet()
  t:has(condition(t, "Available"), { status = "True", reason = "MinimumReplicasAvailable" })
end)

test("what is said about a rollout: made, paused, going on, done; nothing without a deadline", function(t)
  t:controller("deployment")
  t:create(deployment(1))
  t:has(condition(t, "Progressing"), { status = "True", reason = "NewReplicaSetCreated" })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = true } })
  t:has(condition(t, "Progressing"), { status = "Unknown", reason = "DeploymentPaused", message = "Deployment is paused" })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = false } })
  t:has(condition(t, "Progressing"), { status = "Unknown", reason = "DeploymentResumed" })
  t:controller("replicaset")
  t:kubelet()
  t:has(condition(t, "Progressing"), { status = "True", reason = "NewReplicaSetAvailable" })
  t:patch(DEPLOYMENTS, "default", "web", { spec = { progressDeadlineSeconds = 2147483647 } })
  t:equal(condition(t, "Progressing"), nil)
end)

test("a deadline that has passed is told also while it is paused", function(t)
  local d = deployment(1)
  d.spec.progressDeadlineSeconds = 60
  start(t, d)
  t:advance(70)
  t:patch(DEPLOYMENTS, "default", "web", { spec = { paused = true } })
  t:equal(condition(t, "Progressing").reason, "ProgressDeadlineExceeded")
end)

test("the failure of an old set is told when the new one has none", function(t)
  t:controller("deployment")
  t:create(deployment(1))
  local old = t:list(SETS)[1].metadata.name
  image(t, "two")
  t:patch(SETS, "default", old, { status = { conditions = { { type = "ReplicaFailure", status = "True",
    reason = "FailedDelete", message = "no" } } } }, "status")
  t:patch(DEPLOYMENTS, "default", "web", { metadata = { annotations = { x = "y" } } })
  t:has(condition(t, "ReplicaFailure"), { status = "True", reason = "FailedDelete", message = "no" })
end)

test("pods that are going are counted apart, in the set and in the Deployment", function(t)
  t:node("n")
  start(t, deployment(2))
  for _, pod in ipairs(t:list("v1/pods")) do
    t:create {
      apiVersion = "v1", kind = "Binding", metadata = { name = pod.metadata.name, namespace = "default" },
      target = { kind = "Node", name = "n" },
    }
  end
  t:kubelet()
  t:equal(t:get(DEPLOYMENTS, "default", "web").status.terminatingReplicas, 0)
  t:patch(DEPLOYMENTS, "default", "web", { spec = { replicas = 1 } })
  t:has(t:list(SETS)[1].status, { replicas = 1, terminatingReplicas = 1 })
  t:has(t:get(DEPLOYMENTS, "default", "web").status, { replicas = 1, terminatingReplicas = 1 })
  t:kubelet()
  t:equal(t:get(DEPLOYMENTS, "default", "web").status.terminatingReplicas, 0)
end)

test("old sets are kept until the rollout is done; the long name of a Deployment leaves room for the hash", function(t)
  local d = deployment(1)
  d.metadata.name = ("n"):rep(253)
  d.spec.revisionHistoryLimit = 0
  t:controller("replicaset")
  t:controller("deployment")
  t:create(d)
  t:equal(#t:list(SETS)[1].metadata.name, 253)
  t:kubelet()
  t:patch(DEPLOYMENTS, "default", d.metadata.name, {
    spec = { template = { spec = neap.edit { containers = { { name = "c", image = "two" } } } } },
  })
  t:equal(#t:list(SETS), 2)
  t:kubelet()
  t:equal(#t:list(SETS), 1)
  t:equal(t:failures(), 0)
end)

test("a set that cannot be made is a condition and an event; a new set of no pods is no event", function(t)
  t:admission("data/no_sets.lua")
  start(t, deployment(1))
  t:has(condition(t, "Progressing"), { status = "False", reason = "ReplicaSetCreateError" })
  t:ok(condition(t, "Progressing").message:find('Failed to create new replica set "web-', 1, true))
  t:ok(#t:events("ReplicaSetCreateError") >= 1)
  t:equal(#t:events("ScalingReplicaSet"), 0)
end)
