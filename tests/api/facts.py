"""Comparing with the real server's recorded answers (tests/data/*.jsonl)."""
import copy
import json
import os
import re

from cluster import TOP

MASKS = {"<uid>": r"[0-9a-f]{8}-[0-9a-f-]{27}", "<rv>": r"\d+", "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
         "<ip>": r"[0-9.]+", "<port>": r"\d+", "<rand>": r"[bcdfghjklmnpqrstvwxz2456789]{5}", "<token>": r"[\w.-]+",
         "<any>": r".*"}


def load(name):
    with open(os.path.join(TOP, "tests", "data", name)) as f:
        return [json.loads(line) for line in f]


def known(name):
    """Cases that are allowed to differ: {case: reason}."""
    path = os.path.join(TOP, "tests", "data", name)
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def text_matches(want, got):
    if want == got:
        return True
    if not any(m in want for m in MASKS):
        return False
    pattern = re.escape(want)
    for mask, expression in MASKS.items():
        pattern = pattern.replace(re.escape(mask), "(?:" + expression + ")")
    return re.fullmatch(pattern, str(got), re.S) is not None


def difference(want, got, path=""):
    """None when <got> is what was recorded; else where and how it differs."""
    if isinstance(want, str) and not isinstance(got, (dict, list)):
        if isinstance(got, str) or want in MASKS:
            return None if text_matches(want, got) else "%s: want %r got %r" % (path, want[:300], str(got)[:300])
        return "%s: want %r got %r" % (path, want, got)
    if type(want) is not type(got) and not (isinstance(want, (int, float)) and isinstance(got, (int, float))
                                            and not isinstance(want, bool) and not isinstance(got, bool)):
        return "%s: want %s got %s" % (path, json.dumps(want)[:200], json.dumps(got)[:200])
    if isinstance(want, dict):
        for k in sorted(set(want) | set(got)):
            if k not in got:
                return "%s.%s: missing (want %s)" % (path, k, json.dumps(want[k])[:200])
            if k not in want:
                return "%s.%s: too much (%s)" % (path, k, json.dumps(got[k])[:200])
            d = difference(want[k], got[k], path + "." + k)
            if d:
                return d
        return None
    if isinstance(want, list):
        for i, (a, b) in enumerate(zip(want, got)):
            d = difference(a, b, "%s[%d]" % (path, i))
            if d:
                return d
        return None if len(want) == len(got) else "%s: want %d items got %d" % (path, len(want), len(got))
    return None if want == got else "%s: want %r got %r" % (path, want, got)


def without_managed_fields(o):
    o = copy.deepcopy(o)
    if isinstance(o, dict) and isinstance(o.get("metadata"), dict):
        o["metadata"].pop("managedFields", None)
    return o


def set_up_namespaces(admin):
    for name in ("golden", "term", "psa", "lr", "quota"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        if name == "psa":
            body["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted",
                                          "pod-security.kubernetes.io/warn": "baseline"}
        if name == "term":
            body["metadata"]["finalizers"] = ["example.com/hold"]
        admin.request("POST", "/api/v1/namespaces", body)
    for name in ("default", "nobody"):
        admin.request("POST", "/api/v1/namespaces/golden/serviceaccounts",
                      {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    admin.request("POST", "/api/v1/namespaces/golden/configmaps",
                  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}})
    admin.request("DELETE", "/api/v1/namespaces/term")


def name_sent(body):
    meta = body.get("metadata") if isinstance(body, dict) else None
    name = meta.get("name") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else None


class Case:
    """Sends requests and takes away afterwards what they made."""

    def __init__(self, admin):
        self.admin, self.made = admin, []

    def send(self, method, path, body, content_type, client=None, headers=None):
        body = self.unmask(path, body) if method in ("PUT", "PATCH") else body
        if isinstance(body, str):
            body = body.encode()
        code, got, warnings = (client or self.admin).request(method, path, body, content_type, headers)
        self.remember(method, path, code, got)
        return code, got, warnings

    def remember(self, method, path, code, got):
        if code == 201 and isinstance(got, dict) and "dryRun" not in path:
            plain = path.split("?")[0]
            name = (got.get("metadata") or {}).get("name")
            if method == "POST" and name and not re.search(r"/(binding|eviction|token)$", plain):
                self.made.append(plain + "/" + name)
            elif method in ("PUT", "PATCH"):
                self.made.append(plain)

    def unmask(self, path, body):
        text = json.dumps(body) if not isinstance(body, str) else body
        if not re.search("<(uid|rv|time)>", text):
            return body
        plain = re.sub(r"/(status|scale|resize|ephemeralcontainers|approval|finalize)$", "", path.split("?")[0])
        meta = self.admin.request("GET", plain)[1].get("metadata", {})
        text = text.replace("<uid>", meta.get("uid", "")).replace("<rv>", meta.get("resourceVersion", ""))
        text = text.replace("<time>", meta.get("creationTimestamp", ""))
        return json.loads(text) if not isinstance(body, str) else text

    def hand_over(self, row):
        """What the next recorded case still speaks of: the recorder took it away later."""
        steps = row.get("setup", []) + [row]
        text = json.dumps([s["path"] for s in steps])
        own = [s["path"].split("?")[0] + "/" + name for s, name in ((s, name_sent(s.get("sent"))) for s in steps)
               if s.get("method", "POST") == "POST" and name]
        kept = [p for p in self.made if p not in own and (p + "/" in text or p + '"' in text or p + "?" in text)]
        self.made = [p for p in self.made if p not in kept]
        return kept

    def end(self):
        for path in reversed(self.made):
            code, got, _ = self.admin.request("DELETE", path + "?gracePeriodSeconds=0&propagationPolicy=Background")
            if code == 200:  # deleted, or marked: also by a case that deleted it itself
                code, got, _ = self.admin.request("GET", path)
            if code == 200 and isinstance(got, dict) and (got.get("metadata") or {}).get("finalizers"):
                self.admin.request("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
