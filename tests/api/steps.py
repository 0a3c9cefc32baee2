"""Cases of several requests (tests/data/steps.jsonl): played on a server, masked, compared.

A row: {"case", "steps": [{"method", "path", "sent", "contentType", "headers", "auth", "quiet", "background",
"answer": {"code", "body", "warnings", "type"}}]}. In path, sent and headers, {{ns}} is the case's own namespace, and
{{0.metadata.uid}} a field of the first step's answer. A quiet step only prepares: just its code is kept. A watch's body
is the list of its events; one in the background goes on while the following steps run, for its timeoutSeconds."""
import http.client
import json
import re
import threading

import facts

TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
OWN_WARNINGS = (": stored, but", "not enforced")


def namespace(case):
    return ("s-" + re.sub(r"[^a-z0-9]+", "-", case.lower()))[:60].strip("-")


def is_watch(path):
    return re.search(r"[?&]watch=(1|true)\b", path) is not None


class Player:
    """One server's side. <clients>: {auth: Client}, the administrator's under None."""

    def __init__(self, clients):
        self.clients = clients

    def admin(self, method, path, body=None):
        return self.clients[None].request(method, path, body)

    def prepare(self, ns):
        meta = {"metadata": {"name": ns}}
        self.admin("POST", "/api/v1/namespaces", dict(meta, apiVersion="v1", kind="Namespace"))
        self.admin("POST", "/api/v1/namespaces/%s/serviceaccounts" % ns,
                   {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})

    def play(self, row):
        """The answers, one a step."""
        ns, answers, threads = namespace(row["case"]), [], []
        if "{{ns}}" in json.dumps(row["steps"]):
            self.prepare(ns)
        for step in row["steps"]:
            step = fill(step, ns, answers)
            if step.get("background"):
                answers.append({})
                threads.append(self.background(step, answers[-1]))
            else:
                answers.append(self.send(step))
        for t in threads:
            t.join()
        return answers

    def background(self, step, answer):
        """Goes on when the watch is established: its answer's head is there."""
        c = self.clients[step.get("auth")]
        connection = http.client.HTTPSConnection("127.0.0.1", c.server.port, context=c.ssl, timeout=30)
        connection.request(step["method"], step["path"], headers=step.get("headers") or {})
        response = connection.getresponse()

        def read():
            answer.update(take(step, response.status, response.read(), response.headers))
            connection.close()
        thread = threading.Thread(target=read)
        thread.start()
        return thread

    def send(self, step):
        body = step.get("sent")
        if "fill" in step:
            body = grow(body, step["fill"])
        if isinstance(body, str):
            body = body.encode()
        return take(step, *self.clients[step.get("auth")].raw(
            step["method"], step["path"], body, step.get("contentType", "application/json"), step.get("headers")))


def player(server):
    """Of a new server, with the identities that rows may name."""
    p = Player({None: server.client(), "none": server.client(certificate=False), "bogus": server.client("bogus")})
    p.prepare("golden")
    p.admin("POST", "/api/v1/namespaces/golden/serviceaccounts",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}})
    got = p.admin("POST", "/api/v1/namespaces/golden/serviceaccounts/nobody/token",
                  {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})[1]
    p.clients["nobody"] = server.client(got["status"]["token"])
    return p


def grow(body, pointers):
    """{"/data/k": 300} puts 300 letters there: long texts are not written out."""
    for pointer, n in pointers.items():
        at = body
        keys = [k.replace("~1", "/").replace("~0", "~") for k in pointer.split("/")[1:]]
        for k in keys[:-1]:
            at = at[int(k)] if isinstance(at, list) else at[k]
        at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = "x" * n
    return body


def fill(step, ns, answers):
    def found(m):
        words = m[1].split(".")
        if words == ["ns"]:
            return ns
        at = answers[int(words[0])]["body"]
        for w in words[1:]:
            at = at[int(w)] if isinstance(at, list) else at[w]
        return str(at)
    text = json.dumps({k: v for k, v in step.items() if k != "answer"})
    return json.loads(re.sub(r"\{\{([\w.]+)\}\}", found, text))


def parse(text, kind):
    text = text.decode(errors="replace")
    if "yaml" in kind:
        return "<any>"  # the tests of YAML look into it
    if "json" not in kind:
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(x) for x in text.splitlines()]
    except ValueError:
        return text


def take(step, code, text, headers):
    kind = headers.get("Content-Type") or ""
    warnings = [re.sub(r"\\(.)", r"\1", w[len('299 - "'):-1]) for w in headers.get_all("Warning") or []]
    warnings = sorted(w for w in warnings if not any(o in w for o in OWN_WARNINGS))
    body = parse(text, kind)
    if code == 200 and is_watch(step["path"]) and isinstance(body, dict) and "object" in body:
        body = [body]
    return {"code": code, "body": body, "warnings": warnings, "type": kind}


def masked(row, answers):
    """The answers with what another run must have otherwise replaced by facts.MASKS' words."""
    sent = json.dumps([{k: v for k, v in s.items() if k != "answer"} for s in row["steps"]])
    revisions = set(re.findall(r'"(?:resourceVersion|observedRV)": "(\d{3,})"', json.dumps(answers)))
    return [{k: mask(v, sent, revisions, k) for k, v in a.items()} for a in answers]


def mask(v, sent, revisions, key=""):
    if isinstance(v, dict):
        name, prefix = v.get("name"), v.get("generateName")
        if "columnDefinitions" in v:  # their descriptions are documentation
            v = dict(v, columnDefinitions=[dict(c, description="<any>") for c in v["columnDefinitions"]])
        v = {k: mask(x, sent, revisions, k) for k, x in v.items()}
        if isinstance(prefix, str) and isinstance(name, str) and re.fullmatch(re.escape(prefix) + "[a-z0-9]{5}", name):
            v["name"] = prefix + "<rand>"
        return v
    if isinstance(v, list):
        return [mask(x, sent, revisions, key) for x in v]
    if key in ("nodePort", "healthCheckNodePort") and isinstance(v, int) and '"%s": %d' % (key, v) not in sent:
        return "<port>" if v else v
    if not isinstance(v, str):
        return v
    return mask_text(v, sent, revisions, key)


def mask_text(v, sent, revisions, key):
    if key in ("clusterIP", "clusterIPs") and re.fullmatch(r"[0-9.]+", v) and '"%s"' % v not in sent:
        return "<ip>"
    if key in ("continue", "token"):
        return "<token>" if v else v
    if key == "serverAddress":
        return "<any>"
    if key == "cells" and re.fullmatch(r"\d+s", v):
        return "<any>"  # the age
    v = re.sub(r"\b(kube-api-access-)[a-z0-9]{5}\b", r"\1<rand>", v)
    if key == "resourceVersion" and v != "0" and '"%s"' % v not in sent:
        return "<rv>" if v else v
    v = UID.sub(lambda m: m[0] if m[0] in sent else "<uid>", v)
    v = TIME.sub(lambda m: m[0] if m[0] in sent else "<time>", v)
    for rv in revisions:
        if rv in v and rv not in sent:
            v = re.sub(r"\b%s\b" % rv, "<rv>", v)
    return v


def difference(step, want, got):
    """None, or where and how <got> is not what the real server answered."""
    if want["code"] != got["code"]:
        return "code %d, want %d: %s" % (got["code"], want["code"], json.dumps(got["body"])[:300])
    if step.get("quiet"):
        return None
    for part in ("body", "warnings", "type"):
        if part in want:
            d = facts.difference(want[part], got[part], part)
            if d:
                return d
    return None


def compare(row, wanted, answers):
    """[(step's number, difference)]"""
    found = [(i, difference(s, w, a)) for i, (s, w, a) in enumerate(zip(row["steps"], wanted, answers))]
    return [(i, d) for i, d in found if d]
