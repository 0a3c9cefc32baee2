"""The images that Kubernetes' tests need, made from Debian's packages, Go packages and a few lines of C, as docker
archives that `neap image import` reads. Nothing is fetched from an image registry; nothing is committed."""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

PAUSE = """#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { _exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void)
{
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;)
        pause();
}
"""

# The real image's shell speaks ash's words and hands on variables such as data-1; Debian's ash drops those, bash has
# other words. So: ash, and bash where there is such a variable.
SHELL = """
#include <ctype.h>
#include <unistd.h>
extern char **environ;
static int dropped(const char *s)
{
    int first = 1;
    for (; *s && *s != '='; s++, first = 0)
        if (!(isalpha((unsigned char)*s) || *s == '_' || (!first && isdigit((unsigned char)*s))))
            return 1;
    return first;
}
int main(int argc, char **argv)
{
    (void)argc;
    for (char **e = environ; *e; e++)
        if (dropped(*e))
            return execv("/bin/bash", argv) != 0;
    return execv("/bin/busybox", argv) != 0;
}
"""
# prints its uid as the kernel sees it: with a setuid bit and no_new_privs it must stay the caller's
NNP = """#include <stdio.h>
#include <unistd.h>
int main(void)
{
    printf("Effective uid: %d\\n", (int)geteuid());
    return 0;
}
"""

PASSWD = "root:x:0:0:root:/root:/bin/sh\nnonroot:x:1234:1234:nonroot:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nnonroot:x:1234:\nnobody:x:65534:\n"
REPO = "registry.k8s.io/e2e-test-images/"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Tree:
    """Files of a layer, in memory."""

    def __init__(self):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w")
        self.seen, self.links = set(), set()

    def add(self, path, data, mode=0o755, uid=0):
        self.parents(path)
        info = tarfile.TarInfo(path)
        info.size, info.mode, info.uid = len(data), mode, uid
        self.tar.addfile(info, io.BytesIO(data))

    def folder(self, path, mode=0o755, uid=0):
        if path in self.seen:
            return
        self.seen.add(path)
        self.parents(path)
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.uid = tarfile.DIRTYPE, mode, uid
        self.tar.addfile(info)

    def parents(self, path):
        if os.path.dirname(path):
            self.folder(os.path.dirname(path))

    def link(self, path, target):
        self.parents(path)
        info = tarfile.TarInfo(path)
        info.type, info.linkname = tarfile.SYMTYPE, target
        self.links.add(path)
        self.tar.addfile(info)

    def copy(self, source, path=None, mode=0o755):
        with open(source, "rb") as f:
            self.add((path or source).lstrip("/"), f.read(), mode)

    def program(self, source, path=None):
        """A dynamic program with its libraries."""
        self.copy(source, path)
        self.links.add(path or source.lstrip("/"))
        out = subprocess.run(["ldd", source], stdout=subprocess.PIPE).stdout.decode()
        for word in out.split():
            if word.startswith("/") and word not in self.seen:
                self.seen.add(word)
                self.copy(os.path.realpath(word), word)

    def done(self):
        self.tar.close()
        return self.buffer.getvalue()


def busybox(tree, directory):
    path = shutil.which("busybox")
    tree.copy(path, "bin/busybox")
    for applet in subprocess.check_output([path, "--list"]).decode().split():
        if applet != "busybox" and "bin/" + applet not in tree.links:
            tree.link("bin/" + applet, "busybox")
    for d, mode in (("tmp", 0o1777), ("root", 0o700), ("var", 0o755), ("www", 0o755), ("usr/bin", 0o755)):
        tree.folder(d, mode)
    tree.link("usr/bin/env", "/bin/busybox")
    tree.add("etc/passwd", PASSWD.encode(), 0o644)
    tree.add("etc/group", GROUP.encode(), 0o644)
    tree.add("etc/nsswitch.conf", b"hosts: files dns\n", 0o644)


def compiled(directory, name, source):
    path = os.path.join(directory, name)
    with open(path + ".c", "w") as f:
        f.write(source)
    subprocess.run(["gcc", "-O2", "-static", "-o", path, path + ".c"], check=True)
    return path


def archive(path, names, layer, **config):
    """A docker archive of one layer."""
    diff = "sha256:" + hashlib.sha256(layer).hexdigest()
    image = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                        "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
    digest = hashlib.sha256(image).hexdigest()
    with tarfile.open(path, "w") as tar:
        def put(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        put(digest + ".json", image)
        put(diff[7:] + "/layer.tar", layer)
        put("manifest.json", json.dumps([{"Config": digest + ".json", "RepoTags": names,
                                          "Layers": [diff[7:] + "/layer.tar"]}]).encode())


def page(directory, text, files=()):
    tree = Tree()
    busybox(tree, directory)
    tree.add("www/index.html", text.encode(), 0o644)
    for name, data in files:
        tree.add("www/" + name, data, 0o644)
    tree.add("server", b"#!/bin/sh\nbusybox httpd -f -p 80 -h /www & trap 'kill $!; exit 0' TERM INT QUIT; wait $!\n")
    return tree.done()


def make_agnhost(directory, programs):
    tree = Tree()
    tree.copy(programs["agnhost"], "agnhost")
    tree.link("agnhost-2", "agnhost")
    for name, path in (("curl", None), ("dig", None), ("tar", None), ("ss", None), ("nc.openbsd", "bin/nc")):
        if shutil.which(name):
            tree.program(shutil.which(name), path)
    key, certificate = os.path.join(directory, "localhost.key"), os.path.join(directory, "localhost.crt")
    if not os.path.exists(certificate):  # its own TLS ports; nobody looks who it is
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    tree.copy(key, "localhost.key", 0o644)
    tree.copy(certificate, "localhost.crt", 0o644)
    tree.folder("uploads")
    tree.program("/bin/bash")  # busybox' sh prefers its own nc and wget to the programs on PATH
    tree.link("bin/sh", "bash")
    busybox(tree, directory)
    return tree.done()


def make(directory, programs, wanted):
    """Archives in <directory> for those of <wanted> (a list of image names) that can be made; their paths."""
    os.makedirs(directory, exist_ok=True)
    made = []

    def want(prefix):
        return [w for w in wanted if w.startswith(prefix)]

    def put(file, names, layer, **config):
        if names:
            path = os.path.join(directory, file + ".tar")
            archive(path, names, layer, **dict({"Env": [PATH]}, **config))
            made.append(path)

    base = Tree()
    base.program("/bin/bash")
    base.copy(compiled(directory, "sh", SHELL), "bin/sh")
    base.links.add("bin/sh")
    busybox(base, directory)
    put("busybox", want(REPO + "busybox:"), base.done(), Cmd=["sh"])
    if os.path.exists(programs.get("agnhost", "")):
        put("agnhost", want(REPO + "agnhost:"), make_agnhost(directory, programs), Entrypoint=["/agnhost"], Cmd=["pause"])
    tree = Tree()
    tree.copy(compiled(directory, "pause", PAUSE), "pause")
    put("pause", want("registry.k8s.io/pause:"), tree.done(), Entrypoint=["/pause"], User="65535:65535")
    put("nginx", want(REPO + "nginx:"), page(directory, "<title>Welcome to nginx!</title>\n"), Cmd=["/server"])
    put("httpd", want(REPO + "httpd:"), page(directory, "<html><body><h1>It works!</h1></body></html>\n"), Cmd=["/server"])
    for pet in ("nautilus", "kitten"):
        files = [("data.json", ('{"image": "%s.jpg"}' % pet).encode()), (pet + ".jpg", b"jpg")]
        put(pet, want(REPO + pet + ":"), page(directory, pet, files), Cmd=["/server"])
    put("nonroot", want(REPO + "nonroot:"), page(directory, "nonroot"), User="1234", Cmd=["sh", "-c", "id; sleep 3600"])
    tree = Tree()
    busybox(tree, directory)
    tree.copy(compiled(directory, "nnp", NNP), "nnp", 0o4755)
    put("nonewprivs", want(REPO + "nonewprivs:"), tree.done(), User="1000", Entrypoint=["/nnp"])
    return made
