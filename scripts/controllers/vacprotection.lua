-- A class of volume attributes goes when no claim and no volume names it.
local CLASSES = "storage.k8s.io/v1/volumeattributesclasses"
local USERS = { "v1/persistentvolumeclaims", "v1/persistentvolumes" }

local function names(object, class)
  local current = object.status and object.status.currentVolumeAttributesClassName
  return object.spec.volumeAttributesClassName == class or current == class
end

local function classes_that_go()
  local keys = {}
  for _, class in ipairs(neap.list(CLASSES)) do
    if class.metadata.deletionTimestamp then
      keys[#keys + 1] = "/" .. class.metadata.name
    end
  end
  return keys
end

return require("protection")(CLASSES, "kubernetes.io/vac-protection", function(class)
  for _, kind in ipairs(USERS) do
    for _, object in ipairs(neap.list(kind)) do
      if names(object, class.metadata.name) then
        return true
      end
    end
  end
end, { { USERS[1], classes_that_go }, { USERS[2], classes_that_go } })
