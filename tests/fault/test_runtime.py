"""What a container runtime can do to a node: it fails, its shim is killed, images are damaged, disks are full, what pods
ask for is not there. Each ends in the status and Event that Kubernetes' kubelet gives, and leaves nothing on the host."""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from onenode import OneNode, Report, host_state, poll, why_not

LIMIT_S = 400  # read by tests/run.py


class Node(OneNode):
    """Pods' folders are on a small disk; the OCI runtime fails while the file "fail" is there."""
    DISK_KB = 512

    def prepare(self):
        pods = os.path.join(self.dir, "pods")
        os.mkdir(pods, 0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % self.DISK_KB, "neap-test", pods], check=True)
        self.fail = os.path.join(self.temp.name, "fail")
        program, config = os.path.join(self.temp.name, "crun"), os.path.join(self.temp.name, "config.yaml")
        with open(config, "w") as f:
            f.write("plugins:\n  oci:\n    runtime: %s\n" % program)
        self.options += ["--config", config]
        with open(program, "w") as f:
            f.write("#!/bin/sh\n[ -e %s ] && exit 1\nexec %s \"$@\"\n"
                    % (self.fail, shutil.which("crun")))
        os.chmod(program, 0o755)

    def end(self, report):
        code = self.stop()
        report.check("the cluster ends without a finding", code == 0 and "ERROR: " not in self.tail(), self.tail())
        subprocess.run(["umount", os.path.join(self.dir, "pods")], check=True)
        left = host_state(self.instance(), self.dir)
        report.check("nothing is left on the host", not any(left.values()), left)
        devices = self.in_netns("ip", "-br", "link")[1].split()
        report.check("no device is left", not [d for d in devices if d.startswith(("nv", "nd"))], devices)
        self.close()
        sys.exit(min(report.failed, 100))


def lines(text):
    return sorted(x.strip() for x in text.splitlines() if x.strip())


def cgroups(k):
    return sorted(os.path.join(d, x) for d, dirs, _ in os.walk("/sys/fs/cgroup")
                  for x in dirs if "/neap-" + k.instance() in os.path.join(d, x))


def on_host(k):
    """All that a pod can leave."""
    state = host_state(k.instance(), k.dir)
    return {"processes": len(state["processes"]), "mounts": lines("\n".join(state["mounts"])), "cgroups": cgroups(k),
            "devices": lines(k.in_netns("ip", "-br", "link")[1]), "rules": lines(k.in_netns("nft", "list", "ruleset")[1]),
            "pods": sorted(os.listdir(k.dir + "/pods")), "logs": sorted(os.listdir(k.dir + "/logs"))}


def container(k, name):
    pod = k.get("pod", name) or {}
    return (pod.get("status", {}).get("containerStatuses") or [{}])[0]


def waiting(k, name):
    return container(k, name).get("state", {}).get("waiting", {})


def events(k, name):
    return [(e["reason"], e["message"]) for e in k.get("events", "--field-selector=involvedObject.name=" + name)["items"]]


def told(k, name, reason, part):
    return any(r == reason and part in m for r, m in events(k, name))


def delete(k, *names):
    k.kubectl("delete", "pod", *names, "--timeout=30s")


def check_waiting(report, k, what, pod, reason, part):
    """It waits for <reason> with <part> in its message and an Event."""
    name = pod["metadata"]["name"]
    k.apply(pod)
    ok = poll(lambda: waiting(k, name).get("reason") == reason and part in waiting(k, name).get("message", ""), 20)
    report.check(what, ok, (k.get("pod", name) or {}).get("status"))
    report.check(what + ": an Event says so", poll(lambda: told(k, name, "Failed", part), 10), events(k, name))


def check_cannot_start(report, k):
    bad = k.pod("bad-command", "", container={"command": ["/no/such/program"]})
    check_waiting(report, k, "a command that is not there", bad, "CreateContainerError", "/no/such/program")
    root = k.pod("root", "sleep 1000", securityContext={"runAsNonRoot": True})
    check_waiting(report, k, "root where root must not be", root, "CreateContainerConfigError", "runAsNonRoot")
    none = k.pod("none", "sleep 1000", container={"image": "neap.local/none:1", "imagePullPolicy": "Never"})
    check_waiting(report, k, "no image, never to be pulled", none, "ErrImageNeverPull", "neap.local/none:1")
    delete(k, "bad-command", "root", "none")


def check_paths(report, k):
    def volume(name, path, kind):
        return k.pod(name, "sleep 1000", container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                     volumes=[{"name": "v", "hostPath": {"path": path, "type": kind}}])
    missing = os.path.join(k.temp.name, "missing")
    k.apply(volume("typed", missing, "Directory"))
    report.check("a path that must be there: FailedMount",
                 poll(lambda: told(k, "typed", "FailedMount", "hostPath type check failed"), 20), events(k, "typed"))
    report.check("and the container waits", waiting(k, "typed").get("reason") == "ContainerCreating", k.get("pod", "typed"))
    os.mkdir(missing)
    report.check("it starts when the path is there", bool(k.wait_ready("typed")), k.get("pod", "typed"))
    k.apply(volume("untyped", os.path.join(k.temp.name, "made"), ""))
    report.check("a path of no type is made", bool(k.wait_ready("untyped")) and os.path.isdir(k.temp.name + "/made"))
    delete(k, "typed", "untyped")


def check_small_limit(report, k):
    k.apply(k.pod("small", "sleep 1000", container={"resources": {"limits": {"cpu": "1m", "memory": "16Mi"}}}))
    report.check("a limit below what the kernel takes is raised", bool(k.wait_ready("small", 60)), k.get("pod", "small"))
    k.kubectl("delete", "pod", "small", "--grace-period=1", "--timeout=60s")


def check_failing_runtime(report, k):
    open(k.fail, "w").close()
    check_waiting(report, k, "a runtime that fails", k.pod("broken", "sleep 1000"), "CreateContainerError",
                  "the runtime ended with code 1")
    os.unlink(k.fail)
    report.check("the pod starts when it works again", bool(k.wait_ready("broken", 60)), k.get("pod", "broken"))
    open(k.fail, "w").close()
    delete(k, "broken")
    os.unlink(k.fail)


def check_killed_shim(report, k):
    """Attach and exec end with it, and the pod is made anew."""
    k.apply(k.pod("shim", "sleep 1000"))
    uid = (k.wait_ready("shim") or {}).get("metadata", {}).get("uid", "none")
    attach = subprocess.Popen([k.kubectl_path, "attach", "shim"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=dict(os.environ, KUBECONFIG=k.kubeconfig))
    execs = subprocess.Popen([k.kubectl_path, "exec", "shim", "--", "sleep", "1000"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, env=dict(os.environ, KUBECONFIG=k.kubeconfig))
    report.check("exec runs", poll(lambda: subprocess.run(["pgrep", "-fx", "sleep 1000"], stdout=subprocess.PIPE)
                                   .stdout.count(b"\n") >= 2))
    subprocess.run(["pkill", "-9", "-f", "neap-shim sandbox .*" + uid], check=True)
    for what, p in (("attach", attach), ("exec", execs)):
        try:
            p.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            p.kill()
            report.fail("%s ends with the shim" % what, k.tail())
            continue
        report.ok("%s ends with the shim" % what)
    report.check("SandboxChanged is told", poll(lambda: told(k, "shim", "SandboxChanged", "re-created"), 10))
    report.check("its container runs again", poll(lambda: container(k, "shim").get("restartCount") == 1
                                                  and container(k, "shim").get("ready"), 30), k.get("pod", "shim"))
    last = container(k, "shim").get("lastState", {}).get("terminated", {})
    report.check("its end is known to be unknown", (last.get("exitCode"), last.get("reason"))
                 == (137, "ContainerStatusUnknown"), last)
    delete(k, "shim")


def check_ended(report, k):
    k.apply(k.pod("ended", "echo bye; exit 3"))
    poll(lambda: waiting(k, "ended").get("reason") == "CrashLoopBackOff")
    code, _, err = k.run("exec", "ended", "--", "true")
    report.check("exec after the end is refused", code != 0, (code, err))
    report.check("its log is still there", k.kubectl("logs", "ended") == "bye\n")
    delete(k, "ended")


def check_full_disk(report, k):
    k.kubectl("create", "-f", "-", stdin=json.dumps({  # too large for apply's annotation
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"},
        "data": {"a": "x" * 400000, "b": "y" * 400000}}))
    k.apply(k.pod("full", "wc -c < /v/a; sleep 1000", container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                  volumes=[{"name": "v", "configMap": {"name": "large"}}]))
    report.check("a full disk: FailedMount says why",
                 poll(lambda: told(k, "full", "FailedMount", "No space left on device"), 20), events(k, "full"))
    report.check("and what did not fit is not left", sum(
        os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(k.dir + "/pods") for f in files) < 100000)
    subprocess.run(["mount", "-o", "remount,size=8m", k.dir + "/pods"], check=True)
    report.check("the pod starts when there is room", bool(k.wait_ready("full")), k.get("pod", "full"))
    report.check("with all of it", poll(lambda: k.kubectl("logs", "full") == "400000\n", 10))
    delete(k, "full")
    subprocess.run(["mount", "-o", "remount,size=%dk" % k.DISK_KB, k.dir + "/pods"], check=True)


def check_damaged_image(report, k):
    path = os.path.join(k.temp.name, "damaged.tar")
    with tempfile.TemporaryDirectory() as d:
        for name, text in (("layer.tar", "this is no archive" * 100), ("config.json", json.dumps(
                {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})),
                ("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["neap.local/damaged:1"],
                                               "Layers": ["layer.tar"]}]))):
            with open(os.path.join(d, name), "w") as f:
                f.write(text)
        with tarfile.open(path, "w") as t:
            for name in ("manifest.json", "config.json", "layer.tar"):
                t.add(os.path.join(d, name), name)
    neap = os.path.join(k.build, "neap")
    before = sorted(os.walk(k.dir + "/plugins"))
    p = subprocess.run([neap, "image", "import", "--data-dir", k.dir, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    report.check("a damaged image is refused", p.returncode != 0, p.stdout)
    report.check("and leaves nothing", sorted(os.walk(k.dir + "/plugins")) == before)
    listed = subprocess.check_output([neap, "image", "list", "--data-dir", k.dir]).decode()
    report.check("it is no image", "damaged" not in listed, listed)


def pod_cgroup(uid):
    return [os.path.join(d, x) for d, dirs, _ in os.walk("/sys/fs/cgroup") for x in dirs if x == "pod" + uid]


def check_busy_cgroup(report, k):
    """Somebody puts processes into it for as long as he can."""
    k.apply(k.pod("busy", "sleep 1000"))
    uid = (k.wait_ready("busy") or {}).get("metadata", {}).get("uid", "none")
    paths, mine = pod_cgroup(uid), []
    k.kubectl("delete", "pod", "busy", "--wait=false")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for path in paths:
            p = subprocess.Popen(["sleep", "30"])
            mine.append(p)
            try:
                with open(path + "/cgroup.procs", "w") as f:
                    f.write(str(p.pid))
            except OSError:
                pass
        time.sleep(0.02)
    for p in mine:
        p.kill()
        p.wait()
    report.check("a busy control group goes in the end", bool(paths) and poll(lambda: not pod_cgroup(uid), 60), (paths, k.tail()))
    report.check("and its pod", poll(lambda: k.get("pod", "busy") is None, 30), k.get("pod", "busy"))


CHECKS = (check_cannot_start, check_paths, check_small_limit, check_failing_runtime, check_killed_shim, check_ended,
          check_full_disk, check_damaged_image, check_busy_cgroup)


def main():
    report, word = Report(), why_not()
    if word or not shutil.which("crun"):
        print("skip runtime: " + (word or "crun"))
        return
    k = Node()
    try:
        k.apply(k.pod("first", "true", restartPolicy="Never"))
        k.wait_phase("first", "Succeeded")
        delete(k, "first")
        for check in CHECKS:
            poll(lambda: not os.listdir(k.dir + "/pods"))
            before = on_host(k)
            try:
                check(report, k)
            except Exception as e:
                report.fail(check.__name__, repr(e))
                k.run("delete", "pods", "--all", "--grace-period=1", "--timeout=60s")
            report.check("%s leaves nothing" % check.__name__, poll(lambda: on_host(k) == before, 20),
                         {key: (value, on_host(k)[key]) for key, value in before.items() if value != on_host(k)[key]})
    finally:
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
