"""Seeds that the recorded answers of tests/data hold already: objects of every kind, patches, protobuf."""
import base64
import json
import os

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SIZE_MAX = 8192
PATCHES = {"application/strategic-merge-patch+json": "strategic", "application/merge-patch+json": "jsonpatch",
           "application/json-patch+json": "jsonpatch"}


def records(name):
    with open(os.path.join(TOP, "tests/data", name), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def lines(*objects):
    return "\n".join(json.dumps(o, separators=(",", ":")) for o in objects).encode()


def seeds():
    """(target, bytes)"""
    for r in records("protobuf.jsonl"):
        o = r["object"]
        for target in ("kind", "validate", "protobuf_encode"):
            yield target, lines(o)
        kind = "%s %s\n" % (o.get("apiVersion", ""), o.get("kind", ""))
        yield "protobuf", kind.encode() + base64.b64decode(r["protobuf"])[4:]
    for r in records("errors.jsonl"):
        if r["method"] == "POST" and isinstance(r.get("sent"), dict):
            yield "validate", lines(r["sent"])
    for r in records("roundtrip.jsonl"):
        target = PATCHES.get(r.get("contentType")) if r.get("before") else None
        if target:
            yield target, lines(r["before"], r["sent"])
    for r in records("apply.jsonl"):
        yield "apply", lines(r.get("live"), r.get("config"), r.get("new"))


def write(folder):
    """Everything below folder/TARGET; small ones only, so that a run has time for more than these."""
    for i, (target, data) in enumerate(seeds()):
        if len(data) <= SIZE_MAX:
            os.makedirs(os.path.join(folder, target), exist_ok=True)
            with open(os.path.join(folder, target, "data-%d" % i), "wb") as f:
                f.write(data)
