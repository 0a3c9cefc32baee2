-- Its watch's function does what a ConfigMap's data asks for; a key becomes a Secret.
return neap.controller {
  name = "mapped", for_ = "v1/services",
  watches = { { "v1/configmaps", function(o)
    local answer = o.data and o.data.answer
    if answer == "fail" then
      error("no")
    elseif answer == "nothing" then
      return { "no-slash", 7 }
    elseif answer == "turn" then
      neap.turn()
      return { o.metadata.namespace .. "/" .. o.metadata.name }
    end
    return answer
  end } },
  reconcile = function(ns, name)
    if name ~= "no" then
      neap.create("v1/secrets", "default", { metadata = { name = ns .. "." .. name, labels = { by = "map" } } })
    end
  end,
}
