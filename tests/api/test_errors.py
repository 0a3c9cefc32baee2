"""Bad requests get the real server's Status (tests/data/errors.jsonl)."""
import json

import facts
from cluster import Report, Server


def fill(body, pointers):
    for pointer, n in (pointers or {}).items():
        at = body
        keys = [k.replace("~1", "/").replace("~0", "~") for k in pointer.split("/")[1:]]
        for k in keys[:-1]:
            at = at[int(k)] if isinstance(at, list) else at[k]
        at[keys[-1]] = "x" * n
    return body


def causes(status):
    return sorted(json.dumps(c, sort_keys=True) for c in (status.get("details") or {}).get("causes", []))


def status_difference(row, got):
    want = dict(row["status"])
    if row.get("anyOrder") and isinstance(got, dict):
        if causes(want) != causes(got):
            return "causes %s, want %s" % (causes(got), causes(want))
        return None if got.get("reason") == want.get("reason") else "reason %r" % got.get("reason")
    return facts.difference(want, got)


def run(case, row, clients):
    for s in row.get("setup", []):
        code, got, _ = case.send(s.get("method", "POST"), s["path"], s.get("sent"),
                                 s.get("contentType", "application/json"))
        if code >= 400 and code != 409:
            return "setup %s %s: %d %s" % (s.get("method"), s["path"], code, json.dumps(got)[:300])
    body = fill(json.loads(json.dumps(row["sent"])), row.get("fill")) if "sent" in row else None
    code, got, warnings = case.send(row["method"], row["path"], body, row.get("contentType", "application/json"),
                                    clients[row.get("auth")], row.get("headers"))
    if code != row["code"]:
        return "code %d, want %d: %s" % (code, row["code"], json.dumps(got)[:300])
    if "status" in row:
        d = status_difference(row, got)
        if d:
            return d
    elif "text" in row and not facts.text_matches(row["text"], got):
        return "text %r, want %r" % (got, row["text"])
    want = row.get("warnings", [])
    got_warnings = [w for w in warnings if ": stored, but" not in w]
    return None if sorted(want) == sorted(got_warnings) else "warnings %r, want %r" % (got_warnings, want)


def token(admin, name):
    code, got, _ = admin.request("POST", "/api/v1/namespaces/golden/serviceaccounts/%s/token" % name,
                                 {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    return got["status"]["token"]


def main():
    report, server = Report(), Server(args=["--scheduler=false", "--controllers=false"])  # as recorded
    admin = server.client()
    facts.set_up_namespaces(admin)
    clients = {None: admin, "none": server.client(certificate=False), "bogus": server.client("bogus"),
               "nobody": server.client(token(admin, "nobody")), "default": server.client(token(admin, "default"))}
    skip = facts.known("known-errors.json")
    rows, kept = facts.load("errors.jsonl"), []
    for row, following in zip(rows, rows[1:] + [None]):
        name = row["case"]
        case = facts.Case(admin)
        case.made += kept
        try:
            why = run(case, row, clients)
        except Exception as e:
            why = repr(e)
        kept = case.hand_over(following) if following else []
        case.end()
        if name not in skip:
            report.check("errors " + name, why is None, why)
        elif why is None:
            report.fail("errors " + name, "passes, but is listed in known-errors.json")
        else:
            print("skip %s: %s" % (name, skip[name]))
    report.end(server)


if __name__ == "__main__":
    main()
