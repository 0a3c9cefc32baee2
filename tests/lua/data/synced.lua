-- sync(): the ConfigMaps that a Service's annotation names; how many there are is its status.
return neap.controller {
  name = "synced", for_ = "v1/services", owns = { "v1/configmaps" },
  sync = function(parent)
    local children = {}
    for name in (parent.metadata.annotations and parent.metadata.annotations.want or ""):gmatch("[a-z]+") do
      children[#children + 1] = {
        apiVersion = "v1", kind = "ConfigMap", metadata = { name = name },
        data = { of = parent.metadata.name, note = parent.metadata.annotations.note },
      }
    end
    local condition = #children > 1 and neap.array {
      { type = "Many", status = "True", reason = "Counted", message = tostring(#children),
        lastTransitionTime = "2026-01-01T00:00:00Z" },
    } or nil
    return { children = children, status = { conditions = condition } }
  end,
}
