"""A cluster of one node in a network namespace of its own, real containers, the pinned kubectl."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import TOP, Report  # noqa: F401  (Report: for the tests)

IMAGE = "neap.local/test:1"
DEADLINE_S = 30


def why_not():
    """A word when this machine cannot run containers; None when it can."""
    if os.geteuid() != 0:
        return "root"
    if not shutil.which("crun") and not shutil.which("runc"):
        return "crun"
    if subprocess.run(["ip", "netns", "list"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
        return "netns"
    return None


def poll(what, seconds=DEADLINE_S):
    """The first true result of <what>(); None after <seconds>."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got or time.monotonic() > end:
            return got
        time.sleep(0.05)


def host_state(instance, directory):
    """What a cluster leaves on a host: counted before and after."""
    def lines(argv):
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().splitlines()
    with open("/proc/mounts") as f:
        mounts = [x for x in f if directory in x]
    cgroups = [os.path.join(d, x) for d, dirs, _ in os.walk("/sys/fs/cgroup") if d.count("/") < 5
               for x in dirs if x == "neap-" + instance]
    return {"processes": [x for x in lines(["ps", "-eo", "args"]) if directory in x and "ps -eo" not in x],
            "mounts": mounts, "cgroups": cgroups}


class OneNode:
    def __init__(self, variant="asan", options=(), listen="127.0.0.1", v6_only=False, inside=False):
        """<v6_only>: the namespace has no IPv4 address. <inside>: the API lives there as well, without --netns."""
        self.build = os.path.join(TOP, "build", variant) if variant != "release" else os.path.join(TOP, "build")
        self.temp = tempfile.TemporaryDirectory(prefix="neap-cluster-", ignore_cleanup_errors=True)
        self.dir = os.path.join(self.temp.name, "d")
        os.mkdir(self.dir, 0o700)
        self.netns = "neap-t%d%s" % (os.getpid(), "i" if inside else "")
        self.options = list(options)
        self.listen = listen
        self.enter = ["nsenter", "--net=/run/netns/" + self.netns] if inside else []
        self.kubectl_path = subprocess.check_output([os.path.join(TOP, "contrib/setup/kubectl")]).decode().strip()
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True)
        if v6_only:
            subprocess.run(["ip", "-n", self.netns, "-4", "addr", "flush", "dev", "lo"], check=True)
        self.prepare()
        self.kubeconfig = os.path.join(self.dir, "admin.kubeconfig")
        self.log = os.path.join(self.temp.name, "log")
        # a server that is started again keeps its port
        with socket.socket(socket.AF_INET6 if ":" in listen else socket.AF_INET) as s:
            s.bind((listen.strip("[]"), 0))
            self.port = s.getsockname()[1]
        self.start()
        self.image()

    def prepare(self):
        """More of the network, before the start."""

    def data_dirs(self):
        return [self.dir]

    def start(self):
        self.output = open(self.log, "ab")
        self.process = subprocess.Popen(
            self.enter + [os.path.join(self.build, "neap"), "up", "--data-dir", self.dir,
                     "--listen", "%s:%d" % (self.listen, self.port), "--node-name", "node-1"]
            + ([] if self.enter else ["--netns", self.netns]) + self.options,
            stdout=subprocess.PIPE, stderr=self.output)
        while True:
            line = self.process.stdout.readline().decode()
            if line.startswith("neap: ready"):
                break
            if not line:
                raise RuntimeError("no cluster: " + self.tail())

    def image(self, name=IMAGE):
        root = os.path.join(self.temp.name, "root")
        os.makedirs(root + "/bin", exist_ok=True)
        for d in ("tmp", "etc", "www"):
            os.makedirs(os.path.join(root, d), exist_ok=True)
        busybox = shutil.which("busybox")
        if not os.path.exists(root + "/bin/busybox"):
            shutil.copy(busybox, root + "/bin/busybox")
            for applet in subprocess.check_output([busybox, "--list"]).decode().split():
                if applet != "busybox":
                    os.symlink("busybox", root + "/bin/" + applet)
            with open(root + "/etc/passwd", "w") as f:
                f.write("root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n")
        subprocess.run([os.path.join(self.build, "neap"), "image", "import", "--data-dir", self.dir, "--rootfs", root,
                        "--name", name, "/bin/sh"], check=True)

    def tail(self):
        with open(self.log, "rb") as f:
            return f.read()[-6000:].decode(errors="replace")

    def pids(self, part):
        out = subprocess.run(["pgrep", "-f", "^neap %s --data-dir %s" % (part, self.dir)], stdout=subprocess.PIPE)
        return [int(x) for x in out.stdout.split()]

    def run(self, *args, stdin=None, timeout=60):
        """(exit code, stdout, stderr) of kubectl."""
        p = subprocess.run(self.enter + [self.kubectl_path] + list(args), input=stdin.encode() if stdin is not None else None,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                           env=dict(os.environ, KUBECONFIG=self.kubeconfig, KUBECTL_KUBERC="false"))
        return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")

    def kubectl(self, *args, stdin=None, timeout=60):
        """stdout; an error is raised."""
        code, out, err = self.run(*args, stdin=stdin, timeout=timeout)
        if code:
            raise RuntimeError("kubectl %s: %s" % (" ".join(args), err))
        return out

    def get(self, *args):
        """One object or list; None when there is none."""
        code, out, _ = self.run("get", *args, "-o", "json")
        return json.loads(out) if code == 0 else None

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin="# YAML\n" + "\n---\n".join(json.dumps(o) for o in objects))

    def pod(self, name, command, **spec):
        """A pod of one container that runs <command> in a shell."""
        container = {"name": "c", "image": IMAGE, "command": ["/bin/sh", "-c", command]}
        container.update(spec.pop("container", {}))
        base = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        base.update(spec)
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": base}

    def wait_phase(self, name, *phases, seconds=DEADLINE_S):
        def look():
            pod = self.get("pod", name)
            return pod if pod and pod["status"].get("phase") in phases else None
        return poll(look, seconds)

    def wait_ready(self, name, seconds=DEADLINE_S):
        def look():
            pod = self.get("pod", name)
            ready = pod and [c for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
            return pod if ready and ready[0]["status"] == "True" else None
        return poll(look, seconds)

    def in_netns(self, *argv, timeout=10):
        p = subprocess.run(["ip", "netns", "exec", self.netns] + list(argv), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout)
        return p.returncode, p.stdout.decode(errors="replace")

    def stop(self):
        """SIGTERM; the exit code (the sanitizers' findings make it not 0)."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.output.close()
        return code

    def end(self, report):
        """Stops the cluster and checks that it left nothing; ends the test program."""
        code = self.stop()
        report.check("the cluster ends without a finding", code == 0 and "ERROR: " not in self.tail(), self.tail())
        left = host_state(self.instance(), self.dir)
        report.check("nothing is left on the host", not any(left.values()), left)
        devices = self.in_netns("ip", "-br", "link")[1].split()
        report.check("no device is left", not [d for d in devices if d.startswith(("nv", "nd"))], devices)
        report.check("no rule is left", self.in_netns("nft", "list", "tables")[1].strip() == "")
        self.close()
        sys.exit(min(report.failed, 100))

    def instance(self):
        h = 0xcbf29ce484222325
        for b in os.path.realpath(self.dir).encode():
            h = ((h ^ b) * 0x100000001b3) & 0xffffffffffffffff
        return "%06x" % (h & 0xffffff)

    def close(self):
        """What a failed test left must not stay on the machine."""
        subprocess.run(["pkill", "-9", "-f", self.dir])
        with open("/proc/mounts") as f:
            for path in [x.split()[1] for x in f if self.dir in x]:
                subprocess.run(["umount", "-l", path])
        subprocess.run(["ip", "netns", "del", self.netns])
        self.temp.cleanup()


def cluster_or_skip(name, **kw):
    word = why_not()
    if word:
        print("skip %s: %s" % (name, word))
        sys.exit(0)
    return OneNode(**kw)
