-- Aggregated ClusterRoles hold the rules of those that their selectors match.
local workload = require("workload")
local KIND = "rbac.authorization.k8s.io/v1/clusterroles"

local aggregated = {} -- names of those that have selectors

return neap.controller {
  name = "clusterrole",
  for_ = KIND,
  watches = {
    -- any role may have come to match, or matches no more
    { KIND, function(role, event)
      aggregated[role.metadata.name] = event ~= "DELETED" and role.aggregationRule and true or nil
      local keys = {}
      for name in pairs(aggregated) do
        keys[#keys + 1] = "/" .. name
      end
      return keys
    end },
  },
  reconcile = function(_, name)
    local role = neap.get(KIND, nil, name)
    if not role or not role.aggregationRule then
      return
    end
    local rules, seen = neap.array {}, {}
    for _, selector in pairs(role.aggregationRule.clusterRoleSelectors or {}) do
      for _, r in ipairs(neap.list(KIND, { selector = selector })) do
        for _, rule in pairs(r.metadata.name ~= name and r.rules or {}) do
          local hash = neap.hash(rule)
          if not seen[hash] then
            seen[hash] = true
            rules[#rules + 1] = neap.edit(rule)
          end
        end
      end
    end
    if not neap.equal(rules, role.rules or {}) then
      workload.check(neap.patch(KIND, nil, name, { rules = rules }))
    end
  end,
}
