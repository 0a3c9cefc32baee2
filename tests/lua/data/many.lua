-- Makes 1,200 ConfigMaps at once, reads them several ways, deletes some; what it found becomes labels of Secrets.
local workload = require("workload")
local KIND, MANY, AT_ONCE = "v1/configmaps", 1200, 1000

local function found(name, labels)
  workload.check(neap.create("v1/secrets", "default", { metadata = { name = name, labels = labels } }))
end

local function make()
  local errors = {}
  for first = 1, MANY, AT_ONCE do
    local list = {}
    for i = first, math.min(first + AT_ONCE - 1, MANY) do
      list[#list + 1] = { metadata = { name = i == 7 and "Not A Name" or ("m-%04d"):format(i) }, data = { n = tostring(i) } }
    end
    for i, r in ipairs(neap.create_all(KIND, "default", list)) do
      errors[#errors + 1] = r.error and i .. r.error.reason or nil
      assert(r.error or r.object.data.n == list[i].data.n)
    end
  end
  found("made", { errors = table.concat(errors, "-") })
end

local function sum(list)
  local s = 0
  for _, o in workload.each(list) do
    s = s + tonumber(o.data.n)
  end
  return s
end

-- Far more objects than are held parsed: what is looked into stays, the rest is parsed anew.
local function read(list)
  local first, sums, keys = list[1].data, {}, {}
  for k, v in pairs(list[2]) do
    keys[#keys + 1] = k
    sums[#sums + 1] = sum(list)
    assert(k ~= "data" or v.n == "2")
  end
  local other = list[2] == list[2] and list[2] ~= list[3] and list[2].data == neap.get(KIND, "default", "m-0002").data
  found("read", {
    first = first.n, sums = table.concat(sums, "-"), keys = table.concat(keys, "-"), equal = tostring(other),
    field = tostring(#neap.list(KIND, { fields = "metadata.name=m-0003" })),
    rest = tostring(#neap.list(KIND, { fields = "metadata.name!=m-0003", deleting = false })),
    going = tostring(#neap.list(KIND, { deleting = true })),
    bad = select(2, pcall(neap.list, KIND, { fields = "data.n=1" })):match("is not a known field selector"):gsub(" ", "-"),
  })
  local some = table.move(list, 1, 500, 1, {})
  local again = 0
  for round = 1, 2 do
    for _, r in ipairs(neap.delete_all(KIND, some)) do
      again = again + (round == 2 and r.error and r.error.reason == "NotFound" and 1 or 0)
    end
  end
  found("deleted", {
    again = tostring(again), none = tostring(#neap.create_all(KIND, "default", {})),
    string = tostring(pcall(neap.delete_all, KIND, { "m-0001" })),
  })
end

return neap.controller {
  name = "many", for_ = "v1/services",
  reconcile = function()
    if not neap.get("v1/secrets", "default", "made") then
      make()
      return 1
    elseif not neap.get("v1/secrets", "default", "read") then
      read(neap.list(KIND, { namespace = "default", fields = "metadata.name!=kube-root-ca.crt" }))
    end
  end,
}
