local CLAIMS, CLASSES = "v1/persistentvolumeclaims", "storage.k8s.io/v1/volumeattributesclasses"

local function claim(spec)
  spec.accessModes, spec.resources = { "ReadWriteOnce" }, { requests = { storage = "1Mi" } }
  return { apiVersion = "v1", kind = "PersistentVolumeClaim", metadata = { name = "data" }, spec = spec }
end

test("a claim waits for the pod that uses it", function(t)
  t:controller("pvcprotection")
  t:node("n")
  t:create(claim {})
  t:create {
    apiVersion = "v1", kind = "Pod", metadata = { name = "p" },
    spec = {
      nodeName = "n", containers = { { name = "c", image = "i" } },
      volumes = { { name = "v", persistentVolumeClaim = { claimName = "data" } } },
    },
  }
  t:equal(t:get(CLAIMS, "default", "data").metadata.finalizers[1], "kubernetes.io/pvc-protection")
  t:delete(CLAIMS, "default", "data")
  t:ok(t:get(CLAIMS, "default", "data").metadata.deletionTimestamp)
  t:delete("v1/pods", "default", "p", { grace = 0 })
  t:equal(t:get(CLAIMS, "default", "data"), nil)
end)

test("a claim that nothing uses goes at once, and so does a volume", function(t)
  t:controller("pvcprotection")
  t:controller("pvprotection")
  t:create(claim {})
  t:delete(CLAIMS, "default", "data")
  t:equal(t:get(CLAIMS, "default", "data"), nil)
  t:create {
    apiVersion = "v1", kind = "PersistentVolume", metadata = { name = "v" },
    spec = { capacity = { storage = "1Mi" }, accessModes = { "ReadWriteOnce" }, hostPath = { path = "/x" } },
  }
  t:delete("v1/persistentvolumes", nil, "v")
  t:equal(t:get("v1/persistentvolumes", nil, "v"), nil)
end)

test("a class of attributes waits for its claims", function(t)
  t:controller("pvcprotection")
  t:controller("vacprotection")
  t:create {
    apiVersion = "storage.k8s.io/v1", kind = "VolumeAttributesClass", metadata = { name = "fast" },
    driverName = "d.example", parameters = { iops = "1" },
  }
  t:create(claim { volumeAttributesClassName = "fast" })
  t:delete(CLASSES, nil, "fast")
  t:ok(t:get(CLASSES, nil, "fast"))
  t:delete(CLAIMS, "default", "data")
  t:equal(t:get(CLASSES, nil, "fast"), nil)
end)
