"""What a run found, as RESULTS.md for people and passed.tsv for the test that keeps it so."""
import os
import re
import subprocess

import suite

HERE = suite.HERE
PASSED = os.path.join(HERE, "passed.tsv")


def commit():
    return subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"],
                          stdout=subprocess.PIPE).stdout.decode().strip()


def sig_of(test):
    return re.match(r"\[(sig-[a-z-]+)\]", test)[1]


def shortened(text):
    return re.sub(r"\s+", " ", text.split("In [It] at:")[0])[:240].replace("|", "/").strip()


def table(got, seconds, args):
    every, rows = suite.every_test(), suite.later(args.nodes)
    counts, missing, failed = {}, {}, []
    for t in every:
        row = counts.setdefault(sig_of(t), [0, 0, 0])
        if t in got:
            row[0 if got[t][0] is None else 1] += 1
            if got[t][0] is not None:
                failed.append((t, suite.needs(t, rows) or shortened(got[t][0])))
            continue
        row[2] += 1
        need = suite.needs(t, rows) or "not asked for in this run"
        missing[need] = missing.get(need, 0) + 1
    out = ["%d of %d passed" % (sum(c[0] for c in counts.values()), len(every)), "",
           "Kubernetes %s conformance, %s, %d node%s, commit %s, %d minutes %d seconds; %d of the tests were run." % (
               suite.VERSION, args.content_type, args.nodes, "s" * (args.nodes > 1), commit(), seconds // 60, seconds % 60, len(got)),
           "", "| SIG | passed | failed | not run |", "| --- | --- | --- | --- |"]
    out += ["| %s | %d | %d | %d |" % (s, *c) for s, c in sorted(counts.items())]
    out += ["", "## Not run: what neap has not yet", "", "| needs | tests |", "| --- | --- |"]
    out += ["| %s | %d |" % x for x in sorted(missing.items(), key=lambda x: -x[1])]
    slow = sorted(((s, t) for t, (_, s) in got.items()), reverse=True)[:8]
    out += ["", "## What took longest", ""] + ["- %d s %s" % x for x in slow]
    out += ["", "## Failed", ""] + ["- %s: %s" % x for x in failed]
    return "\n".join(out) + "\n"


def write(text, got):
    with open(os.path.join(HERE, "RESULTS.md"), "w") as f:
        f.write(text)
    with open(PASSED, "w") as f:
        f.write("# Tests that passed, and the seconds each took; written by run.py --write.\n")
        for t in sorted(got):
            if got[t][0] is None:
                f.write("%s\t%.1f\n" % (t, got[t][1]))


def passed():
    """{test: seconds}"""
    if not os.path.exists(PASSED):
        return {}
    return {t: float(s) for t, s in (x.rsplit("\t", 1) for x in suite.lines(PASSED))}
