-- Every Deployment says whose it is: the label "team" must be there, and be a team that the ConfigMap
-- kube-system/teams lists (any team, while there is no such ConfigMap).
return neap.admission {
  name = "require-label",
  resources = { "apps/deployments" },
  operations = { "CREATE", "UPDATE" },
  exclude_namespaces = { "kube-system" },
  validate = function(request)
    local labels = request.object.metadata.labels
    local team = labels and labels.team
    if not team then
      neap.deny("the label team is required", "metadata.labels.team")
    end
    local teams = neap.get("v1/configmaps", "kube-system", "teams")
    if teams and not (teams.data and teams.data[team]) then
      neap.deny(("there is no team %q"):format(team), "metadata.labels.team")
    end
  end,
}
