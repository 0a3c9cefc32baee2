"""Evictions and disruption budgets: what may go, in whose words, and that no disruption is spent twice."""
import threading

from cluster import Report, Server
from test_scheduler import PODS, bound, node, pod, wait

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


def running(server, admin, name, app, ready=True, **spec):
    p = pod(name, **spec)
    p["metadata"]["labels"] = {"app": app}
    admin.request("POST", PODS, p)
    wait(server, name, bound)
    admin.request("PATCH", "%s/%s/status" % (PODS, name), {"status": {
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}},
        "application/merge-patch+json")


def budget(server, admin, name, app, want=None, **spec):
    """Once its controller has counted."""
    admin.request("POST", BUDGETS, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
                                    "spec": dict(spec, selector={"matchLabels": {"app": app}})})
    return wait(server, name, lambda b: b["status"].get("observedGeneration") == 1 and
                (want is None or b["status"]["disruptionsAllowed"] == want), path=BUDGETS)


def evict(admin, name, options=None, query=""):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    if options:
        body["deleteOptions"] = options
    return admin.request("POST", "%s/%s/eviction%s" % (PODS, name, query), body)


def check_budget(report, server, admin):
    for i in range(3):
        running(server, admin, "a%d" % i, "a")
    b = budget(server, admin, "a", "a", want=1, minAvailable=2)
    report.check("a budget counts", b["status"].get("disruptionsAllowed") == 1 and b["status"]["expectedPods"] == 3, b)
    code, got, _ = evict(admin, "a0", query="?dryRun=All")
    left = admin.request("GET", BUDGETS + "/a")[1]["status"]
    report.check("a dry run spends nothing", code == 201 and left["disruptionsAllowed"] == 1, (code, got, left))
    code, got, _ = evict(admin, "a0")
    report.check("an eviction within the budget", code == 201 and got["status"] == "Success", got)
    gone = admin.request("GET", PODS + "/a0")[1]
    target = [c for c in gone["status"]["conditions"] if c["type"] == "DisruptionTarget"]
    report.check("the pod says why it goes", gone["metadata"].get("deletionTimestamp") and target and
                 target[0]["reason"] == "EvictionByEvictionAPI", gone)
    wait(server, "a", lambda b: b["status"]["currentHealthy"] == 2, path=BUDGETS)
    code, got, _ = evict(admin, "a1")
    report.check("one more is refused", code == 429 and got["reason"] == "TooManyRequests" and
                 got["message"] == "Cannot evict pod as it would violate the pod's disruption budget." and
                 got["details"]["causes"][0]["message"] == "The disruption budget a needs 2 healthy pods and has 2 currently",
                 got)
    report.check("of the wrong name", admin.request("POST", PODS + "/a1/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a2"}})[0] == 400)
    report.check("a pod that goes may be evicted again", evict(admin, "a0")[0] == 201)


def check_spent_once(report, server, admin):
    """Ten at once, three may."""
    names = ["b%d" % i for i in range(10)]
    for n in names:
        running(server, admin, n, "b")
    budget(server, admin, "b", "b", want=3, minAvailable=7)
    codes, clients = [], [server.client() for _ in names]
    threads = [threading.Thread(target=lambda c=c, n=n: codes.append(evict(c, n)[0])) for c, n in zip(clients, names)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    report.check("no disruption is spent twice", sorted(codes) == [201] * 3 + [429] * 7, codes)


def check_unhealthy(report, server, admin):
    running(server, admin, "c0", "c", ready=False)
    budget(server, admin, "c", "c", minAvailable=1)
    code, got, _ = evict(admin, "c0")
    report.check("a pod that is not ready counts too", code == 429, got)
    admin.request("PATCH", BUDGETS + "/c", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}},
                  "application/merge-patch+json")
    code, got, _ = evict(admin, "c0")
    report.check("unless its budget lets it go", code == 201, got)
    running(server, admin, "d0", "d")
    budget(server, admin, "d", "d", minAvailable=0)
    budget(server, admin, "d2", "d", minAvailable=0)
    code, got, _ = evict(admin, "d0")
    report.check("two budgets", code == 500 and "more than one PodDisruptionBudget" in got["message"], got)
    code, got, _ = evict(admin, "d0", {"preconditions": {"uid": "x"}})
    report.check("a precondition", code == 409, got)
    code, got, _ = evict(admin, "none")
    report.check("no such pod", code == 404, got)


def main():
    report, server = Report(), Server()
    wait(server, "default", bool, path="/api/v1/namespaces/default/serviceaccounts")
    admin = server.client()
    node(server, admin, "n0")
    for check in (check_budget, check_spent_once, check_unhealthy):
        try:
            check(report, server, admin)
        except Exception as e:
            report.fail(check.__name__, repr(e) + server.tail()[-600:])
    report.end(server)


if __name__ == "__main__":
    main()
