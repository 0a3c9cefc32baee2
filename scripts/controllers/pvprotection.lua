-- A volume goes when no claim is bound to it.
return require("protection")("v1/persistentvolumes", "kubernetes.io/pv-protection", function(volume)
  return volume.status and volume.status.phase == "Bound"
end)
