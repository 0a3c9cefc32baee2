-- The engine itself: budgets, views, snapshots, resync, sync().
local function cm(name, data)
  return { apiVersion = "v1", kind = "ConfigMap", metadata = { name = name }, data = data }
end

test("a sync without an end is stopped, and the others go on", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "endless" }))
  t:equal(t:failures(), 1)
  t:create(cm("b", { ["do"] = "keep" }))
  t:create(cm("c", { ["do"] = "kept" }))
  t:equal(t:failures(), 2)
end)

test("objects are frozen, and die with their sync", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "frozen" }))
  t:equal(t:failures(), 1)
  t:create(cm("b", { ["do"] = "keep" }))
  t:equal(t:failures(), 1)
  t:create(cm("c", { ["do"] = "kept" }))
  t:equal(t:failures(), 2)
end)

test("a sync sees one moment, and is called again when it asks for it", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "count", n = "first", start = tostring(math.tointeger(t:now())) }))
  local function seen(name)
    local s = t:get("v1/secrets", "default", name)
    return s and s.metadata.labels.seen
  end
  t:equal(seen("at-0"), "first")
  t:advance(59)
  t:equal(seen("at-1"), nil)
  t:advance(2)
  t:equal(seen("at-1"), "patched0")
  t:advance(60)
  t:equal(seen("at-2"), "patched1")
end)

test("failures are tried again, later and later", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "refused" }))
  t:equal(t:failures(), 1)
  t:advance(0.06)
  t:equal(t:failures(), 2)
  t:advance(0.11)
  t:equal(t:failures(), 3)
  t:advance(600)
  t:ok(t:failures() < 30, "no back-off: " .. t:failures())
end)

test("sync: children come, are repaired, and go when they are no longer wanted", function(t)
  t:controller("data/synced.lua")
  t:controller("garbage")
  t:create {
    apiVersion = "v1", kind = "Service", metadata = { name = "s", annotations = { want = "a b" } },
    spec = { ports = { { port = 80 } } },
  }
  t:equal(t:get("v1/configmaps", "default", "a").data, { of = "s" })
  t:patch("v1/configmaps", "default", "a", { data = { of = "forged" } })
  t:equal(t:get("v1/configmaps", "default", "a").data, { of = "s" })
  t:patch("v1/services", "default", "s", { metadata = { annotations = { want = "b c" } } })
  t:equal(t:get("v1/configmaps", "default", "a"), nil)
  t:ok(t:get("v1/configmaps", "default", "b"))
  t:ok(t:get("v1/configmaps", "default", "c"))
  t:delete("v1/services", "default", "s")
  t:equal(t:list("v1/configmaps"), {})
end)

test("sync applies: what an earlier run of the controller set and is no longer wanted goes; the rest stays", function(t)
  local service = t:create {
    apiVersion = "v1", kind = "Service", metadata = { name = "s", annotations = { want = "a" } },
    spec = { ports = { { port = 80 } } },
  }
  local function entry(manager, operation, fields)
    return { manager = manager, operation = operation, apiVersion = "v1", time = "2026-01-01T00:00:00Z",
      fieldsType = "FieldsV1", fieldsV1 = { ["f:data"] = fields } }
  end
  t:create {
    apiVersion = "v1", kind = "ConfigMap", data = { of = "x", note = "y", mine = "z" },
    metadata = {
      name = "a",
      ownerReferences = { { apiVersion = "v1", kind = "Service", name = "s", uid = service.metadata.uid,
        controller = true, blockOwnerDeletion = true } },
    },
  }
  t:patch("v1/configmaps", "default", "a", {
    metadata = {
      managedFields = {
        entry("synced", "Apply", { ["f:of"] = {}, ["f:note"] = {} }),
        entry("somebody", "Update", { ["f:mine"] = {} }),
      },
    },
  })
  t:controller("data/synced.lua")
  t:equal(t:get("v1/configmaps", "default", "a").data, { of = "s", mine = "z" })
  t:patch("v1/configmaps", "default", "a", { data = { more = "1" } })
  t:equal(t:get("v1/configmaps", "default", "a").data, { of = "s", mine = "z", more = "1" })
  t:patch("v1/services", "default", "s", { metadata = { annotations = { note = "n" } } })
  t:equal(t:get("v1/configmaps", "default", "a").data.note, "n")
  t:patch("v1/services", "default", "s", { metadata = { annotations = { note = neap.null } } })
  t:equal(t:get("v1/configmaps", "default", "a").data, { of = "s", mine = "z", more = "1" })
  t:equal(#t:get("v1/configmaps", "default", "a").metadata.ownerReferences, 1)
end)

test("sync applies the status, and takes back what it no longer says", function(t)
  t:controller("data/synced.lua")
  t:create {
    apiVersion = "v1", kind = "Service", metadata = { name = "s", annotations = { want = "a b" } },
    spec = { ports = { { port = 80 } } },
  }
  t:equal(t:get("v1/services", "default", "s").status.conditions[1].message, "2")
  t:patch("v1/services", "default", "s", { metadata = { annotations = { want = "a" } } })
  t:equal(t:get("v1/services", "default", "s").status.conditions, nil)
end)

test("the same names and times in every run", function(t)
  local o = t:create { apiVersion = "v1", kind = "ConfigMap", metadata = { generateName = "x-" } }
  t:equal(o.metadata.creationTimestamp, "2026-01-01T00:00:00Z")
  t:ok(o.metadata.name:match("^x%-%w%w%w%w%w$"), o.metadata.name)
  t:equal(o.metadata.name, "x-p5jdb")
end)

test("many at once: made, read, deleted", function(t)
  t:controller("data/many.lua")
  t:create { apiVersion = "v1", kind = "Service", metadata = { name = "s" }, spec = { ports = { { port = 80 } } } }
  t:advance(2)
  local function labels(name)
    return t:get("v1/secrets", "default", name).metadata.labels
  end
  t:equal(t:failures(), 0)
  t:equal(labels("made"), { errors = "7Invalid" })
  local all = tostring(1200 * 1201 // 2 - 7)
  t:equal(labels("read"), {
    first = "1", sums = table.concat({ all, all, all, all }, "-"), keys = "kind-apiVersion-metadata-data", equal = "true",
    field = "1", rest = "1198", going = "0", bad = "is-not-a-known-field-selector",
  })
  t:equal(labels("deleted"), { again = "500", none = "0", string = "false" })
  t:equal(#t:list("v1/configmaps"), 699)
end)

test("what is closed after an error has the time of the turn, not more", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "close" }))
  t:equal(t:failures(), 1)
  t:create(cm("b", { ["do"] = "table" }))
  t:equal(t:failures(), 2)
end)

test("a turn that is too long is interrupted, not failed: others run, and it comes to its end", function(t)
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "long", rounds = tostring(12000000) }))
  t:ok(t:get("v1/configmaps", "default", "a").metadata.labels.done)
  t:create(cm("b", { ["do"] = "sort", rounds = tostring(4000000) }))
  t:equal(t:get("v1/configmaps", "default", "b").metadata.labels.done, "1")
  t:equal(t:failures(), 0)
end)

test("objects that a script looks into and keeps cost no more than others", function(t)
  for i = 1, 1500 do
    t:create(cm(("m-%04d"):format(i)))
  end
  t:controller("data/engine.lua")
  t:create(cm("a", { ["do"] = "inner" }))
  t:equal(t:get("v1/configmaps", "default", "a").metadata.labels.done, tostring(1500 * 6 + 1))
  t:equal(t:failures(), 0)
end)

test("a watch's function that fails, or tells no key, is counted or told, and stops nothing", function(t)
  t:controller("data/mapped.lua")
  t:create(cm("a", { answer = "fail" }))
  t:equal(t:failures(), 1)
  t:create(cm("b", { answer = "nothing" }))
  t:create(cm("c", { answer = "/no" }))
  t:create(cm("d", { answer = "turn" }))
  t:equal(t:get("v1/secrets", "default", "default.d").metadata.labels, { by = "map" })
  t:equal(t:failures(), 1)
end)
