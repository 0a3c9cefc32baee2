"""Watchers and writers over HTTP while the server is killed -9 now and then: each watcher's history, put together over
its resumes, has no gap, no duplicate and the right order, or an explicit 410; an update that names a resourceVersion
won only if that was the current one; a slow watcher costs the fast ones nothing. NEAP_ROUNDS sets the rounds."""
import http.client
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import Report, Server
from test_kill_server import PATH, RELEASE

ROUNDS = min(int(os.environ.get("NEAP_ROUNDS", "6")), 60)
COUNTER = PATH + "/counter"
BROKEN = (OSError, http.client.HTTPException)
OPTIONS = ["--controllers", "false", "--scheduler", "false", "--bookmark-interval", "1s"]


def connect(server, timeout=30):
    return http.client.HTTPSConnection("127.0.0.1", server.port, context=server.client().ssl, timeout=timeout)


class Watcher(threading.Thread):
    """Follows the collection, over kills: server() says whom to ask now."""

    def __init__(self, server, selector=""):
        super().__init__(daemon=True)
        self.server, self.selector, self.stopped = server, selector, threading.Event()
        self.events, self.late, self.wrong = [], 0, []
        self.revision = None

    def list(self, server):
        code, got, _ = server.client().request("GET", PATH + "?" + self.selector)
        assert code == 200, got
        self.revision = int(got["metadata"]["resourceVersion"])
        self.events = [("LIST", int(o["metadata"]["resourceVersion"]), o["metadata"]["name"]) for o in got["items"]]

    def take(self, line):
        event = json.loads(line)
        if event["type"] == "ERROR":
            assert event["object"]["code"] == 410, event
            self.late, self.revision = self.late + 1, None
            return False
        revision = int(event["object"]["metadata"]["resourceVersion"])
        if revision < self.revision or (revision == self.revision and event["type"] != "BOOKMARK"):
            self.wrong.append((event["type"], revision, self.revision))
        self.revision = revision
        if event["type"] != "BOOKMARK":
            self.events.append((event["type"], revision, event["object"]["metadata"]["name"]))
        return True

    def run(self):
        while not self.stopped.is_set():
            server = self.server()
            try:
                if self.revision is None:
                    self.list(server)
                c = connect(server, 3)
                c.request("GET", PATH + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%d&%s"
                          % (random.randrange(1, 4), self.revision, self.selector))
                r = c.getresponse()
                if r.status == 410:
                    self.late, self.revision = self.late + 1, None
                    continue
                while not self.stopped.is_set():
                    line = r.readline()
                    if not line.endswith(b"\n") or not self.take(line):  # cut off in the middle: not an event
                        break
                c.close()
            except (*BROKEN, ValueError):
                time.sleep(0.02)


def writer(server, tag, log, stop):
    """Makes, changes and deletes; log: (name, revision, what) of what was acknowledged."""
    client, i = server.client(), 0
    while not stop.is_set():
        name, i = "%s-%d" % (tag, i), i + 1
        try:
            body = {"metadata": {"name": name, "labels": {"half": str(i % 2)}}}
            code, got, _ = client.request("POST", PATH, body)
            if code == 201:
                log.append((name, int(got["metadata"]["resourceVersion"]), "ADDED"))
            if i % 3 == 0 and client.request("DELETE", PATH + "/" + name)[0] == 200:
                log.append((name, None, "DELETED"))
        except BROKEN:
            return


def incrementer(server, won, stop):
    """Reads, adds one, writes with the resourceVersion that it read."""
    client = server.client()
    while not stop.is_set():
        try:
            _, o, _ = client.request("GET", COUNTER)
            base, value = o["metadata"]["resourceVersion"], int(o["data"]["n"])
            o["data"]["n"] = str(value + 1)
            code, got, _ = client.request("PUT", COUNTER, o)
            if code == 200:
                won.append((base, value + 1, got["metadata"]["resourceVersion"]))
            elif code != 409:
                won.append(("code", code, got))
        except (*BROKEN, KeyError):
            return


def check_counter(report, won, value, kills, writers):
    bases = [b for b, _, _ in won]
    report.check("an update won only over what was current", len(set(bases)) == len(bases) and "code" not in bases,
                 [w for w in won if w[0] == "code"][:3])
    values = sorted(v for _, v, _ in won)
    report.check("no update was lost", len(set(values)) == len(values) and value >= len(values) and
                 value <= len(values) + kills * writers, (value, len(values)))


def check_history(report, title, watcher, log, final):
    report.check(title + ": in order, nothing twice", not watcher.wrong, watcher.wrong[:3])
    there, dead = {}, set()
    for kind, revision, name in watcher.events:
        if kind in ("ADDED", "LIST") and name in there:
            report.fail(title, "%s is added twice" % name)
        if kind == "DELETED" and there.pop(name, None) is None:
            report.fail(title, "%s is deleted, but was not there" % name)
        if kind == "DELETED":
            dead.add(name)
        else:
            there[name] = revision
    report.check(title + ": what it knows is what is there", there == final, (len(there), len(final),
                 list(set(there.items()) ^ set(final.items()))[:5]))
    if not watcher.late:
        missing = [n for n, _, what in log if n not in there and n not in dead]
        report.check(title + ": all that was acknowledged", bool(watcher.selector) or not missing, missing[:5])


def check_kills(report, directory, program):
    args = dict({"program": program} if program else {}, args=OPTIONS)
    current = [Server("sqlite", directory=directory, **args)]
    current[0].client().request("POST", PATH, {"metadata": {"name": "counter"}, "data": {"n": "0"}})
    watchers = [Watcher(lambda: current[0]), Watcher(lambda: current[0]), Watcher(lambda: current[0], "labelSelector=half%3D1")]
    for w in watchers:
        w.start()
    log, won = [], []
    for n in range(ROUNDS):
        stop = threading.Event()
        threads = [threading.Thread(target=writer, args=(current[0], "r%dt%d" % (n, t), log, stop)) for t in range(3)]
        threads += [threading.Thread(target=incrementer, args=(current[0], won, stop)) for _ in range(2)]
        for t in threads:
            t.start()
        time.sleep(random.uniform(0.1, 0.4))
        current[0].kill()
        stop.set()
        for t in threads:
            t.join()
        current[0] = Server("sqlite", directory=directory, **args)
    server = current[0]
    code, got, _ = server.client().request("GET", PATH)
    revision = int(got["metadata"]["resourceVersion"])
    until = time.monotonic() + 20
    while any((w.revision or 0) < revision for w in watchers) and time.monotonic() < until:
        time.sleep(0.05)
    for w in watchers:
        w.stopped.set()
    for w in watchers:
        w.join()
    final = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in got["items"]}
    half = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in got["items"]
            if o["metadata"].get("labels", {}).get("half") == "1"}
    for i, w in enumerate(watchers):
        check_history(report, "watcher %d" % i, w, log, half if w.selector else final)
    counter = next(o for o in got["items"] if o["metadata"]["name"] == "counter")
    check_counter(report, won, int(counter["data"]["n"]), ROUNDS, 2)
    report.check("%d kills, %d writes, %d updates" % (ROUNDS, len(log), len(won)), log and won)
    server.kill()


# ---- slow and late ones ----

def resident(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(x.split()[1]) // 1024 for x in f if x.startswith("VmRSS"))


def check_slow(report):
    """One reads nothing while 30 MB of events pass by; it is ended, with the reason or without, and the memory is bounded."""
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"
    server = Server(args=OPTIONS + ["--history-bytes", "1048576", "--write-stall-timeout", "2s"])
    admin = server.client()
    admin.request("POST", PATH, {"metadata": {"name": "big"}, "data": {"x": ""}})
    slow = connect(server)
    slow.connect()
    slow.request("GET", PATH + "?watch=1")
    fast = Watcher(lambda: server)
    fast.start()
    before, peak = resident(server.process.pid), 0
    for i in range(200):
        admin.request("PUT", PATH + "/big", {"metadata": {"name": "big"}, "data": {"x": str(i) * 60000}})
        peak = max(peak, resident(server.process.pid))
    code, got, _ = admin.request("GET", PATH + "/big")
    last = int(got["metadata"]["resourceVersion"])
    until = time.monotonic() + 10
    while (fast.revision or 0) < last and time.monotonic() < until:
        time.sleep(0.02)
    report.check("a slow watcher: a fast one has everything", fast.revision == last and not fast.wrong, fast.wrong[:3])
    report.check("a slow watcher: memory", peak - before < 150, (before, peak))
    fast.stopped.set()
    time.sleep(3)  # beyond the time in which a client may take nothing
    data = b""
    slow.sock.settimeout(5)
    try:
        while True:
            got = slow.sock.recv(1 << 16)
            if not got:
                break
            data += got
        ended = True
    except socket.timeout:
        ended = False
    except OSError:
        ended = True
    lines = data[data.find(b"\r\n\r\n"):].split(b"\n")
    told = any(b'"code":410' in x for x in lines[-4:])  # unless it took nothing at all for too long
    report.check("a slow watcher is ended", ended and (told or len(data) < 16 << 20), (len(data), data[-200:]))
    fast.join()
    return server, admin


def check_boundary(report, server, admin):
    """History is forgotten at a revision: a watch that starts there misses nothing, one before it is told 410."""
    names = ["b%d" % i for i in range(6)]
    revisions = []
    for n in names:
        code, got, _ = admin.request("POST", PATH, {"metadata": {"name": n}})
        revisions.append(int(got["metadata"]["resourceVersion"]))
    admin.request("DELETE", PATH + "/" + names[-1])
    code, page, _ = admin.request("GET", PATH + "?limit=2")
    token = page["metadata"]["continue"]
    for i in range(40):  # 2.4 MB: what was before is gone
        admin.request("PUT", PATH + "/big", {"metadata": {"name": "big"}, "data": {"x": str(i % 10) * 60000}})

    def first(revision):
        c = connect(server)
        c.request("GET", PATH + "?watch=1&timeoutSeconds=1&resourceVersion=%d" % revision)
        r = c.getresponse()
        lines = r.read().decode().splitlines()
        c.close()
        return r.status, [json.loads(x) for x in lines]

    status, got = first(revisions[0])
    report.check("too late: 410", status == 410 or (got and got[0]["type"] == "ERROR" and got[0]["object"]["code"] == 410),
                 (status, got[:1]))
    code, got, _ = admin.request("GET", PATH + "?limit=2&continue=" + token)
    report.check("a page of what was forgotten: the same revision, or 410", code == 410 or (
        code == 200 and got["metadata"]["resourceVersion"] == page["metadata"]["resourceVersion"]), (code, got))
    code, got, _ = admin.request("DELETE", PATH + "/" + names[0])
    code, now, _ = admin.request("GET", PATH)
    at = int(now["metadata"]["resourceVersion"])
    status, got = first(at - 1)
    report.check("a deletion at the very revision", status == 200 and got and got[0]["type"] == "DELETED" and
                 got[0]["object"]["metadata"]["resourceVersion"] == str(at), (status, got[:1]))
    status, got = first(at)
    report.check("nothing after the newest", status == 200 and not [e for e in got if e["type"] != "BOOKMARK"], got[:1])


def main():
    report = Report()
    with tempfile.TemporaryDirectory(prefix="neap-watch-") as directory:
        check_kills(report, directory, RELEASE if os.path.exists(RELEASE) else None)
    server, admin = check_slow(report)
    check_boundary(report, server, admin)
    report.end(server)


if __name__ == "__main__":
    main()
