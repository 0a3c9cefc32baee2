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
