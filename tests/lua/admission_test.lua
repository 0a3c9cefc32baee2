local function does(what, more)
  local o = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "cm" }, data = { ["do"] = what } }
  for k, v in pairs(more or {}) do
    o.data[k] = v
  end
  return o
end

local function checks(what)
  return { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "cm" }, data = { check = what } }
end

local FAILED = "Internal error occurred: failed calling admission rule \"tree\": "

test("mutate writes lists and maps", function(t)
  t:admission("data/tree.lua")
  t:equal(t:create(does("list")).metadata.finalizers, neap.array { "example.com/b", "example.com/c" })
  local o = does("map")
  o.metadata.name = "map"
  o = t:create(o)
  t:equal(o.metadata.labels, { b = "2" })
  t:equal(o.metadata.annotations, { a = "1", b = "2" })
  o = does("each", { x = "y" })
  o.metadata.name = "each"
  t:equal(t:create(o).data, { ["do"] = "each!", x = "y!" })
end)

test("what mutate makes must be an object of the kind, and the same one", function(t)
  t:admission("data/tree.lua")
  t:equal(t:refused("mutate may not change metadata.name", does("name")).code, 500)
  t:refused("mutate made no ConfigMap", does("type"))
  t:refused("unknown field \"colour\"", does("unknown"))
  t:refused("a list has no holes", does("hole"))
  t:equal(t:list("v1/configmaps"), {})
end)

test("a rule that fails is an answer with file and line, never more", function(t)
  t:admission("data/tree.lua")
  t:refused(FAILED, does("endless"))
  t:refused("the script took more time than it may", does("endless"))
  t:refused("data/tree.lua:", does("endless"))
  t:refused("not enough memory", does("huge"))
  t:refused("error() with a table", does("object"))
  t:refused("only a controller can write", does("write"))
  t:create(checks("nothing"))
end)

test("a view does not outlive its request", function(t)
  t:admission("data/tree.lua")
  t:create(does("keep"))
  local o = does("kept")
  o.metadata.name = "other"
  t:refused("object outlived its request", o)
end)

test("validate sees, and may not touch", function(t)
  t:admission("data/tree.lua")
  t:refused("objects are frozen here", checks("frozen"))
  t:equal(t:refused("admission rule \"tree\" denied the request: because", checks("false")).reason, "Forbidden")
  t:user("jane", "dev", "ops")
  t:refused("jane dev,ops CREATE v1/configmaps false", checks("user"))
  t:refused("Active", checks("lookup"))
  local o = t:create(checks("old"))
  local _, err = t.try:update(o)
  t:ok(err.message:find("it was old", 1, true), err.message)
  t:ok(not t:get("v1/configmaps", "default", "dry"))
end)

test("a denial cannot be caught", function(t)
  t:admission("data/tree.lua")
  t:refused("denied the request: no", does("swallow"))
end)

test("a dry run passes the rules and stores nothing", function(t)
  t:admission("data/tree.lua")
  local _, err = t.try:create(checks("user"), { dry_run = true })
  t:ok(err.message:find("CREATE v1/configmaps true", 1, true), err.message)
  t:ok(t.try:create(does("map"), { dry_run = true }).metadata.labels)
  t:equal(t:list("v1/configmaps"), {})
end)

test("deletions, and namespaces that a rule names", function(t)
  t:admission("data/delete.lua")
  t:namespace("other")
  for _, ns in ipairs { "default", "other" } do
    t:create {
      apiVersion = "v1", kind = "ConfigMap", metadata = { name = "cm", namespace = ns, annotations = { keep = "" } },
    }
  end
  local _, err = t.try:delete("v1/configmaps", "default", "cm")
  t:equal(err.message, "admission rule \"delete\" denied the request: it is to be kept")
  t:delete("v1/configmaps", "other", "cm")
  t:equal(t:get("v1/configmaps", "other", "cm"), nil)
end)
