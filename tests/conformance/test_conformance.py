"""Tests of Kubernetes' own suite that once passed still do: the quick ones of each SIG, in both content types; some
that look at more than one node on two."""
import argparse
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import results  # noqa: E402
import run  # noqa: E402
import suite  # noqa: E402

LIMIT_S = 2400  # read by tests/run.py: with Go and an empty cache the suite is built first
EACH_S = 6     # longest test
SHARE = {"json": 40, "protobuf": 40}  # how many of them
ON_TWO = re.compile(r"two untainted nodes|intra-pod communication: http|node-pod communication: http"
                    r"|RollingUpdateDeployment")


def quick(count, offset):
    """<count> of the quick tests that passed, spread evenly over all."""
    found = sorted(t for t, s in results.passed().items() if s <= EACH_S and "[Serial]" not in t)
    step = max(1, len(found) / count)
    some = {found[int(i * step + offset) % len(found)] for i in range(count)} if found else set()
    return sorted(t for t in some if "two untainted nodes" not in t)  # that one is asked on two


def main():
    word = run.why_not() or suite.why_not()
    if word:
        print("skip conformance: " + word)
        return 0
    asked = [(t, 1, quick(n, i)) for i, (t, n) in enumerate(SHARE.items())]
    asked.append(("json", 2, [t for t in suite.every_test() if ON_TWO.search(t)]))
    failed = 0
    for content_type, nodes, tests in asked:
        args = argparse.Namespace(variant=os.environ.get("NEAP_VARIANT", "release"), keep=None, jobs=3, timeout=8,
                                  content_type=content_type, nodes=nodes)
        for test, (why, _) in sorted(run.run(tests, args).items()):
            failed += why is not None
            print("%s %s %d %s%s" % ("ok" if why is None else "not ok", content_type, nodes, test,
                                     "" if why is None else ": " + results.shortened(why)), flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
