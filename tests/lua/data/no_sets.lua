-- Nobody may make a ReplicaSet.
return neap.admission {
  name = "no-sets", resources = { "apps/replicasets" }, operations = { "CREATE" },
  validate = function()
    return "no sets here"
  end,
}
