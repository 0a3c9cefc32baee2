local function set(replicas)
  return {
    apiVersion = "apps/v1", kind = "ReplicaSet", metadata = { name = "web" },
    spec = {
      replicas = replicas, selector = { matchLabels = { app = "web" } },
      template = {
        metadata = { labels = { app = "web" } },
        spec = { containers = { { name = "c", image = "i" } } },
      },
    },
  }
end

test("as many pods as wanted, owned by the set", function(t)
  t:controller("replicaset")
  local rs = t:create(set(3))
  local pods = t:list("v1/pods")
  t:equal(#pods, 3)
  t:has(pods[1].metadata.ownerReferences[1], { uid = rs.metadata.uid, controller = true, kind = "ReplicaSet" })
  t:equal(#t:events("SuccessfulCreate"), 3)
  t:has(t:get("apps/v1/replicasets", "default", "web").status, { replicas = 3, fullyLabeledReplicas = 3 })
  t:equal(t:failures(), 0)
end)

test("status counts ready pods, and available ones after minReadySeconds", function(t)
  t:controller("replicaset")
  local rs = set(2)
  rs.spec.minReadySeconds = 30
  t:create(rs)
  t:kubelet()
  t:has(t:get("apps/v1/replicasets", "default", "web").status, { replicas = 2, readyReplicas = 2 })
  t:equal(t:get("apps/v1/replicasets", "default", "web").status.availableReplicas, nil)
  t:advance(29)
  t:equal(t:get("apps/v1/replicasets", "default", "web").status.availableReplicas, nil)
  t:advance(2)
  t:equal(t:get("apps/v1/replicasets", "default", "web").status.availableReplicas, 2)
end)

test("a pod that is lost comes again; one too many goes, those that are not ready first", function(t)
  t:controller("replicaset")
  t:create(set(3))
  t:kubelet()
  local lost = t:list("v1/pods")[1].metadata.name
  t:delete("v1/pods", "default", lost, { grace = 0 })
  t:equal(#t:list("v1/pods"), 3)
  t:equal(t:get("v1/pods", "default", lost), nil)
  t:patch("apps/v1/replicasets", "default", "web", { spec = { replicas = 2 } })
  local left = {}
  for _, pod in ipairs(t:list("v1/pods")) do
    if not pod.metadata.deletionTimestamp then
      left[#left + 1] = pod.status.phase
    end
  end
  t:equal(left, { "Running", "Running" })
end)

test("an orphan that the selector matches is adopted", function(t)
  t:controller("replicaset")
  t:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = "lonely", labels = { app = "web" } },
    spec = { containers = { { name = "c", image = "i" } } },
  }
  local rs = t:create(set(2))
  t:equal(#t:list("v1/pods"), 2)
  t:equal(t:get("v1/pods", "default", "lonely").metadata.ownerReferences[1].uid, rs.metadata.uid)
end)

test("a refused pod is a condition, an event and a retry", function(t)
  t:controller("replicaset")
  local rs = set(1)
  rs.spec.template.spec.serviceAccountName = "later"
  t:create(rs)
  t:has(t:get("apps/v1/replicasets", "default", "web").status.conditions[1],
    { type = "ReplicaFailure", status = "True", reason = "FailedCreate" })
  t:ok(#t:events("FailedCreate") >= 1)
  t:ok(t:failures() >= 1)
  t:create { apiVersion = "v1", kind = "ServiceAccount", metadata = { name = "later" } }
  t:advance(120)
  t:equal(#t:list("v1/pods"), 1)
  t:equal(t:get("apps/v1/replicasets", "default", "web").status.conditions, nil)
end)

test("a pod that the selector does not match any more is let go, and replaced", function(t)
  t:controller("replicaset")
  t:create(set(1))
  local pod = t:list("v1/pods")[1]
  t:patch("v1/pods", "default", pod.metadata.name, { metadata = { labels = { app = "quarantine" } } })
  t:equal(t:get("v1/pods", "default", pod.metadata.name).metadata.ownerReferences, nil)
  t:equal(#t:list("v1/pods"), 2)
  t:equal(t:failures(), 0)
end)
