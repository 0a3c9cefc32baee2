"""Objects that are valid but for one field: rows for beside_api.py, made of recorded valid objects."""
import copy
import re

CREATE, UPDATE = "create", "update"


def values(v):
    """{what: another value, valid or not}"""
    if isinstance(v, bool):
        return {"type": "x", "not": not v}
    if isinstance(v, int):
        return {"negative": -1, "zero": 0, "type": "x", "big": 2147483648, "fraction": 1.5, "odd": 70001}
    if isinstance(v, float):
        return {"type": "x"}
    if isinstance(v, str):
        return {"empty": "", "type": 5, "characters": "Bad_Name!", "long": "x" * 300, "other": "other"}
    if isinstance(v, list):
        more = {"twice": v + [copy.deepcopy(v[0])]} if v else {}
        return dict(more, none=[], type={}, null=[None])
    if isinstance(v, dict):
        return {"none": {}, "type": [], "unknown": dict(v, nosuchfield=1)}
    return {}


def places(v, path=()):
    """The path of every field within, and its value."""
    items = v.items() if isinstance(v, dict) else enumerate(v) if isinstance(v, list) else ()
    for k, x in items:
        yield path + (k,), x
        yield from places(x, path + (k,))


def at(o, path):
    for k in path:
        o = o[k]
    return o


def changed(o, path, value):
    o = copy.deepcopy(o)
    at(o, path[:-1])[path[-1]] = value
    return o


def without(o, path):
    o = copy.deepcopy(o)
    del at(o, path[:-1])[path[-1]]
    return o


def mutations(o):
    """(path, what, object)"""
    for path, v in places(o):
        if path[0] in ("apiVersion", "kind") and len(path) == 1 or path[:2] == ("metadata", "managedFields"):
            continue
        for what, value in values(v).items():
            yield path, what, changed(o, path, value)
        if not isinstance(path[-1], int):
            yield path, "missing", without(o, path)


def usable(row):
    sent = row.get("sent")
    return (isinstance(sent, dict) and row.get("method", "POST") == "POST" and not row.get("setup")
            and row["code"] == 201 and "name" in (sent.get("metadata") or {}) and "?" not in row["path"]
            and not re.search("example|apiextensions|apiregistration|reviews|/(token|eviction|binding)$", row["path"]))


def steps_of(row, way, o):
    path = row["path"]
    if way == CREATE:
        return [{"method": "POST", "path": path + "?dryRun=All", "sent": o}]
    name = row["sent"]["metadata"]["name"]
    return [{"method": "POST", "path": path, "sent": row["sent"], "quiet": True},
            {"method": "PUT", "path": "%s/%s?dryRun=All" % (path, name), "sent": o},
            {"method": "DELETE", "path": "%s/%s?gracePeriodSeconds=0" % (path, name), "quiet": True}]


def rows(recorded):
    seen = set()
    for row in recorded:
        if not usable(row):
            continue
        kind = row["sent"]["kind"]
        for path, what, o in mutations(row["sent"]):
            place = ".".join("*" if isinstance(k, int) else str(k) for k in path)
            for way in (CREATE, UPDATE):
                key = (kind, row["sent"]["apiVersion"], place, what, way)
                if key not in seen:
                    seen.add(key)
                    yield {"case": "%s %s %s %s" % (kind, way, place, what), "steps": steps_of(row, way, o)}
