-- Pods go to nodes with the label that they name in an annotation:
--   metadata.annotations["scheduling.example.com/prefer"] = "disk=ssd"
-- A preference, no rule: when such nodes are full, others serve. A node that has the key with another
-- value is better than one without it.
--
-- neap server --scheduler-script-dir contrib/examples/scheduler
local ANNOTATION = "scheduling.example.com/prefer"

local function wish(pod)
    local annotations = pod.metadata.annotations
    local text = annotations and annotations[ANNOTATION]
    if text then
        return text:match("^([^=]+)=(.*)$")
    end
end

return neap.scheduler.score {
    name = "PreferLabel",
    weight = 5, -- beside the built-in scores: their weights are 1 to 3
    -- 0 (worst) to 100 for each node that the pod fits on
    score = function(pod, node)
        local key, value = wish(pod)
        if not key then
            return 0
        end
        local labels = node.metadata.labels
        local have = labels and labels[key]
        if not have then
            return 0
        end
        return have == value and 100 or 50
    end,
}
