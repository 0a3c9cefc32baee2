"""Tests of Kubernetes' own suite that once passed still do: the quick ones of each SIG, in both content types."""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import results  # noqa: E402
import run  # noqa: E402
import suite  # noqa: E402

LIMIT_S = 2400  # read by tests/run.py: with Go and an empty cache the suite is built first
EACH_S = 6     # longest test
SHARE = {"json": 40, "protobuf": 40}  # how many of them


def quick(count, offset):
    """<count> of the quick tests that passed, spread evenly over all."""
    found = sorted(t for t, s in results.passed().items() if s <= EACH_S and "[Serial]" not in t)
    step = max(1, len(found) / count)
    return sorted({found[int(i * step + offset) % len(found)] for i in range(count)}) if found else []


def main():
    word = run.why_not() or suite.why_not()
    if word:
        print("skip conformance: " + word)
        return 0
    failed = 0
    for i, (content_type, count) in enumerate(SHARE.items()):
        args = argparse.Namespace(variant=os.environ.get("NEAP_VARIANT", "release"), keep=None, jobs=3, timeout=8,
                                  content_type=content_type)
        for test, (why, _) in sorted(run.run(quick(count, i), args).items()):
            failed += why is not None
            print("%s %s %s%s" % ("ok" if why is None else "not ok", content_type, test,
                                  "" if why is None else ": " + results.shortened(why)), flush=True)
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
