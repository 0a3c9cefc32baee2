"""Kubernetes' own scheduler on a neap whose scheduler is switched off: it elects itself, watches, binds, and says why
it does not."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "api"))
import suite  # noqa: E402
from cluster import Report, Server  # noqa: E402
from test_scheduler import bound, make, node, pod, told, wait  # noqa: E402

LIMIT_S = 1800  # read by tests/run.py: with Go and an empty cache the scheduler is built first
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


class Scheduler:
    """kube-scheduler as anybody runs it: one kubeconfig, protobuf, leader election."""

    def __init__(self, server):
        self.log = open(os.path.join(server.dir, "kube-scheduler.log"), "wb")
        config = os.path.join(server.dir, "admin.kubeconfig")
        self.process = subprocess.Popen(
            [suite.build()["kube-scheduler"], "--kubeconfig=" + config, "--authentication-kubeconfig=" + config,
             "--authorization-kubeconfig=" + config, "--secure-port=0", "--leader-elect=true",
             "--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=1s"],
            stdout=self.log, stderr=subprocess.STDOUT)

    def said(self):
        with open(self.log.name, errors="replace") as f:
            return f.read()[-2000:]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def check(report, server, scheduler):
    admin = server.client()
    nodes = ["n%d" % i for i in range(3)]
    for name in nodes:
        node(server, admin, name)
    holder = wait(server, "kube-scheduler", lambda l: l.get("spec", {}).get("holderIdentity"), 30, LEASE)
    report.check("it is elected by a Lease", holder.get("spec", {}).get("holderIdentity"), scheduler.said())
    names = ["p%d" % i for i in range(9)]
    make(admin, *[pod(n, cpu="500m") for n in names])
    where = [bound(wait(server, n, bound)) for n in names]
    report.check("it binds pods, the same number to each node", sorted(where) == sorted(nodes * 3), where)
    make(admin, pod("big", cpu="64"))
    why = told(wait(server, "big", told)) or ""
    report.check("why a pod does not fit", why.startswith("0/3 nodes are available: 3 Insufficient cpu."), why)
    found = admin.request("GET", "/api/v1/namespaces/default/events?fieldSelector=reason%3DScheduled")[1]["items"]
    report.check("its events", {e["involvedObject"]["name"] for e in found} == set(names) and
                 {e.get("reportingComponent") for e in found} == {"default-scheduler"}, found[:1])
    scheduler.process.kill()
    scheduler.process.wait()
    second = Scheduler(server)
    try:
        make(admin, pod("late"))
        report.check("another one takes over after its death", bound(wait(server, "late", bound, 40)), second.said())
    finally:
        second.stop()


def main():
    word = suite.why_not()
    if word:
        print("skip kube-scheduler: " + word)
        return
    report = Report()
    server = Server(args=["--scheduler=false"])
    wait(server, "default", bool, path="/api/v1/namespaces/default/serviceaccounts")
    scheduler = Scheduler(server)
    try:
        check(report, server, scheduler)
    finally:
        scheduler.stop()
    report.end(server)


if __name__ == "__main__":
    main()
