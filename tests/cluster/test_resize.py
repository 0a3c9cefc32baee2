"""In-place resize: CPU and memory of running containers, by the resize subresource of unmodified kubectl."""
import glob
import json
import os
import signal
import sys

from onenode import IMAGE, Report, cluster_or_skip, poll


def container(requests, limits, command="exec sleep 100000", **more):
    return dict({"name": "c", "image": IMAGE, "command": ["sh", "-c", command],
                 "resources": {"requests": requests, "limits": limits}}, **more)


def resize(k, name, requests=None, limits=None):
    resources = {x: y for x, y in (("requests", requests), ("limits", limits)) if y}
    return k.run("patch", "pod", name, "--subresource", "resize", "-p",
                 json.dumps({"spec": {"containers": [{"name": "c", "resources": resources}]}}))


def status(k, name):
    return k.get("pod", name)["status"]


def of_container(k, name):
    return (status(k, name).get("containerStatuses") or [{}])[0]


def condition(k, name, kind):
    return ([c for c in status(k, name).get("conditions", []) if c["type"] == kind] or [None])[0]


def cgroup(k, pod, own):
    """(memory limit, CPU quota in us) of the container (<own>) or of the whole pod; None: no limit."""
    uid = pod["metadata"]["uid"]
    tail = "pod%s%s" % (uid, "/%s_c_*" % uid if own else "")

    def read(controller, *names):
        for root in ("/sys/fs/cgroup/" + controller, "/sys/fs/cgroup"):
            for name in names:
                found = sorted(glob.glob("%s/neap-%s/*/%s/%s" % (root, k.instance(), tail, name)))
                if found:
                    with open(found[-1]) as f:
                        return f.read().split()[0]
        return None
    memory, quota = read("memory", "memory.limit_in_bytes", "memory.max"), read("cpu", "cpu.cfs_quota_us", "cpu.max")
    return (None if memory is None or memory == "max" or int(memory) > 1 << 60 else int(memory),
            None if quota in (None, "max", "-1") else int(quota))


def events(k, name):
    return [e["reason"] for e in k.get("events", "--field-selector", "involvedObject.name=" + name)["items"]]


def check_grow(report, k):
    k.apply(k.pod("grow", "", container=container({"cpu": "100m", "memory": "32Mi"}, {"cpu": "200m", "memory": "64Mi"})))
    pod = k.wait_ready("grow")
    s = of_container(k, "grow")
    report.check("what is in force and granted is told", s.get("resources") == pod["spec"]["containers"][0]["resources"]
                 and s.get("allocatedResources") == {"cpu": "100m", "memory": "32Mi"}, s)
    report.check("its cgroup", cgroup(k, pod, True) == (64 << 20, 20000), cgroup(k, pod, True))
    code, _, err = resize(k, "grow", {"cpu": "150m", "memory": "48Mi"}, {"cpu": "500m", "memory": "128Mi"})
    report.check("kubectl patch --subresource resize", code == 0, err)
    grown = poll(lambda: of_container(k, "grow").get("resources", {}).get("limits") == {"cpu": "500m", "memory": "128Mi"})
    s = of_container(k, "grow")
    report.check("the status follows", grown and s["allocatedResources"] == {"cpu": "150m", "memory": "48Mi"}, s)
    report.check("the cgroup does, the pod's too", cgroup(k, pod, True) == cgroup(k, pod, False) == (128 << 20, 50000),
                 (cgroup(k, pod, True), cgroup(k, pod, False)))
    report.check("nothing was started again", s["restartCount"] == 0, s)
    report.check("no condition is left", poll(lambda: not condition(k, "grow", "PodResizeInProgress")
                                              and not condition(k, "grow", "PodResizePending")), status(k, "grow"))
    report.check("events tell of it", poll(lambda: {"ResizeStarted", "ResizeCompleted"} <= set(events(k, "grow"))),
                 events(k, "grow"))
    resize(k, "grow", {"cpu": "50m", "memory": "16Mi"}, {"cpu": "100m", "memory": "40Mi"})
    report.check("and smaller again", poll(lambda: cgroup(k, pod, True) == cgroup(k, pod, False) == (40 << 20, 10000)),
                 (cgroup(k, pod, True), cgroup(k, pod, False), status(k, "grow"), k.tail()))
    poll(lambda: of_container(k, "grow")["resources"]["limits"]["memory"] == "40Mi")
    os.kill(k.pids("agent")[0], signal.SIGKILL)
    poll(lambda: k.pids("agent"))
    resize(k, "grow", {"cpu": "60m"}, {"memory": "44Mi"})
    s = poll(lambda: (lambda c: c if c["allocatedResources"]["cpu"] == "60m" and c["resources"]["limits"]["memory"] == "44Mi"
                      else None)(of_container(k, "grow")))
    report.check("an agent that was away takes it up", s and s["restartCount"] == 0
                 and cgroup(k, pod, True) == (44 << 20, 10000), (of_container(k, "grow"), cgroup(k, pod, True)))
    code, _, err = resize(k, "grow", {"cpu": "100m", "memory": "44Mi"})
    report.check("another QoS class is refused", code and "QOS" in err, err)
    k.kubectl("delete", "pod", "grow", "--now")


def check_restart(report, k):
    policy = [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
              {"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    k.apply(k.pod("again", "", container=container({"cpu": "50m", "memory": "32Mi"}, {"cpu": "100m", "memory": "32Mi"},
                                                   resizePolicy=policy)))
    pod = k.wait_ready("again")
    resize(k, "again", limits={"cpu": "300m"})
    poll(lambda: cgroup(k, pod, True)[1] == 30000)
    report.check("CPU needs no restart", cgroup(k, pod, True) == (32 << 20, 30000)
                 and of_container(k, "again")["restartCount"] == 0, of_container(k, "again"))
    for n, mib in ((1, 48), (2, 56)):
        resize(k, "again", limits={"memory": "%dMi" % mib})
        s = poll(lambda: (lambda c: c if c["restartCount"] == n and c["state"].get("running") else None)(of_container(k, "again")))
        report.check("memory does, by its policy (%d)" % n, s and s["resources"]["limits"]["memory"] == "%dMi" % mib
                     and cgroup(k, pod, True)[0] == mib << 20, (of_container(k, "again"), cgroup(k, pod, True)))
    report.check("and it is over then", poll(lambda: not condition(k, "again", "PodResizeInProgress")), status(k, "again"))
    k.kubectl("delete", "pod", "again", "--now")


def check_refused(report, k):
    capacity = int(k.get("node", "node-1")["status"]["allocatable"]["cpu"]) * 1000
    k.apply(k.pod("wants", "", container=container({"cpu": "100m"}, {"cpu": "200m"})))
    pod = k.wait_ready("wants")
    resize(k, "wants", {"cpu": "%dm" % (capacity + 1)}, {"cpu": "%dm" % (capacity + 1)})
    c = poll(lambda: condition(k, "wants", "PodResizePending"))
    report.check("more than the node has: Infeasible", c and c["status"] == "True" and c["reason"] == "Infeasible"
                 and "capacity: %d" % capacity in c["message"], c)
    s = of_container(k, "wants")
    report.check("what is in force stays", s["allocatedResources"] == {"cpu": "100m"}
                 and s["resources"]["limits"] == {"cpu": "200m"} and cgroup(k, pod, True)[1] == 20000, s)
    resize(k, "wants", {"cpu": "100m"}, {"cpu": "200m"})
    report.check("taken back, it is forgotten", poll(lambda: not condition(k, "wants", "PodResizePending")))
    k.apply(k.pod("big", "", container=container({"cpu": "%dm" % (capacity - 500)}, {})))
    k.wait_ready("big")
    resize(k, "wants", {"cpu": "600m"}, {"cpu": "600m"})
    c = poll(lambda: condition(k, "wants", "PodResizePending"))
    report.check("no room now: Deferred", c and c["reason"] == "Deferred"
                 and "requested: 600, used: %d, capacity: %d" % (capacity - 500, capacity) in c["message"], c)
    k.kubectl("delete", "pod", "big", "--now")
    report.check("granted when another pod has gone", poll(lambda: cgroup(k, pod, True)[1] == 60000
                                                         and not condition(k, "wants", "PodResizePending")), status(k, "wants"))
    k.kubectl("delete", "pod", "wants", "--now")


def check_in_use(report, k):
    k.apply(k.pod("full", "", container=container({"memory": "64Mi"}, {"memory": "64Mi"},
                                                  "x=$(head -c 24000000 /dev/zero | tr '\\0' x); echo full; sleep 100000; true")))
    pod = k.wait_ready("full")
    poll(lambda: "full" in k.run("logs", "full")[1])
    resize(k, "full", limits={"memory": "4Mi"}, requests={"memory": "4Mi"})
    c = poll(lambda: (condition(k, "full", "PodResizeInProgress") or {}).get("reason") == "Error"
             and condition(k, "full", "PodResizeInProgress"))
    report.check("a limit below what is in use is not set", c and "below current usage" in c["message"]
                 and cgroup(k, pod, True)[0] == 64 << 20 and of_container(k, "full")["restartCount"] == 0, (c, status(k, "full")))
    resize(k, "full", limits={"memory": "96Mi"}, requests={"memory": "96Mi"})
    report.check("another wish takes its place", poll(lambda: cgroup(k, pod, True)[0] == 96 << 20
                                                     and not condition(k, "full", "PodResizeInProgress")), status(k, "full"))
    k.kubectl("delete", "pod", "full", "--now")


def main():
    report = Report()
    k = cluster_or_skip("resize")
    try:
        for check in (check_grow, check_restart, check_refused, check_in_use):
            try:
                check(report, k)
            except Exception as e:
                report.fail(check.__name__, repr(e))
    finally:
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
