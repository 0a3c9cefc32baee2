"""Lists as protobuf: large ones come in parts, hold what the same list as JSON holds, and may be given up halfway."""
import socket
import threading

from cluster import Report, Server

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAPS = "/api/v1/namespaces/lists/configmaps"
COUNT = 2600     # more than are measured in one turn of the loop
THREADS = 4
VARINT, BYTES = 0, 2


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """{number: [bytes or int]}; an error is raised where the message does not end with its last field."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == VARINT:
            value, at = varint(data, at)
        elif tag & 7 == BYTES:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
            if len(value) != size:
                raise ValueError("cut off")
        else:
            raise ValueError("wire type %d" % (tag & 7))
        found.setdefault(tag >> 3, []).append(value)
    return found


def read(data):
    """(kind, names of the items in order, revision, continue token)"""
    if data[:4] != b"k8s\0":
        raise ValueError("no magic: %r" % data[:400])
    envelope = fields(data[4:])
    body = fields(envelope[2][0])
    meta = fields(body[1][0])
    names = [fields(fields(item)[1][0])[1][0].decode() for item in body.get(2, [])]
    return (fields(envelope[1][0])[2][0].decode(), names, meta[2][0].decode(), meta.get(3, [b""])[0].decode())


def fill(server, first):
    client = server.client()
    for i in range(first, COUNT, THREADS):
        client.request("POST", MAPS, {"metadata": {"name": "m%05d" % i, "labels": {"odd": str(i % 2)}},
                                      "data": {"x": "y" * (i % 300)}})


def check_same(report, admin, name, path, query, accept=PROTOBUF):
    """Both at one revision: what a new cluster makes for itself may move it in between."""
    for _ in range(50):
        plain = admin.request("GET", path + "?" + query)[1]
        code, data, headers = admin.raw("GET", path + "?" + query, headers={"Accept": accept})
        if code != 200 or read(data)[2] == plain["metadata"]["resourceVersion"]:
            break
    wanted = [o["metadata"]["name"] for o in plain["items"]]
    got = read(data)
    report.check(name, code == 200 and headers["content-type"].startswith(PROTOBUF) and got[1] == wanted and
                 got[2] == plain["metadata"]["resourceVersion"], (code, headers.items(), got[0], len(got[1]), len(wanted)))
    return got


def check_pages(report, admin, wanted):
    names, token, pages = [], "", 0
    while pages == 0 or token:
        _, data, _ = admin.raw("GET", "%s?limit=1000&continue=%s" % (MAPS, token), headers={"Accept": PROTOBUF})
        _, page, _, token = read(data)
        names += page
        pages += 1
    report.check("pages", pages == 3 and names == wanted, (pages, len(names)))


def check_given_up(report, server, admin):
    """The peer goes away at every stage; nothing is left and nothing breaks."""
    for size in (0, 1, 4096, 300000):
        with socket.create_connection(("127.0.0.1", server.port)) as plain:
            with admin.ssl.wrap_socket(plain, server_hostname="localhost") as s:
                s.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n" % (MAPS.encode(), PROTOBUF.encode()))
                while size > 0:
                    size -= len(s.recv(size))
    report.check("a list is given up halfway", admin.request("GET", "/readyz")[0] == 200, server.tail())


def check_kept(report, admin):
    """What is kept of a list is what the objects are: the same again, and another when one changes or goes."""
    def listed():
        return admin.raw("GET", MAPS, headers={"Accept": PROTOBUF})[1]
    first = listed()
    report.check("the same list again", listed() == first)
    admin.request("PATCH", MAPS + "/m00007", {"data": {"changed": "after-it-was-kept"}}, "application/merge-patch+json")
    second = listed()
    report.check("a change is seen", b"after-it-was-kept" in second and b"after-it-was-kept" not in first)
    admin.request("DELETE", MAPS + "/m00007")
    report.check("a deletion is seen", b"m00007" in second and b"m00007" not in listed())


def check_without(report):
    """protobuf_cache 0 keeps nothing, and one that is too small pushes out what it had."""
    for size in (0, 2000):
        server = Server(args=["--protobuf-cache", str(size)])
        admin = server.client()
        admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": "lists"}})
        for i in range(5):
            admin.request("POST", MAPS, {"metadata": {"name": "m%d" % i}, "data": {"x": "y" * 100 * i}})
        for _ in range(3):
            check_same(report, admin, "protobuf_cache %d" % size, MAPS, "")
            check_same(report, admin, "protobuf_cache %d, by name" % size, MAPS, "fieldSelector=metadata.name%3Dm1")
        report.check("protobuf_cache %d ends cleanly" % size, server.stop() == 0)


def main():
    report = Report()
    server = Server()
    admin = server.client()
    admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": "lists"}})
    threads = [threading.Thread(target=fill, args=(server, i)) for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    kind = check_same(report, admin, "all", MAPS, "")[0]
    report.check("its kind", kind == "ConfigMapList", kind)
    names = check_same(report, admin, "all, their lengths known", MAPS, "")[1]
    check_same(report, admin, "of all namespaces", "/api/v1/configmaps", "")
    check_same(report, admin, "by label", MAPS, "labelSelector=odd%3D1")
    check_same(report, admin, "by name", MAPS, "fieldSelector=metadata.name%3Dm00007")
    check_same(report, admin, "none", MAPS, "labelSelector=none")
    kind = check_same(report, admin, "metadata only", MAPS, "", PROTOBUF + ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")[0]
    report.check("metadata only: its kind", kind == "PartialObjectMetadataList", kind)
    check_pages(report, admin, names)
    check_given_up(report, server, admin)
    check_kept(report, admin)
    check_without(report)
    report.end(server)


if __name__ == "__main__":
    main()
