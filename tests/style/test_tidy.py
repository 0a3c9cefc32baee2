"""clang-tidy (.clang-tidy) over core, api and plugins: only files that changed, with their headers, since they last
passed. What passed is remembered outside the tree by a digest of the preprocessed text, the checks and the version.

An empty memory means some minutes (the analyzer): that is why this takes longer than ten seconds."""
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

LIMIT_S = 1800  # read by tests/run.py
VERSION = "14"  # others find other things
TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "neap/tidy")
DATABASE = "build/obj-release/compile_commands.json"
CHECKED = re.compile(r"^(core|api|plugins)/")


def program():
    name = shutil.which("clang-tidy-" + VERSION) or shutil.which("clang-tidy")
    said = subprocess.check_output([name, "--version"]).decode() if name else ""
    return name if "version %s." % VERSION in said else None


def commands():
    """{file: the arguments it is compiled with}"""
    subprocess.run(["scons", "-Q", "compiledb"], cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(TOP, DATABASE)) as f:
        rows = json.load(f)
    return {r["file"]: [a for a in shlex.split(r["command"])[1:] if re.match("-[DIf]|-std", a)] for r in rows
            if CHECKED.match(r["file"]) and os.path.exists(os.path.join(TOP, r["file"]))}  # tables made by the build are not


def digest(file, flags, config):
    """Of all that decides what clang-tidy says; line marks name the folder of the tree, so without them."""
    text = subprocess.run(["clang", "-E", "-C", "-P"] + flags + [file], cwd=TOP, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    return hashlib.sha256(b"\0".join([config, file.encode(), " ".join(flags).encode(), text])).hexdigest()


def check(tidy, file, flags, config):
    """What is wrong; None."""
    passed = os.path.join(CACHE, digest(file, flags, config))
    if os.path.exists(passed):
        return None
    p = subprocess.run([tidy, "--quiet", file, "--"] + flags, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.findall(r"^\S*?((?:core|api|plugins)/\S+:\d+):\d+: (?:warning|error): (.*)$", p.stdout.decode(), re.M)
    if not found and p.returncode == 0:
        open(passed, "w").close()
        return None
    return "; ".join(sorted({"%s %s" % x for x in found})) or "%s: %s" % (file, p.stdout.decode()[-300:])


def main():
    tidy = program()
    if not tidy:
        print("skip clang-tidy: clang-tidy-" + VERSION)
        return 0
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(TOP, ".clang-tidy"), "rb") as f:
        config = f.read() + subprocess.check_output([tidy, "--version"])
    files = commands()
    missing = [f for d in ("core", "api", "plugins") for f in glob.glob(d + "/**/*.c", root_dir=TOP, recursive=True)
               if f not in files]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = list(pool.map(lambda f: check(tidy, f, files[f], config), sorted(files)))
    bad = ["%s: in no build" % f for f in missing] + [why for why in found if why]
    for why in bad:
        print("not ok clang-tidy: " + why.replace("\n", " "))
    if not bad:
        print("ok clang-tidy: %d files" % len(files))
    return min(len(bad), 100)


if __name__ == "__main__":
    sys.exit(main())
