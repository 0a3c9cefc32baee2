#!/usr/bin/python3
"""Scripts in their own harness: `neap script test` on every *_test.lua, `neap script check` on every script."""
import glob
import os
import subprocess
import sys

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
NEAP = os.path.join(TOP, "build", os.environ.get("NEAP_VARIANT", "asan"), "neap")


def run(command, files):
    p = subprocess.run([NEAP, "script", command] + [os.path.relpath(f, TOP) for f in files], cwd=TOP,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode(errors="replace")
    sys.stdout.write(out)
    failed = sum(line.startswith("not ok ") for line in out.splitlines())
    if p.returncode and not failed:
        print("not ok neap script %s: exit code %d" % (command, p.returncode))
        failed = 1
    return failed


def refused():
    """A wrong script is one line with file and place, and a failing test is a failing program."""
    failed = 0
    cases = sorted(glob.glob(TOP + "/tests/lua/wrong/*.lua"))
    for path in cases:
        with open(path) as f:
            want = f.readline().lstrip("- ").strip()
        command = "test" if path.endswith("_test.lua") else "check"
        name = "wrong: " + os.path.basename(path)
        try:
            p = subprocess.run([NEAP, "script", command, os.path.relpath(path, TOP)], cwd=TOP, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, timeout=60)
        except subprocess.TimeoutExpired:
            failed += 1
            print("not ok %s: nothing stops it" % name)
            continue
        out = p.stdout.decode(errors="replace")
        if p.returncode == 1 and out.startswith("not ok ") and want in out:
            print("ok " + name)
        else:
            failed += 1
            print("not ok %s: wanted %r, got %r" % (name, want, out[:500]))
    if not cases:
        failed += 1
        print("not ok wrong: no cases")
    return failed


def luacheck():
    files = ["scripts", "contrib/examples", "tests/lua"]
    try:
        p = subprocess.run(["luacheck", "-q", "--no-color"] + files, cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
    except FileNotFoundError:
        print("skip luacheck: not installed")
        return 0
    ok = p.returncode == 0
    print("ok luacheck" if ok else "not ok luacheck: " + p.stdout.decode().replace("\n", " ")[:1500])
    return 0 if ok else 1


def scripts():
    found = []
    for pattern in ("scripts/*/*.lua", "contrib/examples/*/*.lua"):
        found += [f for f in glob.glob(os.path.join(TOP, pattern)) if not f.endswith("_test.lua")]
    return sorted(found)


if __name__ == "__main__":
    sys.exit(min(100, run("check", scripts()) + run("test", sorted(glob.glob(TOP + "/tests/lua/*_test.lua")))
                 + refused() + luacheck()))
