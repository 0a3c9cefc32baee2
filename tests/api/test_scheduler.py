"""The scheduler in a real server: bindings, words, gates, preemption, policies in Lua, the switch."""
import http.client
import json
import os

from cluster import Report, Server, TOP

PODS = "/api/v1/namespaces/default/pods"
READY = [{"type": "Ready", "status": "True", "reason": "KubeletReady",
          "lastTransitionTime": "2026-01-01T00:00:00Z"}]


def pod(name, cpu="0", annotations=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations or {}},
            "spec": dict({"containers": [{"name": "c", "image": "x",
                                          "resources": {"requests": {"cpu": cpu}}}]}, **spec)}


def node(server, admin, name, cpu="4", labels=None):
    """A node that its controller has found ready."""
    admin.request("POST", "/api/v1/nodes", {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": dict({"kubernetes.io/hostname": name}, **(labels or {}))},
        "spec": {}})
    size = {"cpu": cpu, "memory": "8Gi", "pods": "20"}
    code, body, _ = admin.request("PATCH", "/api/v1/nodes/%s/status" % name,
                                  {"status": {"capacity": size, "allocatable": size, "conditions": READY}},
                                  "application/merge-patch+json")
    assert code == 200, body
    wait(server, name, lambda n: not n["spec"].get("taints"), path="/api/v1/nodes")


def wait(server, name, want, seconds=20, path=PODS):
    """The pod (or what is at <path>) once <want>(pod) holds; its last state when it never does."""
    c = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.client().ssl, timeout=60)
    c.request("GET", path + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
              "&allowWatchBookmarks=true&fieldSelector=metadata.name%%3D%s&timeoutSeconds=%d" % (name, seconds))
    last = {}
    for line in c.getresponse():
        event = json.loads(line)
        if event["type"] == "BOOKMARK":
            continue
        last = event["object"] if event["type"] != "DELETED" else {}
        if want(last):
            break
    c.close()
    return last


def bound(p):
    return p.get("spec", {}).get("nodeName")


def told(p):
    for c in p.get("status", {}).get("conditions", []):
        if c["type"] == "PodScheduled" and c["status"] == "False":
            return c["message"]
    return None


def start(*args):
    """A server whose controllers have made the account that pods need."""
    server = Server(args=args)
    wait(server, "default", bool, path="/api/v1/namespaces/default/serviceaccounts")
    return server


def make(admin, *pods):
    for p in pods:
        code, body, _ = admin.request("POST", PODS, p)
        assert code == 201, body


def check_basics(report, server, admin):
    node(server, admin, "n1")
    node(server, admin, "n2", labels={"disk": "ssd"})
    make(admin, pod("plain"), pod("ssd", nodeSelector={"disk": "ssd"}), pod("big", "9"),
         pod("mine", schedulerName="mine"), pod("gated", schedulingGates=[{"name": "example.com/x"}]))
    report.check("a pod gets a node", bound(wait(server, "plain", bound)))
    report.check("node selector", bound(wait(server, "ssd", bound)) == "n2")
    big = told(wait(server, "big", told))
    report.check("why a pod does not fit", big ==
                 "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 "
                 "Preemption is not helpful for scheduling.", big)
    gated = wait(server, "gated", told)
    report.check("a gated pod says so",
                 [c["reason"] for c in gated["status"]["conditions"]] == ["SchedulingGated"], gated["status"])
    admin.request("PATCH", PODS + "/gated", {"spec": {"schedulingGates": None}}, "application/merge-patch+json")
    report.check("a pod without gates gets a node", bound(wait(server, "gated", bound)))
    node(server, admin, "n3", cpu="10")
    report.check("a pod is tried again when a node fits it", bound(wait(server, "big", bound)) == "n3")
    report.check("another scheduler's pod is left alone",
                 not bound(admin.request("GET", PODS + "/mine")[1]))
    code, events, _ = admin.request("GET", "/api/v1/namespaces/default/events?fieldSelector="
                                    "involvedObject.name%3Dbig,reason%3DFailedScheduling")
    report.check("an event says why", [e["message"] for e in events["items"]] == [big], events)


def check_preemption(report, server, admin):
    admin.request("POST", "/apis/scheduling.k8s.io/v1/priorityclasses",
                  {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"},
                   "value": 1000})
    make(admin, pod("victim", "3", nodeSelector={"kubernetes.io/hostname": "n1"}))
    report.check("the victim runs", bound(wait(server, "victim", bound)) == "n1")
    make(admin, pod("vip", "3", priorityClassName="high", nodeSelector={"kubernetes.io/hostname": "n1"}))
    vip = wait(server, "vip", lambda p: p.get("status", {}).get("nominatedNodeName"))
    report.check("the node is promised", vip["status"].get("nominatedNodeName") == "n1", vip)
    victim = wait(server, "victim", lambda p: p.get("metadata", {}).get("deletionTimestamp"))
    report.check("the victim ends with grace", victim.get("metadata", {}).get("deletionTimestamp") and
                 victim["metadata"].get("deletionGracePeriodSeconds") == 30, victim.get("metadata"))
    report.check("the victim knows why", "PreemptionByScheduler" in
                 [c.get("reason") for c in victim["status"]["conditions"]], victim["status"])
    admin.request("DELETE", PODS + "/victim", {"kind": "DeleteOptions", "apiVersion": "v1",
                                               "gracePeriodSeconds": 0})
    report.check("the pod gets the place", bound(wait(server, "vip", bound)) == "n1")


def check_metrics(report, admin):
    text = admin.request("GET", "/metrics")[1]
    for name in ('scheduler_schedule_attempts_total{result="scheduled",profile="default-scheduler"}',
                 "scheduler_scheduling_attempt_duration_seconds_count", "scheduler_pod_scheduling_attempts_sum",
                 "scheduler_preemption_victims_count", "scheduler_queue_incoming_pods_total"):
        report.check("metric " + name, name in text)


def check_policies(report):
    server = start("--scheduler-script-dir", os.path.join(TOP, "contrib/examples/scheduler"))
    admin = server.client()
    for i in range(4):
        node(server, admin, "n%d" % i, labels={"disk": "ssd"} if i == 2 else {})
    names = ["p%d" % i for i in range(4)]
    make(admin, *[pod(n, annotations={"scheduling.example.com/prefer": "disk=ssd"}) for n in names])
    where = [bound(wait(server, n, bound)) for n in names]
    report.check("a Lua policy decides", where == ["n2"] * 4, where)
    report.check("the server with policies ends well", server.stop() == 0, server.tail())


def check_switch(report):
    server = start("--scheduler=false")
    admin = server.client()
    node(server, admin, "n1")
    make(admin, pod("a"))
    report.check("no scheduler: no node", not bound(wait(server, "a", bound, 1)))
    admin.request("POST", PODS + "/a/binding",
                  {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"},
                   "target": {"kind": "Node", "name": "n1"}})
    report.check("another scheduler binds", bound(wait(server, "a", bound)) == "n1")
    report.check("the server without a scheduler ends well", server.stop() == 0, server.tail())


def check_bad_options(report):
    for option, says in (("--scheduler-disabled=Nothing", 'there is no scheduler plugin "Nothing"'),
                         ("--scheduler-weights=NodeName=no", "is not NAME=WEIGHT"),
                         ("--scheduler-plugins=absent", "scheduler/absent.so")):
        try:
            Server(args=[option]).stop()
            report.fail("refused: " + option, "it started")
        except RuntimeError as e:
            report.check("refused: " + option, says in str(e), e)


def main():
    report = Report()
    server = start()
    admin = server.client()
    check_basics(report, server, admin)
    check_preemption(report, server, admin)
    check_metrics(report, admin)
    check_policies(report)
    check_switch(report)
    check_bad_options(report)
    report.end(server)


if __name__ == "__main__":
    main()
