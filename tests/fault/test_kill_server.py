"""kill -9 of the server during writes: what was acknowledged is there, revisions never go back, and a
watch resumes where it stood. NEAP_ROUNDS sets the number of rounds (CI: 20, soak: 500)."""
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import TOP, Report, Server

ROUNDS = int(os.environ.get("NEAP_ROUNDS", "20"))
PATH = "/api/v1/namespaces/default/configmaps"
RELEASE = os.path.join(TOP, "build", "neap")


def writer(server, tag, acknowledged, stop):
    client, i = server.client(), 0
    while not stop.is_set():
        name = "%s-%d" % (tag, i)
        try:
            code, got, _ = client.request("POST", PATH, {"metadata": {"name": name}, "data": {"n": str(i)}})
        except (OSError, http.client.HTTPException):
            return  # killed: nothing was promised
        if code == 201:
            acknowledged[name] = int(got["metadata"]["resourceVersion"])
        i += 1


def events_since(server, revision):
    """What a watch from <revision> tells until now."""
    client = server.client()
    c = http.client.HTTPSConnection("127.0.0.1", server.port, context=client.ssl, timeout=30)
    c.request("GET", PATH + "?watch=1&timeoutSeconds=1&resourceVersion=%d" % revision)
    lines = c.getresponse().read().decode().splitlines()
    c.close()
    return [json.loads(x) for x in lines]


def main():
    report, acknowledged, highest = Report(), {}, 0
    program = RELEASE if os.path.exists(RELEASE) else None
    with tempfile.TemporaryDirectory(prefix="neap-kill-") as directory:
        for n in range(ROUNDS):
            args = {"program": program} if program else {}
            server = Server("sqlite", directory=directory, **args)
            admin = server.client()
            code, got, _ = admin.request("GET", PATH)
            here = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in got["items"]}
            lost = [k for k, v in acknowledged.items() if here.get(k) != v]
            if lost:
                report.fail("round %d" % n, "lost or changed: %s" % lost[:5])
                break
            now = int(got["metadata"]["resourceVersion"])
            if now < highest:
                report.fail("round %d" % n, "the revision went back from %d to %d" % (highest, now))
                break
            if n and n % 10 == 0:
                events = events_since(server, before)
                names = {e["object"]["metadata"]["name"] for e in events if e["type"] == "ADDED"}
                missing = [k for k, v in acknowledged.items() if v > before and k not in names]
                report.check("watch resumes in round %d" % n, not missing, missing[:5])
            before = now
            stop, threads = threading.Event(), []
            for t in range(4):
                threads.append(threading.Thread(target=writer, args=(server, "r%dt%d" % (n, t), acknowledged, stop)))
                threads[-1].start()
            time.sleep(random.uniform(0.02, 0.15))
            server.kill()
            stop.set()
            for t in threads:
                t.join()
            highest = max([highest] + list(acknowledged.values()))
        report.check("%d rounds, %d acknowledged writes" % (ROUNDS, len(acknowledged)), report.failed == 0)
    report.end()


if __name__ == "__main__":
    main()
