"""What has threads, under ThreadSanitizer: unit tests, and a server under the API's tests. Builds variant=tsan
(about a minute on two cores: the reason why this takes longer than ten seconds)."""
import glob
import os
import re
import subprocess
import sys

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
UNITS = ["core/loop", "core/registry", "api/http"]


def units():
    found = []
    for folder in UNITS:
        for source in sorted(glob.glob(os.path.join(TOP, "tests/unit", folder, "test_*.c"))):
            found.append("build/obj-tsan/tests/unit/%s/%s" % (folder, os.path.basename(source)[:-2]))
    return found


def run(name, argv, env):
    p = subprocess.run(argv, cwd=TOP, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode(errors="replace")
    finding = re.search(r"WARNING: ThreadSanitizer.*?SUMMARY[^\n]*", out, re.S)
    if p.returncode == 0 and not finding:
        print("ok " + name)
        return 0
    print("not ok %s: %s" % (name, (finding[0] if finding else out[-1500:]).replace("\n", " ")[:1500]))
    return 1


def main():
    jobs = str(os.cpu_count() or 1)
    built = subprocess.run(["scons", "-Q", "-j" + jobs, "variant=tsan", "neap", "plugins", "scripts"] + units(), cwd=TOP,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode:
        print("not ok tsan builds: " + built.stdout.decode()[-1500:].replace("\n", " "))
        return 1
    env = dict(os.environ, TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1", NEAP_VARIANT="tsan",
               NEAP_PLUGINS=os.path.join(TOP, "build/tsan/plugins"))
    failed = sum(run("tsan " + u.split("/unit/")[1], [u], env) for u in units())
    failed += run("tsan server", [sys.executable, "tests/api/test_semantics.py"], env)
    return failed


if __name__ == "__main__":
    sys.exit(main())
