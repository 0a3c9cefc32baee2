"""What is written comes back as from the real server (tests/data/roundtrip.jsonl)."""
import json

import facts
from cluster import Report, Server


def run(case, row):
    for s in row.get("setup", []):
        code, got, _ = case.send(s.get("method", "POST"), s["path"], s.get("sent"),
                                 s.get("contentType", "application/json"))
        if code >= 400:
            return "setup %s %s: %d %s" % (s.get("method"), s["path"], code, json.dumps(got)[:300])
    code, got, warnings = case.send(row.get("method", "POST"), row["path"], row.get("sent"),
                                    row.get("contentType", "application/json"))
    if code != row["code"]:
        return "code %d, want %d: %s" % (code, row["code"], json.dumps(got)[:400])
    d = facts.difference(row["returned"], got)
    if d:
        return d
    want = row.get("warnings", [])
    got_warnings = [w for w in warnings if "not enforced" not in w and ": stored, but" not in w]
    if sorted(want) != sorted(got_warnings):
        return "warnings %r, want %r" % (got_warnings, want)
    for read in row.get("read", []):
        code, got, _ = case.admin.request("GET", read["path"])
        if code != read["code"]:
            return "read: code %d" % code
        d = facts.difference(read["returned"], got)
        if d:
            return "read: " + d
    return None


def main():
    report, server = Report(), Server(args=["--scheduler=false", "--controllers=false"])  # as recorded
    admin = server.client()
    facts.set_up_namespaces(admin)
    skip = facts.known("known-roundtrip.json")
    rows = facts.load("roundtrip.jsonl")
    kept = []
    for row, following in zip(rows, rows[1:] + [None]):
        name = row["case"]
        case = facts.Case(admin)
        case.made += kept
        try:
            why = run(case, row)
        except Exception as e:  # the server died, or answered what is no HTTP
            why = repr(e)
        kept = case.hand_over(following) if following else []
        case.end()
        if name not in skip:
            report.check("roundtrip " + name, why is None, why)
        elif why is None:
            report.fail("roundtrip " + name, "passes, but is listed in known-roundtrip.json")
        else:
            print("skip %s: %s" % (name, skip[name]))
    report.end(server)


if __name__ == "__main__":
    main()
