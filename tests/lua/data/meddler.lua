-- Changes ConfigMaps d2 and d3 as soon as their owner is being deleted.
return neap.controller {
  name = "meddler", for_ = "v1/configmaps",
  reconcile = function(ns, name)
    local o = neap.get("v1/configmaps", ns, name)
    if o and name == "owner" and o.metadata.deletionTimestamp then
      for _, d in ipairs { "d2", "d3" } do
        neap.patch("v1/configmaps", ns, d, { data = { by = "meddler" } })
      end
    end
  end,
}
