"""Watches, lists in pages, dry runs, identities: what no recorded pair shows."""
import http.client
import json
import threading

from cluster import Report, Server

CM = "/api/v1/namespaces/default/configmaps"


def cm(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def watch(server, path, seconds=1, headers=None):
    c = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.client().ssl, timeout=30)
    c.request("GET", path + "&watch=1&timeoutSeconds=%d" % seconds, headers=headers or {})
    return c, c.getresponse()


def lines(response, name=None):
    """The events of a watch; those of one object when <name> is given (controllers write as well)."""
    events = [json.loads(x) for x in response.read().decode().splitlines()]
    return [e for e in events if not name or e["object"]["metadata"].get("name") == name]


def check_watch(report, server, admin):
    admin.request("POST", CM, cm("w0", a="1"))
    c, r = watch(server, CM + "?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    first = [json.loads(r.readline())]
    while first[-1]["type"] != "BOOKMARK":
        first.append(json.loads(r.readline()))
    mark = first[-1]["object"]["metadata"]
    report.check("initial events end with a bookmark",
                 mark.get("annotations", {}).get("k8s.io/initial-events-end") == "true", mark)
    report.check("initial events are all objects", "w0" in [e["object"]["metadata"]["name"] for e in first[:-1]])
    admin.request("POST", CM, cm("w1"))
    admin.request("DELETE", CM + "/w1")
    events = lines(r, "w1")
    report.check("a watch tells what happens", [e["type"] for e in events] == ["ADDED", "DELETED"], events)
    report.check("a deletion has a revision of its own",
                 int(events[1]["object"]["metadata"]["resourceVersion"])
                 > int(events[0]["object"]["metadata"]["resourceVersion"]))
    c, r = watch(server, CM + "?resourceVersion=" + mark["resourceVersion"])
    report.check("a watch resumes at a revision", [e["type"] for e in lines(r, "w1")] == ["ADDED", "DELETED"])


def check_selector(report, server, admin):
    o = cm("sel")
    o["metadata"]["labels"] = {"a": "b"}
    rv = admin.request("POST", CM, o)[1]["metadata"]["resourceVersion"]
    admin.request("PATCH", CM + "/sel", {"metadata": {"labels": {"a": "c"}}}, "application/merge-patch+json")
    c, r = watch(server, CM + "?labelSelector=a%3Db&resourceVersion=" + rv)
    events = lines(r)
    report.check("an object that leaves a selector is DELETED with its last state",
                 [e["type"] for e in events] == ["DELETED"]
                 and events[0]["object"]["metadata"]["labels"] == {"a": "b"}, events)


def check_event_fields(report, server, admin):
    """The two versions of events name the same fields differently, and keep them in another order."""
    events, core = "/apis/events.k8s.io/v1/namespaces/default/events", "/api/v1/namespaces/default/events"
    admin.request("POST", events, {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "c", "reportingInstance": "i", "action": "Do", "reason": "R", "type": "Normal"})
    for path, field in ((events, "reportingController=c"), (events, "regarding.name=p"), (events, "reason=R"),
                        (core, "reportingComponent=c"), (core, "source=c"), (core, "involvedObject.name=p")):
        got = [admin.request("GET", path + "?fieldSelector=" + field + more)[1].get("items") for more in ("", "x")]
        report.check("events by %s in %s" % (field, path.split("/")[1]), [len(x or "") for x in got] == [1, 0], got)


def check_pages(report, server, admin):
    for i in range(25):
        admin.request("POST", CM, cm("page-%02d" % i))
    names, token, revisions = [], "", set()
    while True:
        got = admin.request("GET", CM + "?limit=10&continue=" + token)[1]
        names += [o["metadata"]["name"] for o in got["items"]]
        revisions.add(got["metadata"]["resourceVersion"])
        token = got["metadata"].get("continue", "")
        if not token:
            break
        admin.request("POST", CM, cm("later-%d" % len(names)))
    report.check("pages are one snapshot", len(revisions) == 1 and not [n for n in names if n.startswith("later")],
                 (revisions, names))
    report.check("pages hold everything once", len(names) == len(set(names)) and
                 len([n for n in names if n.startswith("page-")]) == 25)


def check_dry_run(report, server, admin):
    svc = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "dry"},
           "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    path = "/api/v1/namespaces/default/services"
    before = len(admin.request("GET", "/apis/networking.k8s.io/v1/ipaddresses")[1]["items"])
    code, got, _ = admin.request("POST", path + "?dryRun=All", svc)
    after = len(admin.request("GET", "/apis/networking.k8s.io/v1/ipaddresses")[1]["items"])
    report.check("a dry run shows the allocation", code == 201 and got["spec"]["clusterIP"].startswith("10.96."), got)
    report.check("a dry run leaks no address", before == after)
    report.check("a dry run stores nothing", admin.request("GET", path + "/dry")[0] == 404)
    admin.request("POST", path, svc)
    port = admin.request("GET", path + "/dry")[1]["spec"]["ports"][0]["nodePort"]
    svc2 = json.loads(json.dumps(svc))
    svc2["metadata"]["name"] = "dry2"
    svc2["spec"]["ports"][0]["nodePort"] = port
    report.check("a node port is given once", admin.request("POST", path, svc2)[0] == 422)
    admin.request("DELETE", path + "/dry")
    report.check("a deleted Service gives its port back", admin.request("POST", path, svc2)[0] == 201)


def check_counter(report, server, admin):
    """Unconditional patches from many sides queue up: none is lost."""
    admin.request("POST", CM, cm("counter"))

    def patch(k):
        client = server.client()
        for i in range(20):
            code = client.request("PATCH", CM + "/counter", {"data": {"k%d-%d" % (k, i): "1"}},
                                  "application/merge-patch+json")[0]
            if code != 200:
                failures.append(code)

    failures, threads = [], [threading.Thread(target=patch, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    got = admin.request("GET", CM + "/counter")[1]
    report.check("concurrent patches of one object all land", not failures and len(got["data"]) == 80,
                 (failures, len(got.get("data", {}))))


def check_identity(report, server, admin):
    nobody = server.client(certificate=False)
    report.check("health is open to all", nobody.request("GET", "/readyz")[0] == 200)
    report.check("all else is not", nobody.request("GET", "/api/v1/secrets")[0] == 403)
    report.check("a bad token is 401", server.client("x").request("GET", "/api")[0] == 401)
    admin.request("POST", "/api/v1/namespaces/default/serviceaccounts",
                  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    code, got, _ = admin.request("POST", "/api/v1/namespaces/default/serviceaccounts/robot/token",
                                 {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    robot = server.client(got["status"]["token"])
    code, got, _ = robot.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
                                 {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    report.check("a token is its account", code == 201 and
                 got["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot", got)
    report.check("an account may nothing at first", robot.request("GET", CM)[0] == 403)
    admin.request("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
                  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r"},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                   "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}]})
    report.check("a binding lets it", robot.request("GET", CM)[0] == 200)
    report.check("in its namespace only", robot.request("GET", "/api/v1/configmaps")[0] == 403)
    admin.request("DELETE", "/api/v1/namespaces/default/serviceaccounts/robot")
    report.check("a token dies with its account", robot.request("GET", CM)[0] == 401)


def check_hostile(report, server, admin):
    cases = [("deep JSON", "[" * 100000, "application/json"), ("deep YAML", "- " * 5000 + "a", "application/yaml"),
             ("alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
                 "%s: &%s [%s]\n" % (chr(98 + i), chr(98 + i), ",".join(["*" + chr(97 + i)] * 9)) for i in range(12)),
              "application/yaml"),
             ("truncated protobuf", b"k8s\x00\x0a\xff\xff\xff\xff\x0f", "application/vnd.kubernetes.protobuf"),
             ("no UTF-8", b'{"kind":"\xff\xfe"}', "application/json")]
    for name, body, content_type in cases:
        code, got, _ = admin.request("POST", CM, body, content_type)
        report.check("hostile: " + name, 400 <= code < 500 and got.get("kind") == "Status", (code, str(got)[:200]))
    for path in ("/api/v1/namespaces/default/configmaps/..", "/api/v1/namespaces/%2e%2e/configmaps",
                 "/api/v1/namespaces/default/configmaps/a%2fb"):
        code = admin.request("GET", path)[0]
        report.check("hostile path " + path, 400 <= code < 500, code)
    report.check("the server lives", admin.request("GET", "/livez")[0] == 200)


def main():
    report, server = Report(), Server()
    admin = server.client()
    for fn in (check_watch, check_selector, check_event_fields, check_pages, check_dry_run, check_counter, check_identity, check_hostile):
        try:
            fn(report, server, admin)
        except Exception as e:
            report.fail(fn.__name__, repr(e) + server.tail()[-600:])
    report.end(server)


if __name__ == "__main__":
    main()
