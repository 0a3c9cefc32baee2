"""Makes the images that test_image.c imports: good ones of each form, and hostile ones.
usage: make_images.py DIR"""
import gzip, hashlib, io, json, os, sys, tarfile

out = sys.argv[1]


def tar(entries):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=tarfile.PAX_FORMAT) as t:
        for e in entries:
            i = tarfile.TarInfo(e["name"])
            i.mode = e.get("mode", 0o644)
            i.type = e.get("type", tarfile.REGTYPE)
            i.linkname = e.get("link", "")
            i.uid, i.gid = e.get("uid", 0), e.get("gid", 0)
            data = e.get("data", b"")
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return b.getvalue()


def sha(b):
    return "sha256:" + hashlib.sha256(b).hexdigest()


D, L, H = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
base = tar([{"name": "./tmp", "type": D, "mode": 0o1777, "uid": 5, "gid": 6},
            {"name": "./etc", "type": D, "mode": 0o755},
            {"name": "./etc/gone", "data": b"x"}, {"name": "./etc/kept", "data": b"kept"},
            {"name": "./dir", "type": D, "mode": 0o755}, {"name": "./dir/old", "data": b"old"},
            {"name": "./hard", "type": H, "link": "./etc/kept"},
            {"name": "./soft", "type": L, "link": "/etc/kept"}])
top = tar([{"name": "tmp/new", "data": b"new"}, {"name": "etc/.wh.gone"},
           {"name": "dir/.wh..wh..opq"}, {"name": "dir/fresh", "data": b"fresh"}])


def config(layers, **more):
    return json.dumps({"architecture": "amd64", "os": "linux",
                       "config": {"Cmd": ["/bin/true"], "User": "web", "Env": ["A=1"]},
                       "rootfs": {"type": "layers", "diff_ids": [sha(l) for l in layers]}}).encode()


def layout(name, layers, spoil=None, ref=None):
    d = os.path.join(out, name)
    os.makedirs(d + "/blobs/sha256")

    def blob(b):
        with open(d + "/blobs/sha256/" + sha(b)[7:], "wb") as f:
            f.write(spoil(b) if spoil else b)
        return {"digest": sha(b), "size": len(b)}
    ls = [dict(blob(gzip.compress(l, mtime=0)),
               mediaType="application/vnd.oci.image.layer.v1.tar+gzip") for l in layers]
    m = {"schemaVersion": 2, "config": blob(config(layers)), "layers": ls}
    m = json.dumps(m).encode()
    other = json.dumps({"manifests": [
        dict(blob(b"{}"), platform={"os": "windows", "architecture": "amd64"}),
        dict(blob(m), platform={"os": "linux", "architecture": "amd64"})]}).encode()
    index = {"schemaVersion": 2, "manifests": [dict(blob(other))]}
    if ref:
        index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": ref}
    with open(d + "/index.json", "w") as f:
        json.dump(index, f)
    with open(d + "/oci-layout", "w") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    return d


def pack(d, to):
    with tarfile.open(os.path.join(out, to), "w") as t:
        t.add(d, arcname=".")


pack(layout("layout", [base, top], ref="example.org/two:1"), "layout.tar")

docker = os.path.join(out, "docker")
os.makedirs(docker + "/a")
os.makedirs(docker + "/b")
open(docker + "/a/layer.tar", "wb").write(base)
open(docker + "/b/layer.tar", "wb").write(top)
open(docker + "/c.json", "wb").write(config([base, top]))
json.dump([{"Config": "c.json", "RepoTags": ["two:docker", "two:again"],
            "Layers": ["a/layer.tar", "b/layer.tar"]}], open(docker + "/manifest.json", "w"))
pack(docker, "docker.tar")

layout("spoiled", [tar([{"name": "spoiled", "data": b"s"}])], spoil=lambda b: b[:-1] + bytes([b[-1] ^ 1]) if b[:2] == b"\x1f\x8b" else b)
layout("dotdot", [tar([{"name": "../escaped", "data": b"x"}])])
layout("deep", [tar([{"name": "a/../../escaped", "data": b"x"}])])
layout("hard", [tar([{"name": "h", "type": H, "link": "../../../../../../../../etc/passwd"}])])
target = os.path.join(out, "outside")
os.makedirs(target)
layout("link", [tar([{"name": "l", "type": L, "link": target},
                     {"name": "l/escaped", "data": b"x"}])])
layout("linkwh", [tar([{"name": "l", "type": L, "link": target}, {"name": "l/.wh.victim"}])])
layout("cut", [base[:700]])
layout("garbage", [b"this is no tar" * 100])
layout("absolute", [tar([{"name": "/absolute", "data": b"in"}])], ref="example.org/abs:1")
