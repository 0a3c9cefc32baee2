#!/usr/bin/python3
"""Runs Kubernetes' own end-to-end suite against a fresh neap and counts.

    scons conformance, or tests/conformance/run.py [options]
      --sig NAME --focus REGEX --list FILE --shard I/N   which tests; the default is tests.txt
      --all              also those that need what neap has not yet (later.tsv)
      --jobs N           processes of the suite side by side; serial tests run alone afterwards
      --content-type json|protobuf
      --nodes N          1 (default) to 3, in network namespaces of their own
      --timeout MINUTES  of one process of the suite (a batch of tests)
      --variant release|asan
      --write            replaces RESULTS.md and passed.tsv
      --keep DIR         logs and reports stay there

The suite is built as a Go module dependency into a cache outside the tree; the images are made here (images.py)."""
import argparse
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(TOP, "tests/cluster"))
import images  # noqa: E402
import results  # noqa: E402
import suite  # noqa: E402
from nodes import Nodes  # noqa: E402
from onenode import OneNode, why_not  # noqa: E402


def run(tests, args):
    """{test: (None or why it failed, seconds)}"""
    programs = suite.build()
    archives = images.make(os.path.join(suite.CACHE, "images"), programs, suite.wanted_images(programs))
    cluster = OneNode(variant=args.variant) if args.nodes == 1 else Nodes(args.nodes, args.variant)
    with tempfile.TemporaryDirectory(prefix="neap-conformance-") as directory:
        if args.keep:
            directory = args.keep
            os.makedirs(directory, exist_ok=True)
        for path, data_dir in [(a, d) for a in archives for d in cluster.data_dirs()]:
            subprocess.run([os.path.join(cluster.build, "neap"), "image", "import", "--data-dir", data_dir, path],
                           check=True, stdout=subprocess.DEVNULL)
        try:
            return suite.run(programs["e2e"], cluster, tests, args, directory)
        finally:
            cluster.stop()
            cluster.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--focus")
    p.add_argument("--sig")
    p.add_argument("--list", default=os.path.join(HERE, "tests.txt"))
    p.add_argument("--shard", default="1/1")
    p.add_argument("--all", action="store_true")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--content-type", default="json", choices=["json", "protobuf"])
    p.add_argument("--nodes", type=int, default=1, choices=[1, 2, 3])
    p.add_argument("--timeout", type=int, default=30)
    p.add_argument("--variant", default="release")
    p.add_argument("--write", action="store_true")
    p.add_argument("--keep")
    args = p.parse_args()
    word = why_not() or suite.why_not()
    if word:
        print("skip conformance: " + word)
        return 0
    begun = time.monotonic()
    got = run(suite.choose(args), args)
    text = results.table(got, time.monotonic() - begun, args)
    print(text)
    if args.write:
        results.write(text, got)
    return 0


if __name__ == "__main__":
    sys.exit(main())
