#!/usr/bin/python3
"""Runs Kubernetes' own end-to-end suite against a fresh neap and counts: scons conformance, or
tests/conformance/run.py [--focus WORD] [--sig NAME] [--list FILE] [--shard I/N] [--jobs N] [--content-type json|protobuf]
[--timeout MINUTES] [--write]. The suite is built as a Go module dependency into a cache outside the tree; the images
are made here (images.py). --write replaces RESULTS.md."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests/cluster"))
import images  # noqa: E402
from onenode import OneNode, why_not  # noqa: E402

VERSION = "v1.37.2"
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "neap/conformance")


def build():
    """The suite and the programs of its images, once."""
    programs = {"e2e": os.path.join(CACHE, "e2e.test"), "agnhost": os.path.join(CACHE, "agnhost")}
    if not os.path.exists(programs["e2e"]) or not (os.path.exists(programs["agnhost"]) or os.environ.get("NEAP_NO_AGNHOST")):
        subprocess.run([os.path.join(HERE, "build"), CACHE, VERSION], check=True)
    return programs


def names(args):
    with open(args.list) as f:
        found = [x.strip() for x in f if x.strip()]
    if args.sig:
        found = [x for x in found if x.startswith("[sig-%s]" % args.sig)]
    if args.focus:
        found = [x for x in found if re.search(args.focus, x)]
    i, n = (int(x) for x in args.shard.split("/"))
    return found[i - 1::n]


class Job(threading.Thread):
    """One process of the suite with its share of the tests."""

    def __init__(self, number, program, cluster, tests, args, directory):
        super().__init__()
        self.number, self.tests, self.results = number, tests, {}
        self.report = os.path.join(directory, "report-%d" % number)
        focus = "|".join(re.escape(t) for t in tests)
        self.argv = [program, "--provider=skeleton", "--kubeconfig=" + cluster.kubeconfig, "--ginkgo.focus=" + focus,
                     "--report-dir=" + self.report, "--disable-log-dump", "--ginkgo.timeout=%dm" % args.timeout,
                     "--num-nodes=1", "--allowed-not-ready-nodes=0", "--ginkgo.no-color", "--ginkgo.silence-skips",
                     "--kube-api-content-type=" + {"json": "application/json",
                                                   "protobuf": "application/vnd.kubernetes.protobuf"}[args.content_type],
                     "--kubectl-path=" + cluster.kubectl_path]
        self.log = os.path.join(directory, "log-%d" % number)

    def run(self):
        with open(self.log, "wb") as log:
            subprocess.run(["ip", "netns", "exec", self.netns] + self.argv if self.netns else self.argv, stdout=log,
                           stderr=subprocess.STDOUT)
        for root, _, files in os.walk(self.report):
            for name in files:
                if name.endswith(".xml"):
                    self.read(os.path.join(root, name))

    netns = None

    def read(self, path):
        for case in xml.etree.ElementTree.parse(path).iter("testcase"):
            name = re.sub(r"^\[It\] ", "", case.get("name"))
            name = re.sub(r" \[(Conformance|Slow|Serial|Disruptive|LinuxOnly|NodeConformance|Feature:[^]]*|Environment:[^]]*|"
                          r"FeatureGate:[^]]*|Beta|BetaOffByDefault|Alpha)(, [^]]*)?\]$", r" [\1]", name)
            if case.find("skipped") is not None:
                continue
            failure = case.find("failure")
            text = (failure.get("message") or failure.text or "").strip() if failure is not None else None
            self.results[case.get("name").replace("[It] ", "", 1)] = (text, float(case.get("time") or 0))


def run(args):
    programs = build()
    wanted = subprocess.run([programs["e2e"], "--list-images"], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL).stdout.decode().split()
    archives = images.make(os.path.join(CACHE, "images"), programs, wanted)
    tests = names(args)
    cluster = OneNode(variant=args.variant)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="neap-conformance-") as directory:
        if args.keep:
            directory = args.keep
            os.makedirs(directory, exist_ok=True)
        for path in archives:
            subprocess.run([os.path.join(cluster.build, "neap"), "image", "import", "--data-dir", cluster.dir, path],
                           check=True, stdout=subprocess.DEVNULL)
        serial = [t for t in tests if "[Serial]" in t]
        parallel = [t for t in tests if t not in serial]
        jobs = [Job(i, programs["e2e"], cluster, parallel[i::args.jobs], args, directory) for i in range(args.jobs)]
        jobs = [j for j in jobs if j.tests]
        for j in jobs:
            j.start()
        for j in jobs:
            j.join()
        if serial:
            last = Job(len(jobs), programs["e2e"], cluster, serial, args, directory)
            last.start()
            last.join()
            jobs.append(last)
        results = {}
        for j in jobs:
            results.update(j.results)
        if args.show_log:
            print(cluster.tail())
    cluster.stop()
    cluster.close()
    return tests, results, time.monotonic() - begun


def table(tests, results, seconds):
    with open(os.path.join(HERE, "tests.txt")) as f:
        every = [x.strip() for x in f if x.strip()]
    rows, by_sig, failed = [], {}, []
    for t in every:
        counts = by_sig.setdefault(re.match(r"\[(sig-[a-z-]+)\]", t)[1], [0, 0, 0])
        if t not in results:
            counts[2] += 1
            continue
        text = results[t][0]
        counts[0 if text is None else 1] += 1
        if text is not None:
            failed.append((t, text))
    passed = sum(c[0] for c in by_sig.values())
    commit = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE).stdout.decode().strip()
    rows.append("%d of %d passed" % (passed, len(every)))
    rows.append("")
    rows.append("Kubernetes %s conformance, commit %s, %d minutes %d seconds; %d of the tests were run." % (
        VERSION, commit, seconds // 60, seconds % 60, len([t for t in every if t in results])))
    rows += ["", "| SIG | passed | failed | not run |", "| --- | --- | --- | --- |"]
    rows += ["| %s | %d | %d | %d |" % (s, c[0], c[1], c[2]) for s, c in sorted(by_sig.items())]
    rows += ["", "## Failed", ""]
    for t, text in failed:
        rows.append("- %s: %s" % (t, re.sub(r"\s+", " ", text.split("In [It] at:")[0])[:200].replace("|", "/")))
    return "\n".join(rows) + "\n"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--focus")
    p.add_argument("--sig")
    p.add_argument("--list", default=os.path.join(HERE, "tests.txt"))
    p.add_argument("--shard", default="1/1")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--content-type", default="json", choices=["json", "protobuf"])
    p.add_argument("--timeout", type=int, default=120)
    p.add_argument("--variant", default="release")
    p.add_argument("--write", action="store_true")
    p.add_argument("--show-log", action="store_true")
    p.add_argument("--keep", help="a folder for logs and reports")
    args = p.parse_args()
    word = why_not()
    if word:
        print("skip conformance: " + word)
        return 0
    tests, results, seconds = run(args)
    text = table(tests, results, seconds)
    print(text)
    if args.write:
        with open(os.path.join(HERE, "RESULTS.md"), "w") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
