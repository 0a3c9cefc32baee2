-- A controller that does what a ConfigMap's data asks for.
local kept

return neap.controller {
  name = "engine", for_ = "v1/configmaps", concurrency = 2,
  reconcile = function(ns, name)
    local cm = neap.get("v1/configmaps", ns, name)
    local what = cm and cm.data and cm.data["do"]
    if what == "endless" then
      while true do
        pcall(function()
          while true do
          end
        end)
      end
    elseif what == "frozen" then
      cm.data.x = "y"
    elseif what == "keep" then
      kept = cm
    elseif what == "kept" then
      return kept.data and 1
    elseif what == "count" then
      -- a Secret a minute, three of them; the patch is not seen: the snapshot is the one that the sync began with
      local made = #neap.list("v1/secrets", { namespace = ns })
      if made < 3 and neap.now() >= made * 60 + tonumber(cm.data.start) then
        neap.patch("v1/configmaps", ns, name, { data = { n = "patched" .. made } })
        local seen = neap.get("v1/configmaps", ns, name).data.n
        neap.create("v1/secrets", ns, { metadata = { name = "at-" .. made, labels = { seen = seen } } })
      end
      return 60
    elseif what == "refused" then
      local o, err = neap.create("v1/configmaps", ns, { metadata = { name = "Not A Name" } })
      error(("%s %s %d"):format(tostring(o), err.reason, err.code), 0)
    end
  end,
}
