"""The sources themselves: include arrows, READMEs, luacheck, clang-format, forbidden calls, sizes, README's kinds."""
import os
import re
import shutil
import subprocess
import sys

import kinds_table

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
LINES_MAX = 800
FORMAT_VERSION = "14"  # others lay out some lines otherwise

# Which folders may include which headers beside neap/*.h and their own. First match by prefix.
ARROWS = [
    (r"core/[^/]+\.[ch]$", r"."),  # what puts the pieces together
    (r"core/include/", r"neap/"),
    (r"core/", r"(neap/|core/)"),
    (r"plugins/", r"neap/(plugin/|err\.h)"),
    (r"api/wire/", r"(neap/|api/wire/)"),
    (r"api/auth/", r"(neap/|api/(wire|auth)/)"),
    (r"api/rest/", r"(neap/|api/(wire|auth|rest)/)"),
    (r"api/http/", r"(neap/|api/(wire|http)/)"),
    (r"api/node/", r"(neap/|api/)"),
    (r"api/kinds/", r"(neap/|api/kinds/)"),
]
# Calls that have one place, or none: pattern -> files that may.
CALLS = {
    r"\b(system|popen)\(": r"^$",
    r"\b(rand|random|srand)\(": r"^$",
    r"\b(clock_gettime|gettimeofday)\(": r"^(core/base/clock\.c|core/registry/writer\.c|plugins/|core/loop/)",
}


def sources():
    out = subprocess.check_output(["git", "-C", TOP, "ls-files", "--cached", "--others", "--exclude-standard"]).decode()
    return [f for f in out.split("\n") if f and os.path.exists(os.path.join(TOP, f))]


def read(f):
    with open(os.path.join(TOP, f), encoding="utf-8", errors="replace") as x:
        return x.read()


def arrows(files):
    bad = []
    for f in files:
        allowed = next((a for p, a in ARROWS if re.match(p, f)), None)
        if not allowed or not re.search(r"\.[ch]$", f):
            continue
        for header in re.findall(r'^#include [<"]((?:neap|core|api|plugins)/[^>"]+)[>"]', read(f), re.M):
            near = os.path.join(TOP, os.path.dirname(f), header)  # "plugins/plugins.h" of a folder of its own
            if not re.match(allowed, header) and not os.path.exists(near):
                bad.append("%s includes %s" % (f, header))
    return bad


def readmes(files):
    folders = {os.path.dirname(f) for f in files if re.search(r"\.(c|h|lua|py|sh)$", f)}
    skip = re.compile(r"^(tests/unit/|tests/lua/|tests/fuzz/corpus)|^$|/gen$")
    return sorted(d for d in folders if not skip.search(d) and not os.path.exists(os.path.join(TOP, d, "README.md")))


def forbidden(files):
    bad = []
    for f in files:
        if not re.match(r"(core|api|plugins)/.*\.[ch]$", f):
            continue
        text = re.sub(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", "", read(f), flags=re.S)
        for pattern, may in CALLS.items():
            if re.search(pattern, text) and not re.match(may, f):
                bad.append("%s: %s" % (f, pattern))
    return bad


def long_files(files):
    return ["%s: %d lines" % (f, read(f).count("\n")) for f in files
            if re.match(r"(core|api|plugins)/.*\.[ch]$", f) and read(f).count("\n") > LINES_MAX]


class Skip(Exception):
    pass


def clang_format(files):
    """Files that .clang-format would lay out otherwise."""
    program = shutil.which("clang-format-" + FORMAT_VERSION) or shutil.which("clang-format")
    said = subprocess.check_output([program, "--version"]).decode() if program else ""
    if not re.search(r"version %s\." % FORMAT_VERSION, said):
        raise Skip("clang-format-" + FORMAT_VERSION)
    c = [f for f in files if re.search(r"\.[ch]$", f)]
    p = subprocess.run([program, "--dry-run", "-ferror-limit=1"] + c, cwd=TOP, stderr=subprocess.PIPE)
    return sorted(set(re.findall(r"^(\S+?):\d+:\d+: ", p.stderr.decode(), re.M)))


def table_of_kinds(files):
    why = kinds_table.stale()
    return [why] if why else []


def luacheck(files):
    program = shutil.which("luacheck")
    if not program:
        raise Skip("luacheck")
    lua = [f for f in files if f.endswith(".lua") and "/wrong/" not in f]
    p = subprocess.run([program, "--std", "lua54", "--no-color", "-q"] + lua, cwd=TOP, stdout=subprocess.PIPE)
    return [] if p.returncode == 0 else p.stdout.decode().split("\n")[-12:]


def main():
    files, failed = sources(), 0
    for name, check in (("include arrows", arrows), ("a README in every folder", readmes),
                        ("no shell, clock or randomness of one's own", forbidden), ("no file too long", long_files),
                        ("luacheck", luacheck), ("clang-format", clang_format),
                        ("README's table of kinds", table_of_kinds)):
        try:
            bad = check(files)
        except Skip as word:
            print("skip %s: %s" % (name, word))
            continue
        if bad:
            failed += 1
            print("not ok %s: %s" % (name, "; ".join(bad)[:1500]))
        else:
            print("ok " + name)
    return failed


if __name__ == "__main__":
    sys.exit(main())
