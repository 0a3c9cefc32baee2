#!/usr/bin/python3
"""README.md's table of kinds, made of the kind files (api/kinds): what works and what is only stored.

kinds_table.py prints it; kinds_table.py --write puts it between the marks in README.md."""
import os
import sys

import yaml

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BEGIN, END = "<!-- kinds: made by tests/style/kinds_table.py --write -->\n", "<!-- /kinds -->\n"
HIDDEN = {"internal.neap.dev", "meta"}  # in no discovery


def kinds():
    """{group/version: [(kind, what a write of it is told or None)]}, core first."""
    found = {}
    for here, _, names in os.walk(os.path.join(TOP, "api/kinds")):
        for name in names:
            if not name.endswith(".yaml"):
                continue
            with open(os.path.join(here, name), encoding="utf-8") as f:
                d = yaml.load(f, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if d.get("kinds") and d["group"] not in HIDDEN:
                group = ("%s/%s" % (d["group"], d["version"])).lstrip("/")
                found[group] = [(kind, row.get("notEnforced")) for kind, row in sorted(d["kinds"].items())]
    return dict(sorted(found.items(), key=lambda g: ("/" in g[0], g[0])))


def cell(rows):
    """Kinds that are told the same share a sentence."""
    notes = {}
    for kind, note in rows:
        notes.setdefault(note, []).append(kind)
    return "; ".join("%s (%s)" % (", ".join(names), note.replace("stored, but ", ""))
                     for note, names in notes.items())


def table():
    out = "| group | works | stored only: a write answers with a Warning |\n| --- | --- | --- |\n"
    for group, rows in kinds().items():
        works = ", ".join(kind for kind, note in rows if not note)
        out += "| %s | %s | %s |\n" % (group, works, cell([r for r in rows if r[1]]))
    return out


def readme():
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        return f.read()


def stale():
    """Why README.md's table is not what the kind files say; None when it is."""
    text = readme()
    if BEGIN not in text or END not in text:
        return "README.md has no place for the table"
    now = text.split(BEGIN)[1].split(END)[0]
    return None if now == table() else "README.md's table of kinds is stale: run tests/style/kinds_table.py --write"


def main(args):
    if args != ["--write"]:
        print(table(), end="")
        return 0
    text = readme()
    before, rest = text.split(BEGIN)
    with open(os.path.join(TOP, "README.md"), "w", encoding="utf-8") as f:
        f.write(before + BEGIN + table() + END + rest.split(END)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
