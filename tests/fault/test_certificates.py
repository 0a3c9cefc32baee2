"""Certificates of a few seconds: the server renews its own, the kubeconfigs and what it shows to agents while it serves,
an agent takes its new one from the file; nobody who reads his kubeconfig again sees a failure, and an old one ends."""
import base64
import os
import re
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from cluster import NEAP, Report, Server
from onenode import poll, why_not
from test_kill_server import PATH

LIFE_S = 10
NODE = "/api/v1/nodes/n"
PODS = "/api/v1/namespaces/default/pods"


def shown(server, port):
    """The certificate that a port shows: verified by the cluster's CA, whatever its name."""
    context = server.context()
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", port), 10) as s, context.wrap_socket(s) as t:
        return t.getpeercert()["serialNumber"], t.getpeercert(True)


def fresh(server):
    """A client with what the kubeconfig says now."""
    with open(os.path.join(server.dir, "admin.kubeconfig")) as f:
        text = f.read()
    for key, name in (("client-certificate-data", "cert.pem"), ("client-key-data", "key.pem")):
        with open(os.path.join(server.dir, name), "wb") as f:
            f.write(base64.b64decode(re.search(key + r": (\S+)", text)[1]))
    return server.client()


def start_agent(server, log):
    """Not without root."""
    if why_not():
        return None
    return subprocess.Popen(
        [NEAP, "agent", "--data-dir", server.dir + "/agent", "--kubeconfig", server.dir + "/agent.kubeconfig", "--runtime",
         "hollow", "--network", "none", "--proxy", "none", "--node-name", "n", "--agent-port", "0"],
        stderr=log, stdout=subprocess.DEVNULL)


def agent_port(server):
    code, got, _ = fresh(server).request("GET", NODE)
    return code == 200 and got["status"].get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")


def refused(client):
    try:
        return client.request("GET", PATH)[0] in (401, 403)
    except (ssl.SSLError, OSError):
        return True


def check(report, server, agent):
    begun = time.monotonic()
    old_client, kept, failures = server.client(), server.client(), []
    kept.request("GET", PATH)  # stays connected
    first = shown(server, server.port)[0]
    port = poll(lambda: agent_port(server), 20) if agent else None
    first_agent = shown(server, port)[0] if agent else None
    while time.monotonic() - begun < LIFE_S + 3:
        try:
            if fresh(server).request("GET", PATH)[0] != 200:
                failures.append(time.monotonic() - begun)
        except (ssl.SSLError, OSError) as e:
            failures.append((time.monotonic() - begun, e))
        time.sleep(0.05)
    report.check("new connections never fail", not failures, failures[:3])
    report.check("the server's certificate is another", shown(server, server.port)[0] != first)
    report.check("a client that is connected goes on", kept.request("GET", PATH)[0] == 200)
    report.check("the first kubeconfig has expired", refused(old_client))
    if agent:
        report.check("the agent's certificate is another", shown(server, port)[0] != first_agent)
        admin = fresh(server)
        admin.request("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        admin.request("POST", PODS, {"metadata": {"name": "p"}, "spec": {
            "nodeName": "n", "containers": [{"name": "c", "image": "none.local/x:1"}]}})
        got = poll(lambda: [x for x in [admin.request("GET", PODS + "/p/log")] if "no logs available" in str(x)], 20)
        report.check("the API server reaches the agent", got, admin.request("GET", PODS + "/p/log"))  # those are its words
        agent.terminate()
        report.check("the agent's end", agent.wait(20) == 0, agent.returncode)
    else:
        print("skip certificates of an agent: " + why_not())


def main():
    report = Report()
    server = Server(args=["--controllers", "false", "--scheduler", "false", "--certificate-lifetime", "%ds" % LIFE_S,
                          "--node-name", "n"])
    with open(os.path.join(server.dir, "agent.log"), "wb") as log:
        agent = start_agent(server, log)
        try:
            check(report, server, agent)
        finally:
            if agent:
                agent.kill()
                agent.wait()
    with open(os.path.join(server.dir, "agent.log"), errors="replace") as f:
        text = f.read()
    report.check("no sanitizer speaks in the agent", "Sanitizer" not in text and "runtime error" not in text, text[-2000:])
    report.end(server)


if __name__ == "__main__":
    main()
