"""Every libFuzzer target for NEAP_FUZZ_SECONDS (20; scons soak: 60), from the inputs in corpus/ and tests/data.

Builds variant=fuzz, all of it: the whole tree passes clang with -Werror, which is the first line printed. That
build (about a minute on two cores) and the time of each are why this takes longer than ten seconds."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import seeds

LIMIT_S = 1500  # read by tests/run.py
TOP = seeds.TOP
SECONDS = int(os.environ.get("NEAP_FUZZ_SECONDS", "20"))
INPUT_S, MEMORY_MB, LENGTH_MAX = 10, 1024, 16384
JOBS = os.cpu_count() or 1


def build():
    """None, or why not."""
    p = subprocess.run(["scons", "-Q", "-j%d" % JOBS, "variant=fuzz", "fuzz", "neap", "plugins"], cwd=TOP,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.stdout.decode(errors="replace")[-1500:] if p.returncode else None


def run(program, derived):
    """(name, why it failed or None)"""
    name = os.path.basename(program)[len("fuzz_"):]
    findings = os.path.join(TOP, "build/fuzz/findings")
    os.makedirs(findings, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="neap-fuzz-") as grown:
        given = [d for d in (os.path.join(TOP, "tests/fuzz/corpus", name), os.path.join(derived, name))
                 if os.path.isdir(d)]
        p = subprocess.run([program, "-max_total_time=%d" % SECONDS, "-timeout=%d" % INPUT_S,
                            "-rss_limit_mb=%d" % MEMORY_MB, "-max_len=%d" % LENGTH_MAX, "-close_fd_mask=1",
                            "-artifact_prefix=%s/%s-" % (findings, name), grown] + given,
                           cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if p.returncode == 0:
        return name, None
    return name, told(p.stderr.decode(errors="replace"))


def told(said):
    """The kind of finding, the calls in our sources, the input that is kept."""
    what = re.search(r"(ERROR: \w+Sanitizer: [^\n]*|runtime error: [^\n]*|^[^\n]*\.[ch]:\d+: [^\n]*|ERROR: libFuzzer: [^\n]*)",
                     said, re.M)
    calls = re.findall(r"in (\w+) %s/(\S+)" % re.escape(TOP), said)[:8]
    kept = re.search(r"Test unit written to (\S+)", said)
    return "%s; %s; %s" % (what[0] if what else said[-500:], ", ".join("%s %s" % c for c in calls),
                           os.path.relpath(kept[1], TOP) if kept else "no input kept")


def main():
    if not shutil.which("clang"):
        print("skip fuzz: clang")
        return 0
    why = build()
    if why:
        print("not ok clang builds everything, -Werror: " + why.replace("\n", " "))
        return 1
    print("ok clang builds everything, -Werror", flush=True)
    failed = 0
    sources = sorted(os.path.basename(s)[:-2] for s in glob.glob(os.path.join(TOP, "tests/fuzz/fuzz_*.c")))
    with tempfile.TemporaryDirectory(prefix="neap-seeds-") as derived, ThreadPoolExecutor(JOBS) as pool:
        seeds.write(derived)
        for name, why in pool.map(lambda s: run(os.path.join(TOP, "build/fuzz", s), derived), sources):
            print("not ok %s: %s" % (name, why.replace("\n", " ")) if why else "ok " + name, flush=True)
            failed += why is not None
    return failed


if __name__ == "__main__":
    sys.exit(main())
