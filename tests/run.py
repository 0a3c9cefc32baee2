#!/usr/bin/python3
"""Runs every test of neap and closes with the line "N passed, N failed" (and ", N skipped").

Unit tests are the cmocka programs of the sanitized build; tests/*/test_*.py are programs that print one
line "ok NAME", "not ok NAME: why" or "skip NAME: why" a test and exit with the number of failures."""
import glob
import os
import re
import signal
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMIT_S = 240  # a hang, not a slow test; a program that needs longer has a line "LIMIT_S = N" of its own
LIMIT_FACTOR = int(os.environ.get("NEAP_LIMIT_FACTOR", "1"))  # scons soak


def limit(path):
    if path.endswith(".py"):
        with open(path, encoding="utf-8") as f:
            own = re.search(r"^LIMIT_S = (\d+)", f.read(), re.M)
        if own:
            return int(own[1]) * LIMIT_FACTOR
    return LIMIT_S * LIMIT_FACTOR


def run(argv, env):
    """In a process group of its own, so that nothing of a test that hangs stays."""
    start, seconds = time.monotonic(), limit(argv[-1])
    p = subprocess.Popen(argv, cwd=TOP, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         start_new_session=True)
    try:
        out, _ = p.communicate(timeout=seconds)
        return p.returncode, out.decode(errors="replace"), time.monotonic() - start
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        try:
            out, _ = p.communicate(timeout=10)
        except subprocess.TimeoutExpired as e:  # what left the group holds the pipe
            out = e.stdout or b""
        return -1, out.decode(errors="replace") + "\nnot ok timed out after %d s" % seconds, seconds


def unit(path, env):
    code, out, seconds = run([path], env)
    passed = len(re.findall(r"^\[       OK \]", out, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \]", out, re.M))
    failed = len(set(re.findall(r"^\[  FAILED  \] (\S+)", out, re.M)))
    if code != 0 and not failed:
        failed = 1  # a crash, a sanitizer's finding, a time-out
    if failed:
        print(out[-8000:])
    return passed, failed, skipped, seconds


def script(path, env):
    code, out, seconds = run(["/usr/bin/python3", path], env)
    passed = len(re.findall(r"^ok ", out, re.M))
    failed = len(re.findall(r"^not ok ", out, re.M))
    skipped = len(re.findall(r"^skip ", out, re.M))
    if code != 0 and not failed:
        failed = 1
    for line in out.splitlines():
        if failed or line.startswith("skip "):
            if not line.startswith("ok "):
                print("  " + line[:400])
    return passed, failed, skipped, seconds


def main(patterns):
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1",
               UBSAN_OPTIONS="print_stacktrace=1", NEAP_TOP=TOP,
               NEAP_PLUGINS=os.path.join(TOP, "build/asan/plugins"))
    jobs = [(unit, p) for p in sorted(glob.glob(TOP + "/build/obj-asan/tests/unit/**/test_*", recursive=True))
            if os.access(p, os.X_OK) and not p.endswith(".o")]
    jobs += [(script, p) for p in sorted(glob.glob(TOP + "/tests/*/test_*.py"))]
    total = [0, 0, 0]
    for fn, path in jobs:
        name = os.path.relpath(path, TOP)
        if patterns and not any(p in name for p in patterns):
            continue
        passed, failed, skipped, seconds = fn(path, env)
        print("%-60s %3d passed %3d failed %6.1f s" % (name.replace("build/obj-asan/", ""), passed,
                                                      failed, seconds), flush=True)
        for i, n in enumerate((passed, failed, skipped)):
            total[i] += n
    print("%d passed, %d failed%s" % (total[0], total[1], ", %d skipped" % total[2] if total[2] else ""))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
