-- Nodes with the annotation maintenance.example.com/from = "2026-05-01T22:00:00Z" take no new pods from
-- that time on, unless the pod says that it can be moved at any time.
local FROM = "maintenance.example.com/from"
local MOVABLE = "maintenance.example.com/movable"

return neap.scheduler.filter {
    name = "Maintenance",
    -- true, or false and why: shown in the pod's events as "3 <why>"
    filter = function(pod, node)
        local annotations = node.metadata.annotations
        local from = annotations and neap.seconds(annotations[FROM])
        if not from or from > neap.now() then
            return true
        end
        local labels = pod.metadata.labels
        if labels and labels[MOVABLE] == "true" then
            return true
        end
        return false, "node(s) are under maintenance"
    end,
}
