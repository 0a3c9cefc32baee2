-- Objects annotated "keep" are not deleted.
return neap.admission {
  name = "delete", resources = { "*" }, operations = { "DELETE" }, namespaces = { "default" },
  validate = function(request)
    if request.old.metadata.annotations and request.old.metadata.annotations.keep then
      neap.deny("it is to be kept")
    end
  end,
}
