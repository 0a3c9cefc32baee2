#!/usr/bin/python3
"""A user's scripts in a live server: the examples work, a changed file is loaded without a restart, a broken one
changes nothing, and neither a rule that runs for ever nor one that fails stops the API."""
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import TOP, Report, Server  # noqa: E402

WAIT_S = 20
CM = "/api/v1/namespaces/%s/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"

RULE = """return neap.admission {
  name = "stamp", resources = { "configmaps" }, operations = { "CREATE" }, namespaces = { "work" },
  mutate = function(request)
    neap.ensure(request.object, "metadata", "labels").stamp = "%s"
  end,
}
"""
ENDLESS = """return neap.admission {
  name = "endless", resources = { "secrets" }, validate = function()
    while true do
    end
  end,
}
"""
CONTROLLER = """return neap.controller {
  name = "mark", for_ = "v1/configmaps",
  reconcile = function(ns, name)
    local cm = neap.get("v1/configmaps", ns, name)
    if cm and ns == "work" and not (cm.data and cm.data.mark == "%s") then
      neap.patch("v1/configmaps", ns, name, { data = { mark = "%s" } })
    end
  end,
}
"""


def until(what):
    """The first true answer of what(), within WAIT_S."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.05)  # the API has no event for a script that was loaded
    return None


def configmap(name, data=None, labels=None):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}},
            "data": data or {}}


def deployment(labels):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": labels},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": 1,
                     "template": {"metadata": {"labels": {"a": "b"}},
                                  "spec": {"containers": [{"name": "c", "image": "i"}]}}}}


def write(*path, text):
    name = os.path.join(*path)
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name + ".new", "w") as f:  # as editors do
        f.write(text)
    os.rename(name + ".new", name)


def examples(r, c):
    c.request("POST", "/api/v1/namespaces", {"metadata": {"name": "red", "labels": {"copies.example.com/from": "x"}}})
    c.request("POST", CM % "default", configmap("shared", {"a": "1"}, {"copies.example.com/to": "x"}))
    got = until(lambda: c.request("GET", CM % "red" + "/shared")[0] == 200)
    r.check("an example controller copies a ConfigMap", got)
    c.request("DELETE", CM % "red" + "/shared")
    r.check("and repairs the copy", until(lambda: c.request("GET", CM % "red" + "/shared")[0] == 200))
    code, status, _ = c.request("POST", DEPLOYMENTS, deployment({}))
    r.check("an example rule refuses", code == 403 and status["reason"] == "Forbidden" and status["message"] ==
            'admission rule "require-label" denied the request: the label team is required'
            and status["details"]["causes"][0]["field"] == "metadata.labels.team", status)
    code, status, _ = c.request("POST", DEPLOYMENTS, deployment({"team": "red"}))
    r.check("and lets pass", code == 201, status)

    def pod():
        items = c.request("GET", "/api/v1/namespaces/default/pods")[1]["items"]
        return items[0] if items else None
    got = until(pod)
    r.check("an example rule sets a default, for controllers' pods as well", got and
            got["spec"]["containers"][0].get("resources", {}).get("requests") == {"memory": "64Mi"}, got)
    pod = {"metadata": {"name": "own"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    _, _, warnings = c.request("POST", "/api/v1/namespaces/default/pods", pod)
    r.check("and warns", warnings == ["container c has no memory request: 64Mi is taken"], warnings)


def reload_rules(r, c, folder):
    def stamp():
        c.request("DELETE", CM % "work" + "/x")
        return c.request("POST", CM % "work", configmap("x"))[1]["metadata"].get("labels", {}).get("stamp")
    r.check("no rule yet", stamp() is None)
    write(folder, "admission", "stamp.lua", text=RULE % "one")
    r.check("a new rule holds without a restart", until(lambda: stamp() == "one"))
    write(folder, "admission", "stamp.lua", text=RULE % "two")
    r.check("so does a changed one", until(lambda: stamp() == "two"))
    write(folder, "admission", "stamp.lua", text="return neap.admission {\n  name = = 1\n}\n")
    write(folder, "admission", "other.lua", text=ENDLESS)
    r.check("a broken one is logged with its line", until(lambda: "stamp.lua:2:" in c.server.tail()))
    r.check("and what was before goes on", stamp() == "two")
    os.unlink(os.path.join(folder, "admission", "stamp.lua"))
    r.check("a rule that is gone no longer holds", until(lambda: stamp() is None))
    start = time.monotonic()
    code, status, _ = c.request("POST", "/api/v1/namespaces/work/secrets", {"metadata": {"name": "s"}})
    r.check("a rule without an end is a 500 with file and line", code == 500 and "other.lua:3:" in status["message"]
            and 'failed calling admission rule "endless"' in status["message"] and time.monotonic() - start < 5, status)
    r.check("and the API goes on", stamp() is None)


def reload_controllers(r, c, folder):
    def mark():
        return c.request("GET", CM % "work" + "/m")[1].get("data", {}).get("mark")
    c.request("POST", CM % "work", configmap("m"))
    write(folder, "controllers", "mark.lua", text=CONTROLLER % ("one", "one"))
    r.check("a new controller runs without a restart", until(lambda: mark() == "one"))
    write(folder, "controllers", "mark.lua", text=CONTROLLER % ("two", "two"))
    r.check("so does a changed one", until(lambda: mark() == "two"))
    write(folder, "controllers", "mark.lua", text="oops(")
    r.check("a broken one is logged", until(lambda: "mark.lua:1:" in c.server.tail()))
    c.request("PATCH", CM % "work" + "/m", {"data": {"mark": "x"}}, "application/merge-patch+json")
    r.check("and what was before goes on", until(lambda: mark() == "two"))


LOOP = """return neap.controller {
  name = "loop", for_ = "v1/configmaps",
  reconcile = function(ns, name)
    while name == "endless" do
    end
  end,
}
"""


def endless_controller(r, c, folder):
    """On the controllers' thread, which is not the one that loaded the scripts at the start."""
    write(folder, "controllers", "mark.lua", text=LOOP)
    c.request("POST", CM % "work", configmap("endless"))
    r.check("a controller without an end is stopped", until(lambda: "mark.lua:4: the script took" in c.server.tail()))
    c.request("POST", "/api/v1/namespaces", {"metadata": {"name": "late"}})
    r.check("and the others go on", until(lambda: c.request("GET", CM % "late" + "/kube-root-ca.crt")[0] == 200))


def metrics(r, c):
    text = c.request("GET", "/metrics")[1]
    for want in ('neap_admission_rule_runs_total{rule="require-label",step="validate",result="denied"} 1',
                 'neap_admission_rule_runs_total{rule="endless",step="validate",result="error"} 1',
                 'neap_admission_rule_seconds_count{rule="default-resources"}',
                 'neap_controller_syncs_total{controller="configcopy",result="ok"}'):
        r.check("metrics: " + want.split("{")[0], want in text, want)


def refuses_to_start(r):
    for where in ("admission", "controllers"):
        with tempfile.TemporaryDirectory() as folder:
            write(folder, where, "bad.lua", text="return 1 +\n")
            try:
                Server(args=["--user-script-dir", folder]).stop()
                r.fail("a broken script at the start: " + where, "it started")
            except RuntimeError as e:
                r.check("a broken script at the start is one line: " + where, "bad.lua:2:" in str(e), e)


def main():
    r = Report()
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("admission", "controllers"):
            shutil.copytree(os.path.join(TOP, "contrib/examples", kind), os.path.join(folder, kind))
        server = Server(args=["--user-script-dir", folder])
        c = server.client()
        c.request("POST", "/api/v1/namespaces", {"metadata": {"name": "work"}})
        until(lambda: c.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200)
        examples(r, c)
        reload_rules(r, c, folder)
        reload_controllers(r, c, folder)
        endless_controller(r, c, folder)
        metrics(r, c)
        refuses_to_start(r)
        r.end(server)


if __name__ == "__main__":
    main()
