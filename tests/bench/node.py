#!/usr/bin/python3
"""A node's figures: pods from create to Ready, one by one and many at once; memory of the agent and of a pod; idle CPU.

  scons && /usr/bin/python3 tests/bench/node.py [--pods 30] [--idle 20]

Real containers on a cluster of its own in a network namespace; as root. A pod is created by POST and seen Ready on a
watch; memory is PSS (a page that processes share is counted once, in parts)."""
import argparse
import base64
import http.client
import json
import os
import re
import ssl
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../cluster"))
from onenode import OneNode, why_not  # noqa: E402

PODS = "/api/v1/namespaces/default/pods"
LIMIT_S = 60


class Api:
    def __init__(self, cluster):
        with open(cluster.kubeconfig, encoding="ascii") as f:
            text = f.read()
        self.port = cluster.port
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        with tempfile.NamedTemporaryFile() as pem:
            for key in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(re.search(key + r": (\S+)", text)[1]) + b"\n")
            pem.flush()
            self.context.load_cert_chain(pem.name)

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=LIMIT_S)

    def request(self, connection, method, path, body=None):
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return json.load(connection.getresponse())


class Watch(threading.Thread):
    """When each pod was seen Ready first, and when it was gone."""

    def __init__(self, api, revision):
        super().__init__(daemon=True)
        self.ready, self.gone, self.changed = {}, {}, threading.Condition()
        self.connection = api.connect()
        self.connection.request("GET", "%s?watch=1&resourceVersion=%s" % (PODS, revision))
        self.answer = self.connection.getresponse()
        self.start()

    def run(self):
        for line in self.answer:
            now, event = time.monotonic(), json.loads(line)
            pod = event["object"]
            name = pod["metadata"]["name"]
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            with self.changed:
                if event["type"] == "DELETED":
                    self.gone[name] = now
                elif is_ready:
                    self.ready.setdefault(name, now)
                self.changed.notify_all()

    def wait(self, which, names):
        with self.changed:
            if not self.changed.wait_for(lambda: set(names) <= set(which), LIMIT_S):
                sys.exit("not all pods came: %s" % sorted(set(names) - set(which)))


def pss_kb(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M)[1])
    return total


def cpu_s(pids):
    ticks = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid, encoding="ascii") as f:
            ticks += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def own(cluster):
    """Processes of neap itself: server, agent, their parent."""
    return [p for part in ("server", "agent", "up") for p in cluster.pids(part)]


def shims(cluster):
    found = []
    for pid in [int(x) for x in os.listdir("/proc") if x.isdigit()]:
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as f:
                line = f.read()
        except OSError:
            continue
        if b"neap-shim" in line and cluster.dir.encode() in line:
            found.append(pid)
    return found


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=30)
    parser.add_argument("--idle", type=float, default=20, help="seconds")
    args = parser.parse_args()
    if why_not():
        sys.exit("needs " + why_not())
    cluster = OneNode(variant="release")
    try:
        measure(cluster, args)
    finally:
        cluster.stop()
        cluster.close()


def measure(cluster, args):
    api = Api(cluster)
    connection = api.connect()
    revision = api.request(connection, "GET", PODS)["metadata"]["resourceVersion"]
    watch = Watch(api, revision)

    def create(name):
        since = time.monotonic()
        api.request(connection, "POST", PODS, cluster.pod(name, "exec sleep 100000"))
        return since

    time.sleep(5)  # what a start still does is done by then
    before = cpu_s(own(cluster))
    time.sleep(args.idle)
    print("idle CPU of server and agent: %.3f %% of a core" % (100 * (cpu_s(own(cluster)) - before) / args.idle))
    print("agent, no pods: %.1f MB PSS; server: %.1f MB" % (pss_kb(cluster.pids("agent")) / 1000,
                                                           pss_kb(cluster.pids("server")) / 1000), flush=True)
    took = []
    for i in range(args.pods):
        name = "one-%d" % i
        since = create(name)
        watch.wait(watch.ready, [name])
        took.append(watch.ready[name] - since)
    print("create to Ready, one by one, %d pods: p50 %.0f ms, p99 %.0f ms" % (
        args.pods, percentile(took, 0.5), percentile(took, 0.99)))
    print("agent with %d pods: %.1f MB PSS; a pod's shim: %.2f MB" % (
        args.pods, pss_kb(cluster.pids("agent")) / 1000, pss_kb(shims(cluster)) / 1000 / args.pods), flush=True)
    cluster.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
    watch.wait(watch.gone, ["one-%d" % i for i in range(args.pods)])
    begun = {name: create(name) for name in ["many-%d" % i for i in range(args.pods)]}
    watch.wait(watch.ready, begun)
    took = [watch.ready[n] - t for n, t in begun.items()]
    print("%d pods at once: p50 %.0f ms, p99 %.0f ms; all after %.0f ms" % (
        args.pods, percentile(took, 0.5), percentile(took, 0.99),
        1000 * (max(watch.ready[n] for n in begun) - min(begun.values()))))


if __name__ == "__main__":
    main()
