"""Runs one client program against a fresh one-node cluster.

A client is a folder with its manifest, lock file and program. Built by ./build into a cache outside the tree, it
prints `ok NAME` or `not ok NAME: why` a line, and `restart` when it wants the server killed (kill -9) and started
again: it goes on when a line comes on its standard input."""
import hashlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))
from onenode import IMAGE, Report, cluster_or_skip, poll, why_not as no_cluster  # noqa: E402

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "neap/clients")
TOOLS = {"go": ["go"], "helm": ["go"], "python": ["python3"], "node": ["node", "npm"],
         "rust": ["cargo"], "java": ["javac", "mvn"]}
OLDEST = {"go": ((1, 26), ["go", "env", "GOVERSION"]), "cargo": ((1, 89), ["cargo", "--version"]),
          "node": ((18, 0), ["node", "--version"])}  # of what the locked versions of the libraries need
SLOW = {"go", "helm", "rust", "java"}  # a first build takes minutes
COMMON = ["list", "create", "merge patch", "strategic merge patch", "watch", "resume from a resourceVersion",
          "resume after the server was killed", "exec", "exec: the exit code", "logs", "delete"]


def fingerprint(lang):
    """Of everything that a build reads."""
    digest = hashlib.sha256()
    paths = [os.path.join(HERE, "build")]
    for root, dirs, files in os.walk(os.path.join(HERE, lang)):
        dirs.sort()
        paths += [os.path.join(root, f) for f in sorted(files)]
    for path in paths:
        with open(path, "rb") as f:
            digest.update(path[len(HERE):].encode() + b"\0" + f.read())
    return digest.hexdigest()


def directory(lang):
    return os.path.join(CACHE, lang)


def is_built(lang):
    try:
        with open(os.path.join(directory(lang), "stamp")) as f:
            return f.read() == fingerprint(lang)
    except OSError:
        return False


def was_built(lang):
    """An older build is there, so that making it anew is fast."""
    return os.path.exists(os.path.join(directory(lang), "stamp"))


def lacking(lang):
    """A word when the toolchain is not here or too old; None."""
    for tool in TOOLS[lang]:
        if not shutil.which(tool):
            return tool
        wanted, argv = OLDEST.get(tool, ((0, 0), None))
        said = argv and subprocess.run(argv, stdout=subprocess.PIPE, env=dict(os.environ, GOTOOLCHAIN="local")).stdout.decode()
        found = argv and re.search(r"(\d+)\.(\d+)", said)
        if argv and (not found or tuple(int(x) for x in found.groups()) < wanted):
            return "%s %d.%d" % ((tool,) + wanted)
    if lang == "python" and subprocess.run(["python3", "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode:
        return "python3-venv"
    return None


def why_not(lang):
    """A word when the client cannot be run here; None."""
    word = lacking(lang)
    if word:
        return word
    if lang in SLOW and not was_built(lang) and os.environ.get("NEAP_CLIENTS") != "all":
        return "built by contrib/setup/clients"
    return no_cluster()


def build(lang):
    """The directory of the built client."""
    if not is_built(lang):
        os.makedirs(directory(lang), exist_ok=True)
        p = subprocess.run([os.path.join(HERE, "build"), lang, directory(lang)], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        if p.returncode:
            raise RuntimeError("%s is not built: %s" % (lang, p.stdout.decode(errors="replace")[-3000:]))
        with open(os.path.join(directory(lang), "stamp"), "w") as f:
            f.write(fingerprint(lang))
    return directory(lang)


def build_all():
    """Every client whose toolchain is here; a line each."""
    code = 0
    for lang in [x for x in TOOLS if os.path.isdir(os.path.join(HERE, x))]:
        missing = lacking(lang)
        try:
            print("clients/%s: %s" % (lang, "needs " + missing if missing else build(lang)), flush=True)
        except RuntimeError as e:
            code = 1
            print("clients/%s: %s" % (lang, e), flush=True)
    return code


def restart(k):
    """kill -9 of the server; true when another answers."""
    old = k.pids("server")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    return bool(old) and bool(poll(lambda: set(k.pids("server")) - set(old) and k.run("get", "--raw", "/readyz")[0] == 0))


def box(k):
    """The pod that clients exec in and whose log they read."""
    k.apply(k.pod("box", "for i in 1 2 3; do echo line $i; done; exec sleep 100000"))
    if not k.wait_ready("box"):
        raise RuntimeError("the pod is not ready: %s %s" % (k.get("pod", "box"), k.tail()))


class Program:
    """A client under way."""

    def __init__(self, k, report, argv, env=None, cwd=None):
        self.k, self.report, self.seen = k, report, set()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        cwd=cwd, start_new_session=True, env=dict(
                                            os.environ, KUBECONFIG=k.kubeconfig, NEAP_IMAGE=IMAGE, NEAP_POD="box",
                                            **(env or {})))
        self.lines, self.noise = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def line(self, text):
        if text.startswith("ok "):
            self.seen.add(text[3:])
            self.report.ok(text[3:])
        elif text.startswith("not ok "):
            name, _, why = text[7:].partition(": ")
            self.seen.add(name)
            self.report.fail(name, why)
        elif text == "restart":
            if not restart(self.k):
                self.report.fail("the server is started again", self.k.tail())
            self.process.stdin.write(b"restarted\n")
            self.process.stdin.flush()
        else:
            self.noise = (self.noise + [text])[-40:]

    def run(self, seconds, needed):
        """Until it ends; what it must have shown is checked."""
        end = time.monotonic() + seconds
        while True:
            try:
                text = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.report.fail("the client ends in %d s" % seconds, "\n".join(self.noise))
                break
            if text is None:
                break
            self.line(text)
        code = self.process.wait()
        missing = [x for x in needed if x not in self.seen]
        self.report.check("the client has shown everything", not missing and code == 0,
                          (missing, code, "\n".join(self.noise)))


def main(lang, argv, needed=COMMON, seconds=120, env=None):
    """A whole test program; <argv> is made from the directory of the built client."""
    word = why_not(lang)
    if word:
        print("skip clients/%s: %s" % (lang, word))
        sys.exit(0)
    place = build(lang)
    k = cluster_or_skip("clients/" + lang)
    report = Report()
    try:
        box(k)
        Program(k, report, argv(place), env=env).run(seconds, needed)
    except Exception as e:  # a client that cannot even be started
        report.fail("clients/" + lang, repr(e))
    k.end(report)


if __name__ == "__main__":
    sys.exit(build_all())
