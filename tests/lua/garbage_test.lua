local function configmap(name, owners)
  local refs
  for _, o in ipairs(owners or {}) do
    refs = refs or {}
    refs[#refs + 1] = {
      apiVersion = o.apiVersion, kind = o.kind, name = o.metadata.name, uid = o.metadata.uid,
      blockOwnerDeletion = true,
    }
  end
  return { apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, ownerReferences = refs } }
end

local function there(t, name)
  return t:get("v1/configmaps", "default", name)
end

test("background: the owner goes at once, what it owns follows, to any depth", function(t)
  t:controller("garbage")
  local a = t:create(configmap("a"))
  local b = t:create(configmap("b", { a }))
  t:create(configmap("c", { b }))
  t:create(configmap("other"))
  t:delete("v1/configmaps", "default", "a", { propagation = "Background" })
  t:equal(there(t, "a"), nil)
  t:equal(there(t, "b"), nil)
  t:equal(there(t, "c"), nil)
  t:ok(there(t, "other"))
end)

test("one owner of two goes: the reference to it goes, the object stays", function(t)
  t:controller("garbage")
  local a, b = t:create(configmap("a")), t:create(configmap("b"))
  t:create(configmap("c", { a, b }))
  t:delete("v1/configmaps", "default", "a")
  t:equal(#there(t, "c").metadata.ownerReferences, 1)
  t:equal(there(t, "c").metadata.ownerReferences[1].uid, b.metadata.uid)
end)

test("orphan: what was owned stays, without the reference", function(t)
  t:controller("garbage")
  local a = t:create(configmap("a"))
  t:create(configmap("b", { a }))
  t:delete("v1/configmaps", "default", "a", { propagation = "Orphan" })
  t:equal(there(t, "a"), nil)
  t:equal(there(t, "b").metadata.ownerReferences, nil)
end)

test("foreground: the owner stays until what blocks it is gone", function(t)
  t:controller("garbage")
  local a = t:create(configmap("a"))
  local b = configmap("b", { a })
  b.metadata.finalizers = { "example.com/hold" }
  t:create(b)
  t:delete("v1/configmaps", "default", "a", { propagation = "Foreground" })
  t:equal(there(t, "a").metadata.finalizers, { "foregroundDeletion" })
  t:ok(there(t, "b").metadata.deletionTimestamp, "the dependent is not being deleted")
  t:patch("v1/configmaps", "default", "b", { metadata = { finalizers = neap.null } })
  t:equal(there(t, "b"), nil)
  t:equal(there(t, "a"), nil)
end)

test("an owner that never was: an object made with a foreign uid goes", function(t)
  t:controller("garbage")
  local o = configmap("lost")
  o.metadata.ownerReferences = {
    { apiVersion = "v1", kind = "ConfigMap", name = "no", uid = "00000000-0000-4000-8000-000000000000" },
  }
  t:create(o)
  t:equal(there(t, "lost"), nil)
end)

test("foreground: a circle of owners does not wait for itself", function(t)
  t:controller("garbage")
  local a = t:create(configmap("a"))
  local b = t:create(configmap("b", { a }))
  local c = t:create(configmap("c", { b }))
  t:patch("v1/configmaps", "default", "a",
    { metadata = { ownerReferences = configmap("a", { c }).metadata.ownerReferences } })
  t:delete("v1/configmaps", "default", "a", { propagation = "Foreground" })
  for _, name in ipairs { "a", "b", "c" } do
    t:equal(there(t, name), nil)
  end
end)

test("foreground: what has another owner stays and loses the reference", function(t)
  t:controller("garbage")
  local a, b = t:create(configmap("a")), t:create(configmap("b"))
  t:create(configmap("c", { a, b }))
  t:create(configmap("d", { a }))
  t:delete("v1/configmaps", "default", "a", { propagation = "Foreground" })
  t:equal(there(t, "a"), nil)
  t:equal(there(t, "d"), nil)
  t:equal(#there(t, "c").metadata.ownerReferences, 1)
  t:equal(there(t, "c").metadata.ownerReferences[1].uid, b.metadata.uid)
end)

local function owned_by(name, kind, uid, more)
  local o = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = name, ownerReferences = {
    { apiVersion = kind == "Thing" and "example.com/v1" or "v1", kind = kind, name = "owner", uid = uid } } } }
  for k, v in pairs(more or {}) do
    o[k] = v
  end
  return o
end

test("an owner of a kind that is not served: nothing is done, to the object or its other references", function(t)
  t:controller("garbage")
  t:create(owned_by("x", "Thing", "u-1"))
  local y = owned_by("y", "Thing", "u-1")
  y.metadata.ownerReferences[2] = { apiVersion = "v1", kind = "ConfigMap", name = "gone", uid = "u-2" }
  t:create(y)
  t:equal(#t:get("v1/configmaps", "default", "x").metadata.ownerReferences, 1)
  t:equal(#t:get("v1/configmaps", "default", "y").metadata.ownerReferences, 2)
end)

test("an object without a namespace whose owner would be in one stays: nobody can tell", function(t)
  t:controller("garbage")
  t:create(owned_by("x", "ConfigMap", "u-1", { apiVersion = "rbac.authorization.k8s.io/v1", kind = "ClusterRole" }))
  t:ok(t:get("rbac.authorization.k8s.io/v1/clusterroles", nil, "x"))
end)

test("an owner in another namespace is none", function(t)
  t:namespace("other")
  local owner = t:create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "owner", namespace = "other" } }
  t:controller("garbage")
  t:create(owned_by("x", "ConfigMap", owner.metadata.uid))
  t:equal(t:get("v1/configmaps", "default", "x"), nil)
end)

test("orphan: a dependent that somebody changes meanwhile is let go all the same", function(t)
  local owner = t:create { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "owner" } }
  for i = 1, 3 do
    t:create(owned_by("d" .. i, "ConfigMap", owner.metadata.uid))
  end
  t:controller("data/meddler.lua") -- changes d2 and d3 when the reference to d1's owner goes
  t:controller("garbage")
  t:delete("v1/configmaps", "default", "owner", { propagation = "Orphan" })
  t:advance(60)
  t:equal(t:get("v1/configmaps", "default", "owner"), nil)
  for i = 1, 3 do
    local d = t:get("v1/configmaps", "default", "d" .. i)
    t:ok(d, "d" .. i .. " was collected")
    t:equal(d.metadata.ownerReferences, nil)
  end
  t:equal(t:get("v1/configmaps", "default", "d3").data, { by = "meddler" })
end)
