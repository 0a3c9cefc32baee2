"""OpenAPI: version 2 as protobuf says what its JSON says; hashes and ETags; version 3's index."""
import json
import sys

from cluster import Report, Server

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """The fields of a message: (number, value)."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            n, at = varint(data, at)
            value, at = data[at:at + n], at + n
        yield key >> 3, value
    assert at == len(data), "a length runs over the end"


def one(data, number):
    return next((v for n, v in fields(data) if n == number), None)


def named(data, number):
    """Entries {name, value} of a message, by name."""
    return {one(e, 1).decode(): one(e, 2) for n, e in fields(data) if n == number}


def check_version_2(report, admin):
    code, want, headers = admin.request("GET", "/openapi/v2")
    report.check("v2 as JSON", code == 200 and want["swagger"] == "2.0", code)
    code, data, headers = admin.raw("GET", "/openapi/v2", headers={"Accept": PROTOBUF + ",application/json"})
    report.check("v2 as protobuf", code == 200 and headers["content-type"] == PROTOBUF, (code, headers))
    definitions, paths = named(one(data, 9), 1), named(one(data, 8), 2)
    report.check("the same definitions", list(definitions) == list(want["definitions"]))
    report.check("the same paths", list(paths) == list(want["paths"]))
    pod = named(one(definitions["io.k8s.api.core.v1.PodSpec"], 25), 1)
    report.check("the same properties", list(pod) == list(want["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]))
    extensions = {one(e, 1).decode(): json.loads(one(one(e, 2), 2))
                  for n, e in fields(definitions["io.k8s.api.core.v1.Pod"]) if n == 31}
    report.check("the kind's extension", extensions["x-kubernetes-group-version-kind"] ==
                 want["definitions"]["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"], extensions)
    patch = one(paths["/api/v1/namespaces/{namespace}/pods/{name}"], 8)
    consumes = [v.decode() for n, v in fields(patch) if n == 7]
    report.check("a patch's content types",
                 consumes == want["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]["consumes"], consumes)
    code = admin.raw("GET", "/openapi/v2", headers={"Accept": PROTOBUF, "If-None-Match": headers["etag"]})[0]
    report.check("an ETag that still holds is 304", code == 304, code)
    code = admin.raw("GET", "/openapi/v2", headers={"Accept": "application/vnd.kubernetes.protobuf"})[0]
    report.check("no other protobuf", code == 406, code)


def check_version_3(report, admin):
    _, index, _ = admin.request("GET", "/openapi/v3")
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    code, text, headers = admin.raw("GET", url)
    got = json.loads(text)
    report.check("v3 by its hash", code == 200 and "io.k8s.api.apps.v1.Deployment" in got["components"]["schemas"], code)
    report.check("the hash is the ETag", headers["etag"].strip('"') in url, (headers, url))


def main():
    report, server = Report(), Server()
    admin = server.client()
    for fn in (check_version_2, check_version_3):
        try:
            fn(report, admin)
        except Exception as e:
            report.fail(fn.__name__, repr(e) + server.tail()[-600:])
    report.end(server)


if __name__ == "__main__":
    sys.exit(main())
