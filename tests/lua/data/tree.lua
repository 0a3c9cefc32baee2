-- A rule that does to request.object whatever the ConfigMap's data asks for.
local does = {
  list = function(o)
    o.metadata.finalizers = {}
    table.insert(o.metadata.finalizers, "example.com/a")
    table.insert(o.metadata.finalizers, 1, "example.com/b")
    o.metadata.finalizers[#o.metadata.finalizers + 1] = "example.com/c"
    table.remove(o.metadata.finalizers, 2)
  end,
  map = function(o)
    o.metadata.labels = { a = "1" }
    o.metadata.labels.b = "2"
    o.metadata.annotations = o.metadata.labels -- a copy, not the same
    o.metadata.labels.a = nil
  end,
  each = function(o)
    for k, v in pairs(o.data) do
      o.data[k] = v .. "!"
    end
  end,
  name = function(o)
    o.metadata.name = "another"
  end,
  type = function(o)
    o.data.x = { 1 }
  end,
  unknown = function(o)
    o.colour = "red"
  end,
  hole = function(o)
    o.metadata.finalizers = { "example.com/a" }
    o.metadata.finalizers[3] = "example.com/c"
  end,
  write = function()
    neap.create("v1/configmaps", "default", { metadata = { name = "x" } })
  end,
  endless = function()
    while true do
      pcall(function()
        while true do
        end
      end)
    end
  end,
  huge = function()
    return ("x"):rep(1 << 30)
  end,
  swallow = function()
    pcall(neap.deny, "no")
  end,
  object = function()
    error { code = 1 }
  end,
}
local kept

return neap.admission {
  name = "tree", resources = { "configmaps" },
  mutate = function(request)
    local what = request.object.data and request.object.data["do"]
    if what == "keep" then
      kept = request.object
    elseif what == "kept" then
      return tostring(kept.metadata)
    elseif what then
      return does[what](request.object) and nil
    end
  end,
  validate = function(request)
    local what = request.object.data and request.object.data.check
    if what == "frozen" then
      request.object.data.check = "x"
    elseif what == "old" then
      return request.old and "it was " .. request.old.data.check or nil
    elseif what == "false" then
      return false, "because"
    elseif what == "user" then
      return request.user.name .. " " .. table.concat(request.user.groups, ",") .. " " .. request.operation .. " "
        .. request.resource .. " " .. tostring(request.dry_run)
    elseif what == "lookup" then
      return neap.get("v1/namespaces", nil, request.namespace).status.phase
    end
  end,
}
