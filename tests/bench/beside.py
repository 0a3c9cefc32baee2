#!/usr/bin/python3
"""neap beside the real kube-apiserver and etcd: the same clients, the same machine, one run, alternating (A B A B).

  scons && /usr/bin/python3 tests/bench/beside.py --kube-apiserver PATH --etcd PATH --client PATH [--rounds 3] [--port 12100]

Prints one Markdown table: the median of the rounds for neap and for the peer, and their ratio. Both are loaded in turn, never
at once, while the other one idles. All traffic is on 127.0.0.1; both write to folders beside each other (--dir), with fsync.
neap runs `neap server` as it comes (sqlite, scheduler and controllers on); the peer is kube-apiserver and etcd alone.

How to build what it runs (outside the tree; Go's module proxy is all it needs):
  kube-apiserver: a go.mod with `require k8s.io/kubernetes v1.37.2` and, for each k8s.io/... that its own go.mod replaces,
      `replace k8s.io/... => k8s.io/... v0.37.2`; a file that imports _ "k8s.io/kubernetes/cmd/kube-apiserver/app";
      go mod tidy && go build k8s.io/kubernetes/cmd/kube-apiserver
  etcd: a go.mod with `require go.etcd.io/etcd/server/v3 v3.7.0` and a main.go of one call, etcdmain.Main(os.Args) of
      "go.etcd.io/etcd/server/v3/etcdmain"; go mod tidy && go build -o etcd .
  --client: any program with the verbs create, get and watch of shared/bench (go build . in its folder).
  tests/bench/client is built into --dir by this script (go build). h2load (nghttp2-client) is used when it is there.
"""
import argparse
import base64
import json
import os
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
START_LIMIT_S = 60
PROTOBUF = "application/vnd.kubernetes.protobuf"


class Side:
    """A server under test: its processes, and how clients reach it."""

    def __init__(self, name, folder, port):
        self.name, self.dir, self.port, self.processes = name, folder, port, []
        self.url = "https://127.0.0.1:%d" % port
        self.cert, self.key = folder + "/admin.crt", folder + "/admin.key"

    def spawn(self, argv):
        with open(self.dir + "/log", "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def wait(self, since):
        """Until /readyz says 200; seconds since the start."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while time.monotonic() - since < START_LIMIT_S:
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=5, context=context) as answer:
                    if answer.status == 200:
                        return time.monotonic() - since
            except OSError:
                pass
            for p in self.processes:
                if p.poll() is not None:
                    sys.exit("%s: a process ended: %s" % (self.name, self.tail()))
            time.sleep(0.002)
        sys.exit("%s: not ready after %d s: %s" % (self.name, START_LIMIT_S, self.tail()))

    def tail(self):
        with open(self.dir + "/log", encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def stop(self):
        for p in reversed(self.processes):
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.processes = []

    def rss(self):
        """MB of all its processes."""
        kb = 0
        for p in self.processes:
            with open("/proc/%d/status" % p.pid, encoding="ascii") as f:
                kb += int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
        return kb / 1000

    def request(self, method, path, body=None):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(self.cert, self.key)
        r = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body else None,
                                   headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(r, timeout=30, context=context) as answer:
            return json.load(answer)


class Neap(Side):
    def __init__(self, program, folder, port):
        super().__init__("neap", folder, port)
        self.program = program

    def start(self):
        since = time.monotonic()
        self.spawn([self.program, "server", "--data-dir", self.dir + "/data", "--listen", "127.0.0.1:%d" % self.port])
        took = self.wait(since)
        with open(self.dir + "/data/admin.kubeconfig", encoding="ascii") as f:
            text = f.read()
        for key, path in (("client-certificate-data", self.cert), ("client-key-data", self.key)):
            with open(path, "wb") as f:
                f.write(base64.b64decode(re.search(key + r": (\S+)", text)[1]))
        return took


class Peer(Side):
    def __init__(self, apiserver, etcd, folder, port, more=()):
        super().__init__("kube-apiserver", folder, port)
        self.apiserver, self.etcd, self.more = apiserver, etcd, list(more)
        ca, ca_key, request = folder + "/ca.crt", folder + "/ca.key", folder + "/admin.csr"
        self.account = folder + "/sa.key"
        for argv in (
                ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca_key,
                 "-out", ca, "-subj", "/CN=ca", "-days", "2"],
                ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out", request,
                 "-subj", "/O=system:masters/CN=admin"],
                ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", self.cert, "-days", "2"],
                ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.account],
                ["pkey", "-in", self.account, "-pubout", "-out", self.account + ".pub"]):
            subprocess.run(["openssl"] + argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self):
        since = time.monotonic()
        store, peers = "http://127.0.0.1:%d" % (self.port + 1), "http://127.0.0.1:%d" % (self.port + 2)
        self.spawn([self.etcd, "--data-dir", self.dir + "/etcd", "--listen-client-urls", store, "--advertise-client-urls", store,
                    "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                    "--initial-cluster", "default=" + peers, "--log-level", "error"])
        self.spawn([self.apiserver, "--etcd-servers=" + store, "--bind-address=127.0.0.1", "--secure-port=%d" % self.port,
                    "--cert-dir=" + self.dir + "/serving", "--client-ca-file=" + self.dir + "/ca.crt",
                    "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + self.account + ".pub",
                    "--service-account-signing-key-file=" + self.account, "--authorization-mode=Node,RBAC",
                    "--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"] + self.more)
        return self.wait(since)


def token(side):
    """A ServiceAccount's token that may read ConfigMaps: what most in-cluster clients send."""
    for path, body in (("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "beside"}}),
                       ("/apis/rbac.authorization.k8s.io/v1/clusterroles", {
                           "metadata": {"name": "beside"},
                           "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]}),
                       ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
                           "metadata": {"name": "beside"},
                           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "beside"},
                           "subjects": [{"kind": "ServiceAccount", "name": "beside", "namespace": "default"}]}),
                       ("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "beside"}, "data": {"k": "x" * 1024}})):
        side.request("POST", path, body)
    return side.request("POST", "/api/v1/namespaces/default/serviceaccounts/beside/token", {"spec": {}})["status"]["token"]


def fdatasync_ms(folder):
    took = []
    with tempfile.TemporaryFile(dir=folder) as f:
        for _ in range(200):
            f.write(b"x" * 4096)
            f.flush()
            since = time.monotonic()
            os.fdatasync(f.fileno())
            took.append(time.monotonic() - since)
    return statistics.median(took) * 1000


class Run:
    def __init__(self, sides, client, own, rounds):
        self.sides, self.client, self.own, self.rounds = sides, client, own, rounds
        self.values = {}  # row -> side -> list

    def note(self, row, side, value):
        self.values.setdefault(row, {}).setdefault(side.name, []).append(value)
        print("  %-34s %-15s %.1f" % (row, side.name, value), file=sys.stderr, flush=True)

    def load(self, program, side, args):
        argv = [program, "-server", side.url, "-cert", side.cert, "-key", side.key] + args
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=900).stdout.decode()

    def each(self, rows, program, args):
        """rows: (row, pattern of its figure in the client's output). A B A B."""
        for _ in range(self.rounds):
            for side in self.sides:
                text = self.load(program, side, args)
                for row, pattern in rows:
                    found = re.search(pattern, text)
                    if not found:
                        sys.exit("no %s in: %s" % (pattern, text))
                    self.note(row, side, float(found[1]))

    def h2load(self, tokens):
        program = shutil.which("h2load")
        for _ in range(self.rounds if program else 0):
            for side in self.sides:
                requests = 100000 if side.name == "neap" else 20000
                text = subprocess.run(
                    [program, "-n", str(requests), "-c", "8", "-m", "16", "-H", "authorization: Bearer " + tokens[side.name],
                     side.url + "/api/v1/namespaces/default/configmaps/beside"],
                    check=True, stdout=subprocess.PIPE, timeout=900).stdout.decode()
                if "status codes: %d 2xx" % requests not in text:
                    sys.exit("h2load: not all answers are 200: " + text)
                self.note("GET/s, h2load 8 x 16, token", side, float(re.search(r"([\d.]+) req/s", text)[1]))

    def all(self):
        for i in range(self.rounds):
            for side in self.sides:
                if i:
                    side.stop()
                    for data in ("/data", "/etcd"):
                        shutil.rmtree(side.dir + data, ignore_errors=True)
                self.note("start to /readyz, ms", side, side.start() * 1000)
        time.sleep(5)  # what a start still does is done by then
        for side in self.sides:
            self.note("RSS idle, MB", side, side.rss())
        for side in self.sides:
            self.load(self.client, side, ["create", "-n", "5000", "-c", "16", "-keep"])
        for side in self.sides:
            self.note("RSS with 5,000 ConfigMaps, MB", side, side.rss())
        tokens = {side.name: token(side) for side in self.sides}
        self.h2load(tokens)
        rate = r": ([\d.]+)/s"
        self.each([("GET/s, Go client, 16", "get" + rate)], self.client, ["get", "-n", "15000", "-c", "16", "-keep"])
        self.each([("create/s, 16 clients", "create" + rate), ("create p99, ms", r"p99 ([\d.]+)")],
                  self.client, ["create", "-n", "5000", "-c", "16", "-keep"])
        self.each([("update/s, 16 clients", "update" + rate)], self.own, ["update", "-n", "5000", "-c", "16"])
        for row, args in (("LIST/s of 5,000, JSON", ["-accept", "application/json"]),
                          ("LIST/s of 5,000, JSON, no gzip", ["-accept", "application/json", "-gzip=false"]),
                          ("LIST/s of 5,000, protobuf", ["-accept", PROTOBUF])):
            self.each([(row, "list.*" + rate)], self.own, ["list", "-n", "60", "-c", "4"] + args)
        self.each([("watch p99, 200 events to 1,000, ms", r"p99 ([\d.]+)")], self.client,
                  ["watch", "-watchers", "1000", "-n", "200", "-keep"])
        self.each([("apply/s, %s" % what, "apply " + what + rate) for what in
                   ("new ConfigMaps", "changed ConfigMaps", "new Deployments", "changed Deployments")],
                  self.own, ["apply", "-n", "1000", "-c", "16"])
        for side in self.sides:
            self.note("RSS at the end, MB", side, side.rss())

    def table(self):
        ours, theirs = (side.name for side in self.sides)
        print("| what | %s | %s | ratio |\n| --- | --- | --- | --- |" % (ours, theirs))
        for row, by in self.values.items():
            a, b = statistics.median(by[ours]), statistics.median(by[theirs])
            better = a / b if "/s" in row else b / a
            print("| %s | %s | %s | %.1f |" % (row, number(a), number(b), better))


def number(x):
    return "{:,.0f}".format(x) if x >= 100 else "%.1f" % x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kube-apiserver", required=True)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--client", required=True, help="shared/bench's client")
    parser.add_argument("--neap", default=TOP + "/build/neap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=12100, help="this one and the next three")
    parser.add_argument("--dir", help="where both keep their data: a real disk")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neap-beside-", dir=args.dir) as folder:
        own = folder + "/client"
        subprocess.run(["go", "build", "-o", own, "."], cwd=HERE + "/client", check=True)
        for name in ("neap", "peer"):
            os.mkdir(folder + "/" + name)
        sides = [Neap(args.neap, folder + "/neap", args.port),
                 Peer(args.kube_apiserver, args.etcd, folder + "/peer", args.port + 1)]
        run = Run(sides, args.client, own, args.rounds)
        try:
            sync = fdatasync_ms(folder)
            run.all()
        finally:
            for side in sides:
                side.stop()
    print("%d rounds, alternating; fdatasync of 4 KiB: %.2f ms; %d cores." % (args.rounds, sync, os.cpu_count()))
    run.table()


if __name__ == "__main__":
    main()
