-- A claim goes when no pod that runs uses it.
local function claims_of(pod)
  local names = {}
  for _, v in pairs(pod.spec.volumes or {}) do
    if v.persistentVolumeClaim then
      names[#names + 1] = v.persistentVolumeClaim.claimName
    elseif v.ephemeral then
      names[#names + 1] = pod.metadata.name .. "-" .. v.name
    end
  end
  return names
end

-- A pod that no node has, or that has ended, holds nothing.
local function holds(pod, claim)
  local phase = pod.status and pod.status.phase
  if not pod.spec.nodeName or phase == "Succeeded" or phase == "Failed" then
    return false
  end
  for _, name in ipairs(claims_of(pod)) do
    if name == claim.metadata.name then
      return true
    end
  end
  return false
end

return require("protection")("v1/persistentvolumeclaims", "kubernetes.io/pvc-protection", function(claim)
  for _, pod in ipairs(neap.list("v1/pods", { namespace = claim.metadata.namespace })) do
    if holds(pod, claim) then
      return true
    end
  end
end, { { "v1/pods", function(pod)
  local keys = {}
  for _, name in ipairs(claims_of(pod)) do
    keys[#keys + 1] = pod.metadata.namespace .. "/" .. name
  end
  return keys
end } })
