"""Images from a registry: imagePullPolicy, what a failed pull is told, TLS by a CA of the registry's own."""
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

from onenode import Report, cluster_or_skip, poll

NODE, PORT = "10.244.0.1", 5443
REGISTRY = "%s:%d" % (NODE, PORT)
SERVER = """
import http.server, os, ssl, sys
root, log = sys.argv[1], open(sys.argv[2], "a", buffering=1)

class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        log.write(self.path + "\\n")
        path = os.path.join(root, self.path.strip("/").replace("/", "_").replace(":", "_"))
        found = os.path.exists(path)
        body = open(path, "rb").read() if found else b"{}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer((sys.argv[3], int(sys.argv[4])), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[5])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("serves", flush=True)
server.serve_forever()
"""


class Registry:
    def __init__(self, directory):
        self.dir = os.path.join(directory, "registry")
        os.mkdir(self.dir)
        self.log = os.path.join(directory, "requests")
        self.process = None

    def put(self, path, data):
        with open(os.path.join(self.dir, path.replace("/", "_").replace(":", "_")), "wb") as f:
            f.write(data)

    def blob(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.put("v2/team/app/blobs/" + digest, data)
        return {"digest": digest, "size": len(data)}

    def image(self, tag, root, env):
        """One layer of the folder <root>; <env> makes it another image. Its id."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as t:
            t.add(root, arcname=".")
        plain = out.getvalue()
        layer = self.blob(gzip.compress(plain, mtime=0))
        config = self.blob(json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Env": [env]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]}}).encode())
        manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                               "config": config, "layers": [layer]}).encode()
        self.put("v2/team/app/manifests/" + tag, manifest)
        self.put("v2/team/app/manifests/sha256:" + hashlib.sha256(manifest).hexdigest(), manifest)
        return config["digest"]

    def start(self, netns, pem):
        self.process = subprocess.Popen(["nsenter", "--net=/run/netns/" + netns, sys.executable, "-c", SERVER, self.dir,
                                         self.log, NODE, str(PORT), pem], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"serves\n"

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process.stdout.close()
        self.process = None

    def requests(self):
        """What was asked since the last call."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, "r+") as f:
            lines = f.read().split()
            f.truncate(0)
        return lines


def certificate(directory):
    """A CA, and a key and certificate of the registry's address in one file."""
    def run(*argv):
        subprocess.run(["openssl"] + list(argv), check=True, cwd=directory, stderr=subprocess.DEVNULL)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=ca",
        "-keyout", "ca.key", "-out", "ca.pem")
    run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=registry",
        "-keyout", "registry.pem", "-out", "registry.csr")
    with open(os.path.join(directory, "ext"), "w") as f:
        f.write("subjectAltName=IP:%s\n" % NODE)
    run("x509", "-req", "-in", "registry.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "ext", "-out", "registry.crt")
    with open(os.path.join(directory, "registry.pem"), "a") as out, open(os.path.join(directory, "registry.crt")) as f:
        out.write(f.read())
    return os.path.join(directory, "registry.pem")


def pod(k, name, image, policy=None, command="echo $WHICH; exec sleep 100000"):
    own = {"image": REGISTRY + image}
    if policy:
        own["imagePullPolicy"] = policy
    k.apply(k.pod(name, command, container=own))


def waiting(k, name):
    s = (k.get("pod", name)["status"].get("containerStatuses") or [{}])[0]
    return s.get("state", {}).get("waiting") or {}


def messages(k, name):
    return [e["message"] for e in k.get("events", "--field-selector", "involvedObject.name=" + name)["items"]]


def waits(k, name, reason):
    return poll(lambda: waiting(k, name).get("reason") == reason and waiting(k, name))


def which(k, name):
    k.wait_ready(name)
    return poll(lambda: k.run("logs", name)[1].strip())


def check_fails(report, k, registry, pem):
    pod(k, "early", "/team/app:1", "Always")
    image = REGISTRY + "/team/app:1"
    w = waits(k, "early", "ErrImagePull")
    report.check("no registry: ErrImagePull", w and w.get("message"), waiting(k, "early"))
    w = waits(k, "early", "ImagePullBackOff")
    report.check("then ImagePullBackOff", w and w["message"].startswith(
        'Back-off pulling image "%s": ErrImagePull: ' % image), waiting(k, "early"))
    want = ['Pulling image "%s"' % image, "Error: ErrImagePull", 'Back-off pulling image "%s"' % image, "Error: ImagePullBackOff"]
    got = poll(lambda: (lambda m: m if set(want) <= set(m) else None)(messages(k, "early")))
    report.check("events of it", got and any(m.startswith('Failed to pull image "%s": ' % image) for m in got),
                 messages(k, "early"))
    report.check("kubectl get says so", "ImagePullBackOff" in k.kubectl("get", "pod", "early"))
    registry.start(k.netns, pem)
    report.check("it is tried again, and runs", which(k, "early") == "one", k.get("pod", "early")["status"])
    s = k.get("pod", "early")["status"]["containerStatuses"][0]
    report.check("nothing counts as a restart", s["restartCount"] == 0 and s["imageID"] == registry.one, s)
    report.check("it tells how long it took", poll(lambda: any(re.fullmatch(
        r'Successfully pulled image "%s" in [0-9.]+s \([0-9.]+s including waiting\)\. Image size: [1-9][0-9]* bytes\.'
        % re.escape(image), m) for m in messages(k, "early"))), messages(k, "early"))
    pod(k, "absent", "/team/app:none")
    report.check("a tag that is not there", waits(k, "absent", "ErrImagePull"))
    report.check("is said to be missing", "not there" in (waits(k, "absent", "ImagePullBackOff") or {}).get("message", ""),
                 waiting(k, "absent"))
    k.kubectl("delete", "pod", "absent", "--now")


def check_policies(report, k, registry, root):
    registry.requests()
    pod(k, "asks", "/team/app:1", "Always")
    first = which(k, "asks")
    asked = registry.requests()
    report.check("Always asks, and reads nothing twice", first == "one" and asked == ["/v2/team/app/manifests/1"], asked)
    registry.two = registry.image("1", root, "WHICH=two")
    pod(k, "present", "/team/app:1", "IfNotPresent")
    report.check("IfNotPresent takes what is here", which(k, "present") == "one" and registry.requests() == [])
    pod(k, "moved", "/team/app:1", "Always")
    report.check("Always finds that the tag has moved", which(k, "moved") == "two", k.run("logs", "moved"))
    report.check("what ran before runs on", k.get("pod", "present")["status"]["containerStatuses"][0]["imageID"] == registry.one)
    registry.stop()
    pod(k, "strict", "/team/app:1", "Always")
    report.check("without its registry Always does not run, though the image is here", waits(k, "strict", "ErrImagePull"))
    pod(k, "lenient", "/team/app:1", "IfNotPresent")
    report.check("IfNotPresent does", which(k, "lenient") == "two")
    k.kubectl("delete", "pods", "--all", "--now")


def check_stranger(report, k, registry, directory):
    """Signed by nobody that is known."""
    other = os.path.join(directory, "other")
    os.mkdir(other)
    registry.start(k.netns, certificate(other))
    pod(k, "stranger", "/team/app:1", "Always")
    w = waits(k, "stranger", "ErrImagePull")
    report.check("a registry that cannot prove itself is refused", w and "certificate" in w["message"], waiting(k, "stranger"))
    registry.stop()
    k.kubectl("delete", "pods", "--all", "--now")


def check_command(report, k, registry, directory, pem):
    registry.start(k.netns, pem)
    command = ["nsenter", "--net=/run/netns/" + k.netns, os.path.join(k.build, "neap"), "image", "pull", "--data-dir",
               os.path.join(directory, "data"), REGISTRY + "/team/app:1"]
    for more, good in (([], False), (["--plugin-oci-registry-ca", os.path.join(directory, "ca.pem")], True)):
        p = subprocess.run(command + more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        report.check("neap image pull %s the CA" % ("with" if good else "without"), (p.returncode == 0) == good
                     and (good or b"certificate" in p.stderr), p)
    registry.stop()


def main():
    report = Report()
    directory = tempfile.TemporaryDirectory(prefix="neap-pull-")
    pem = certificate(directory.name)
    k = cluster_or_skip("pull", options=["--plugin-oci-registry-ca", os.path.join(directory.name, "ca.pem")])
    registry = Registry(directory.name)
    root = os.path.join(k.temp.name, "root")
    registry.one = registry.image("1", root, "WHICH=one")
    try:
        check_fails(report, k, registry, pem)
        check_policies(report, k, registry, root)
        check_stranger(report, k, registry, directory.name)
        check_command(report, k, registry, directory.name, pem)
    except Exception as e:
        report.fail("the rest", repr(e))
    finally:
        registry.stop()
        directory.cleanup()
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
