-- Finished pods go an hour after their last container ended, unless a controller owns them.
local KEEP_SECONDS = 3600

local function ended_at(pod)
  local last = neap.seconds(pod.metadata.creationTimestamp)
  for _, status in pairs(pod.status.containerStatuses or {}) do
    local at = status.state and status.state.terminated and neap.seconds(status.state.terminated.finishedAt)
    last = math.max(last, at or last)
  end
  return last
end

return neap.controller {
  name = "podcleaner",
  for_ = "v1/pods",
  reconcile = function(ns, name)
    local pod = neap.get("v1/pods", ns, name)
    local phase = pod and pod.status.phase
    if not pod or pod.metadata.ownerReferences or (phase ~= "Succeeded" and phase ~= "Failed") then
      return
    end
    local left = ended_at(pod) + KEEP_SECONDS - neap.now()
    if left > 0 then
      return left -- called again then
    end
    local _, err = neap.delete("v1/pods", ns, name, { uid = pod.metadata.uid })
    if err and err.reason ~= "NotFound" then
      error(err.message, 0)
    end
  end,
}
