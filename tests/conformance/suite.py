"""The suite as a program: building it, choosing tests, running them in several processes, reading its reports."""
import os
import queue
import re
import shutil
import subprocess
import threading
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "v1.37.2"
OLDEST_GO = (1, 26)  # that builds it
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "neap/conformance")
SEVERAL = "several nodes"  # in later.tsv: only missing when one is asked for
BATCH = 6  # tests a process: few, so that none waits for the slow ones of another
PROGRAMS = {"e2e": "e2e.test", "agnhost": "agnhost", "kube-scheduler": "kube-scheduler",
            "kubectl": "kubectl"}
CONTENT_TYPES = {"json": "application/json", "protobuf": "application/vnd.kubernetes.protobuf"}


def programs():
    return {name: os.path.join(CACHE, file) for name, file in PROGRAMS.items()}


def built():
    return all(os.path.exists(path) for path in programs().values())


def why_not():
    return None if built() or go_version() >= OLDEST_GO else "Go %d.%d" % OLDEST_GO


def go_version():
    if not shutil.which("go"):
        return (0, 0)
    said = subprocess.run(["go", "env", "GOVERSION"], stdout=subprocess.PIPE, env=dict(os.environ, GOTOOLCHAIN="local"))
    found = re.search(r"(\d+)\.(\d+)", said.stdout.decode())
    return tuple(int(x) for x in found.groups()) if found else (0, 0)


def build():
    """The suite, the program of its images, and Kubernetes' scheduler, once."""
    if not built():
        subprocess.run([os.path.join(HERE, "build"), CACHE, VERSION], check=True)
    return programs()


def wanted_images(programs):
    return subprocess.run([programs["e2e"], "--list-images"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout.decode().split()


def lines(path):
    with open(path) as f:
        return [x.rstrip("\n") for x in f if x.strip() and not x.startswith("#")]


def every_test():
    return lines(os.path.join(HERE, "tests.txt"))


def later(nodes):
    """[(capability, pattern)] of what a cluster of <nodes> cannot run."""
    rows = [x.split("\t") for x in lines(os.path.join(HERE, "later.tsv"))]
    return [(capability, re.compile(pattern)) for capability, pattern in rows if capability != SEVERAL or nodes < 2]


def needs(test, rows):
    """The capability that a test waits for; None."""
    return next((capability for capability, pattern in rows if pattern.search(test)), None)


def choose(args):
    found = lines(args.list)
    if args.sig:
        found = [x for x in found if x.startswith("[sig-%s]" % args.sig)]
    if args.focus:
        found = [x for x in found if re.search(args.focus, x)]
    if not args.all:
        rows = later(args.nodes)
        found = [x for x in found if not needs(x, rows)]
    i, n = (int(x) for x in args.shard.split("/"))
    return found[i - 1::n]


def plain(name):
    """A test's name as reports and tests.txt both have it."""
    return re.sub(r"[^a-z0-9]+", " ", re.sub(r"\[It\]", "", name).lower()).strip()


def read_reports(directory, tests):
    """{test: (None or text of the failure, seconds)}"""
    by_plain, got = {plain(t): t for t in tests}, {}
    for root, _, files in os.walk(directory):
        for path in [os.path.join(root, f) for f in files if f.endswith(".xml")]:
            for case in xml.etree.ElementTree.parse(path).iter("testcase"):
                name = plain(case.get("name"))
                test = by_plain.get(name) or next((t for p, t in by_plain.items() if name.startswith(p)), None)
                if not test or case.find("skipped") is not None:
                    continue
                failure = case.find("failure")
                if failure is None:
                    failure = case.find("error")
                text = (failure.get("message") or failure.text or "failed").strip() if failure is not None else None
                got[test] = (text, float(case.get("time") or 0))
    return got


class Worker(threading.Thread):
    """Takes batches until there are none."""

    def __init__(self, make_argv, batches, directory, got):
        super().__init__()
        self.make_argv, self.batches, self.directory, self.got = make_argv, batches, directory, got

    def run(self):
        while True:
            try:
                number, tests = self.batches.get_nowait()
            except queue.Empty:
                return
            report = os.path.join(self.directory, "report-%d" % number)
            with open(os.path.join(self.directory, "log-%d" % number), "wb") as log:
                subprocess.run(self.make_argv(tests, report), stdout=log, stderr=subprocess.STDOUT)
            results = read_reports(report, tests)
            for t in tests:
                self.got[t] = results.get(t, ("no result: log-%d" % number, 0))


def run(program, cluster, tests, args, directory):
    """{test: (None or why it failed, seconds)}: those that may side by side, then the others alone."""
    got, number = {}, 0

    def argv(some, report):
        return cluster.enter + [
                program, "--provider=skeleton", "--kubeconfig=" + cluster.kubeconfig,
                "--ginkgo.focus=" + "|".join(re.escape(t) for t in some), "--report-dir=" + report,
                "--disable-log-dump", "--ginkgo.timeout=%dm" % args.timeout, "--num-nodes=%d" % args.nodes,
                "--allowed-not-ready-nodes=0", "--ginkgo.no-color", "--ginkgo.silence-skips",
                "--kube-api-content-type=" + CONTENT_TYPES[args.content_type],
                "--kubectl-path=" + cluster.kubectl_path]

    for part, jobs, size in (([t for t in tests if "[Serial]" not in t], args.jobs, BATCH),
                             ([t for t in tests if "[Serial]" in t], 1, 1 << 30)):
        batches = queue.Queue()
        count = max(1, -(-len(part) // size))
        for i in range(count if part else 0):
            batches.put((number, part[i::count]))
            number += 1
        workers = [Worker(argv, batches, directory, got) for _ in range(jobs)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    return got
