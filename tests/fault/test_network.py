"""A network plugin that attaches nothing (hollow pods have no network namespace): what fails is tried again ever more
slowly, its Events are counted instead of made anew, and the agent ends cleanly in the middle of it."""
import collections
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from cluster import NEAP, Report, Server
from onenode import poll, why_not

LIMIT_S = 120  # read by tests/run.py
NODES, PODS, BURST = 3, 30, 25
POD = {"spec": {"containers": [{"name": "c", "image": "none.local/x:1"}]}}


def events(client):
    return [e for e in client.request("GET", "/api/v1/namespaces/default/events")[1]["items"]
            if e["reason"] == "FailedCreatePodSandBox"]


def counted(client):
    """Every pod has failed three times and that is told."""
    got = collections.Counter()
    for e in events(client):
        got[e["involvedObject"]["name"]] += e["count"]
    return len(got) == PODS and min(got.values()) >= 3


def create(client, name):
    """Refused until the namespace has its service account."""
    poll(lambda: client.request("POST", "/api/v1/namespaces/default/pods", dict(POD, metadata={"name": name}))[0] == 201)


def check_failing(report, server, log):
    client = server.client()
    for i in range(PODS):
        create(client, "p%d" % i)
    began = time.monotonic()
    report.check("failures are told and counted", poll(lambda: counted(client), 40), events(client)[:3])
    took = time.monotonic() - began
    with open(log) as f:
        tries = collections.Counter(x.split("pod=")[1].split()[0] for x in f if "a step of a pod failed" in x)
    # after 0, 1, 3, 7, 15, 31 s
    report.check("tries grow rare", len(tries) == PODS and max(tries.values()) <= int(took + 2).bit_length() + 1,
                 (took, tries))
    made = collections.Counter((e["involvedObject"]["name"], e["message"]) for e in events(client))
    report.check("an event is made once", max(made.values()) == 1, made.most_common(3))


def check_deleted(report, server):
    client = server.client()
    client.request("DELETE", "/api/v1/namespaces/default/pods")
    left = lambda: client.request("GET", "/api/v1/namespaces/default/pods")[1]["items"]  # noqa: E731
    report.check("pods that never came up can be deleted", poll(lambda: not left(), 40), left()[:1])


def check_end(report, server, agent, log):
    """Requests of every kind are under way: the server, stopped, answers none of them."""
    for i in range(PODS):
        create(server.client(), "q%d" % i)
    server.process.send_signal(signal.SIGSTOP)
    with open(log) as f:
        f.seek(0, os.SEEK_END)
        report.check("the agent goes on without an answer", poll(lambda: "a step of a pod failed" in f.read(), 20))
    agent.send_signal(signal.SIGTERM)
    code = agent.wait(30)
    server.process.send_signal(signal.SIGCONT)
    with open(log) as f:
        report.check("the agent ends cleanly in the middle of it", code == 0, (code, f.read()[-4000:]))


def main():
    report, word = Report(), why_not()
    if word:
        print("skip network: " + word)
        return
    if "inside" not in sys.argv:  # a network namespace that goes with us
        os.execvp("unshare", ["unshare", "-n", sys.executable, os.path.abspath(__file__), "inside"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = Server()
    log = os.path.join(server.dir, "agent.log")
    with open(log, "wb") as f:
        agent = subprocess.Popen(
            [NEAP, "agent", "--data-dir", server.dir + "/agent", "--kubeconfig", server.dir + "/admin.kubeconfig",
             "--runtime", "hollow", "--network", "veth", "--proxy", "none",
             "--node-name", "n", "--hollow-nodes", str(NODES), "--agent-port", "0", "--pod-cidr", "10.128.0.0/12"],
            stderr=f, stdout=subprocess.DEVNULL)
    try:
        check_failing(report, server, log)
        check_deleted(report, server)
        check_end(report, server, agent, log)
    finally:
        agent.kill()
    report.end(server)


if __name__ == "__main__":
    main()
