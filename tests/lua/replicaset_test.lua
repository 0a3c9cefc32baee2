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

-- A pod of the set "web" that runs and is ready since <ready> seconds, with what <status> and <metadata> say.
local function member(t, rs, name, ready, status, metadata, node)
  local pod = t:create {
    apiVersion = "v1", kind = "Pod",
    metadata = {
      name = name, labels = { app = "web" }, annotations = metadata and metadata.annotations,
      ownerReferences = { { apiVersion = "apps/v1", kind = "ReplicaSet", name = rs.metadata.name, uid = rs.metadata.uid,
        controller = true } },
    },
    spec = {
      nodeName = node or name, containers = { { name = "c", image = "i" } },
      initContainers = { { name = "side", image = "i", restartPolicy = "Always" } },
    },
  }
  local all = { phase = "Running", conditions = { { type = "Ready", status = ready and "True" or "False",
    lastTransitionTime = neap.time(t:now() - (ready or 0)) } } }
  for k, v in pairs(status or {}) do
    all[k] = v
  end
  return t:patch("v1/pods", "default", pod.metadata.name, { status = all }, "status")
end

local function restarted(n, sidecars)
  return {
    containerStatuses = { { name = "c", restartCount = n, image = "i", imageID = "", ready = true } },
    initContainerStatuses = { { name = "side", restartCount = sidecars or 0, image = "i", imageID = "", ready = true } },
  }
end

-- One of two sets of a Deployment (which is not there: nobody looks).
local function sibling(name, app, replicas)
  local rs = set(replicas)
  rs.metadata = { name = name, ownerReferences = { { apiVersion = "apps/v1", kind = "Deployment", name = "d", uid = "u-d",
    controller = true } } }
  rs.spec.selector.matchLabels.app, rs.spec.template.metadata.labels.app = app, app
  return rs
end

test("too many: which pods go first", function(t)
  local rs, other = t:create(sibling("web", "web", 8)), t:create(sibling("other", "other", 1))
  member(t, rs, "a-old", 100000, restarted(0))
  t:advance(100000)
  member(t, rs, "d-young", 100000, restarted(0))
  member(t, rs, "e-sidecar-restarted", 100000, restarted(0, 2))
  member(t, rs, "f-restarted", 100000, restarted(1))
  member(t, rs, "g-just-ready", 3, restarted(7))
  member(t, rs, "h-crowded", 100000, restarted(0), nil, "crowd")
  member(t, rs, "b-cheap", 100000, restarted(0), { annotations = { ["controller.kubernetes.io/pod-deletion-cost"] = "-5" } })
  member(t, rs, "c-not-ready", nil, restarted(0))
  member(t, other, "other", 100000, restarted(0), nil, "crowd")
  t:patch("v1/pods", "default", "other", { metadata = { labels = { app = "other" } } })
  t:controller("replicaset")
  t:equal(#t:list("v1/pods"), 9)
  local gone, seen = {}, {}
  for replicas = 7, 1, -1 do
    t:patch("apps/v1/replicasets", "default", "web", { spec = { replicas = replicas } })
    for _, pod in ipairs(t:list("v1/pods")) do
      local name = pod.metadata.name
      if pod.metadata.deletionTimestamp and not seen[name] then
        gone[#gone + 1], seen[name] = name:sub(1, 1), true
      end
    end
  end
  t:equal(table.concat(gone), "cbhgfed")
  t:equal(t:failures(), 0)
end)
