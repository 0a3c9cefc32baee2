local function set(replicas)
  return {
    apiVersion = "v1", kind = "ReplicationController", metadata = { name = "web" },
    spec = {
      replicas = replicas, selector = { app = "web" },
      template = { metadata = { labels = { app = "web" } }, spec = { containers = { { name = "c", image = "i" } } } },
    },
  }
end

test("as many pods as wanted, owned by the controller", function(t)
  t:controller("replicationcontroller")
  local rc = t:create(set(3))
  local pods = t:list("v1/pods")
  t:equal(#pods, 3)
  t:has(pods[1].metadata.ownerReferences[1],
    { uid = rc.metadata.uid, controller = true, kind = "ReplicationController" })
  t:has(t:get("v1/replicationcontrollers", "default", "web").status, { replicas = 3, observedGeneration = 1 })
end)

test("fewer when fewer are wanted", function(t)
  t:controller("replicationcontroller")
  t:create(set(3))
  local rc = t:get("v1/replicationcontrollers", "default", "web")
  rc.spec.replicas = 1
  t:update(rc)
  local left = 0
  for _, pod in ipairs(t:list("v1/pods")) do
    left = left + (pod.metadata.deletionTimestamp and 0 or 1)
  end
  t:equal(left, 1)
end)
