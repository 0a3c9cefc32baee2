-- A controller that takes a finalizer off an object that is being deleted, once nothing uses it.
-- Source: Kubernetes documentation, "Persistent Volumes: Storage Object in Use Protection".
local workload = require("workload")

---@param resource Resource
---@param finalizer string which objects got when they were made
---@param used fun(object: View): boolean?
---@param watches? table[] what may have used them
---@return Controller
return function(resource, finalizer, used, watches)
  local function reconcile(namespace, name)
    local object = neap.get(resource, namespace, name)
    if not object or not object.metadata.deletionTimestamp or used(object) then
      return
    end
    local left, found = neap.array {}, false
    for _, f in ipairs(object.metadata.finalizers or {}) do
      if f == finalizer then
        found = true
      else
        left[#left + 1] = f
      end
    end
    if found then
      workload.patch_as_seen(resource, object, { finalizers = left })
    end
  end
  return neap.controller {
    name = finalizer:match("[^/]+$"), for_ = resource, watches = watches, reconcile = reconcile,
  }
end
