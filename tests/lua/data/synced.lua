-- sync(): the ConfigMaps that a Service's annotation names.
return neap.controller {
  name = "synced", for_ = "v1/services", owns = { "v1/configmaps" },
  sync = function(parent)
    local children = {}
    for name in (parent.metadata.annotations and parent.metadata.annotations.want or ""):gmatch("[a-z]+") do
      children[#children + 1] = {
        apiVersion = "v1", kind = "ConfigMap", metadata = { name = name }, data = { of = parent.metadata.name },
      }
    end
    return { children = children }
  end,
}
