"""Pods as users have them: real containers, kubectl, one node."""
import json
import os
import subprocess
import sys
import time

from onenode import IMAGE, Report, cluster_or_skip, poll


def check_first(report, k):
    k.apply(k.pod("first", "echo hello; echo oops >&2; while true; do sleep 0.2; done"))
    pod = k.wait_ready("first")
    report.check("a pod runs", bool(pod), k.get("pod", "first"))
    if not pod:
        return
    status = pod["status"]
    report.check("its status tells where it is",
                 status["podIP"].startswith("10.244.") and status["hostIP"] and status["startTime"]
                 and status["containerStatuses"][0]["state"].get("running"), status)
    logs = poll(lambda: (lambda t: t if "oops" in t else None)(k.kubectl("logs", "first")))
    report.check("logs", sorted((logs or "").split()) == ["hello", "oops"], logs)
    report.check("logs --timestamps", k.kubectl("logs", "first", "--timestamps", "--tail=1").startswith("20"))
    report.check("exec", k.kubectl("exec", "first", "--", "echo", "a b") == "a b\n")
    report.check("exec: stdin", k.kubectl("exec", "-i", "first", "--", "cat", stdin="x" * 100000) == "x" * 100000)
    report.check("exec: exit code", k.run("exec", "first", "--", "sh", "-c", "exit 7")[0] == 7)
    code, _, err = k.run("exec", "first", "--", "/no/such/program")
    report.check("exec: no such program", code != 0 and err, err)
    code, _, err = k.run("exec", "first", "-c", "nope", "--", "true")
    report.check("exec: no such container", code != 0 and "nope" in err, err)
    report.check("the node's address reaches the pod", k.in_netns("ping", "-c1", "-W2", status["podIP"])[0] == 0
                 if os.path.exists("/bin/ping") or os.path.exists("/usr/bin/ping") else True)
    own = k.kubectl("exec", "first", "--", "hostname").strip()
    report.check("the hostname is the pod's name", own == "first", own)
    k.kubectl("patch", "pod", "first", "--subresource=status", "-p",
              '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}')
    report.check("ready again, when somebody took it back", k.wait_ready("first"), k.get("pod", "first"))
    old = status["podIP"]
    start = time.monotonic()
    k.kubectl("delete", "pod", "first", "--timeout=20s")
    report.check("a deleted pod ends within its grace", time.monotonic() - start < 10 and not k.get("pod", "first"))
    unique = "sleep 7%d" % os.getpid()
    k.apply(k.pod("first", "exec " + unique))
    pod = k.wait_ready("first")
    report.check("a new pod has a new address", pod and pod["status"]["podIP"] != old, pod)
    k.kubectl("delete", "pod", "first", "--force", "--grace-period=0")
    gone = poll(lambda: not subprocess.run(["pgrep", "-f", "^" + unique], stdout=subprocess.PIPE).stdout.split())
    report.check("force-deleted pods are killed all the same", gone)


def check_restart(report, k):
    k.apply(k.pod("crash", "sleep 0.3; exit 3"), k.pod("once", "exit 5", restartPolicy="Never"),
            k.pod("done", "true", restartPolicy="OnFailure"))

    def crashed():
        s = k.get("pod", "crash")["status"].get("containerStatuses")
        return s and s[0]["restartCount"] >= 1 and s[0].get("lastState", {}).get("terminated") and s[0]
    s = poll(crashed)
    report.check("a container that ends is started again", bool(s), k.get("pod", "crash")["status"])
    report.check("its exit code is told", s and s["lastState"]["terminated"]["exitCode"] == 3, s)
    pod = k.wait_phase("once", "Failed")
    report.check("restartPolicy Never: Failed, with the code",
                 pod and pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 5, pod)
    report.check("restartPolicy OnFailure: Succeeded", bool(k.wait_phase("done", "Succeeded")), k.get("pod", "done"))
    back_off = poll(lambda: k.get("pod", "crash")["status"]["containerStatuses"][0]["state"].get("waiting", {})
                    .get("reason") == "CrashLoopBackOff")
    report.check("then it backs off", back_off, k.get("pod", "crash")["status"]["containerStatuses"])
    report.check("logs --previous", k.run("logs", "crash", "--previous")[0] == 0)
    k.kubectl("delete", "pod", "crash", "once", "done", "--grace-period=1")


def check_kill(report, k):
    k.apply(k.pod("victim", "echo begun; exec sleep 4321"))
    pod = k.wait_ready("victim")
    pid = subprocess.check_output(["pgrep", "-f", "^sleep 4321"]).split()[0].decode()
    subprocess.run(["kill", "-9", pid], check=True)

    def again():
        s = k.get("pod", "victim")["status"]["containerStatuses"][0]
        return s["restartCount"] == 1 and s["state"].get("running") and s
    s = poll(again)
    report.check("kill -9 of the process: the container is started again in the same pod",
                 s and s["lastState"]["terminated"]["exitCode"] == 137
                 and k.get("pod", "victim")["status"]["podIP"] == pod["status"]["podIP"], s)
    k.kubectl("delete", "pod", "victim", "--grace-period=0", "--force")


def check_init(report, k):
    k.apply(k.pod("init", "cat /shared/x; sleep 1000", container={"volumeMounts": [{"name": "s", "mountPath": "/shared"}]},
                  volumes=[{"name": "s", "emptyDir": {}}],
                  initContainers=[{"name": "i1", "image": IMAGE, "command": ["sh", "-c", "echo one > /shared/x"],
                                   "volumeMounts": [{"name": "s", "mountPath": "/shared"}]},
                                  {"name": "i2", "image": IMAGE, "command": ["sh", "-c", "echo two >> /shared/x"],
                                   "volumeMounts": [{"name": "s", "mountPath": "/shared"}]}]))
    pod = k.wait_ready("init")
    report.check("init containers run one after the other, emptyDir is shared",
                 pod and poll(lambda: k.kubectl("logs", "init") == "one\ntwo\n", 5), k.get("pod", "init"))
    k.kubectl("delete", "pod", "init", "--grace-period=0", "--force")


def check_config(report, k):
    k.kubectl("create", "configmap", "conf", "--from-literal=a=1", "--from-literal=b.txt=two")
    k.kubectl("create", "secret", "generic", "sec", "--from-literal=key=hidden")
    k.apply(k.pod(
        "config", "env; sleep 1000",
        container={"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
                           {"name": "S", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "key"}}},
                           {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                           {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                           {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                           {"name": "BOTH", "value": "$(A)-$(NODE)"}],
                   "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "P_"}],
                   "resources": {"limits": {"memory": "64Mi"}},
                   "volumeMounts": [{"name": "c", "mountPath": "/conf"}, {"name": "s", "mountPath": "/sec"},
                                    {"name": "d", "mountPath": "/down"}]},
        volumes=[{"name": "c", "configMap": {"name": "conf"}},
                 {"name": "s", "secret": {"secretName": "sec", "defaultMode": 0o400}},
                 {"name": "d", "downwardAPI": {"items": [{"path": "labels",
                                                          "fieldRef": {"fieldPath": "metadata.labels"}}]}}]))
    pod = k.wait_ready("config")
    if not pod:
        report.fail("configuration", k.get("pod", "config"))
        return
    env = dict(x.split("=", 1) for x in k.kubectl("exec", "config", "--", "env").splitlines() if "=" in x)
    report.check("env: ConfigMap, Secret, fields, resources, expansion",
                 (env.get("A"), env.get("S"), env.get("IP"), env.get("MEM"), env.get("BOTH"), env.get("P_a"))
                 == ("1", "hidden", pod["status"]["podIP"], str(64 << 20), "1-node-1", "1"), env)
    report.check("env: Services", env.get("KUBERNETES_SERVICE_PORT") == "443", env)
    report.check("ConfigMap as files", k.kubectl("exec", "config", "--", "cat", "/conf/b.txt") == "two")
    report.check("Secret as files",
                 k.kubectl("exec", "config", "--", "sh", "-c", "cat /sec/key; stat -Lc %a /sec/key") == "hidden400\n")
    report.check("downwardAPI", k.kubectl("exec", "config", "--", "cat", "/down/labels") == 'app="config"')
    token = k.kubectl("exec", "config", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")
    report.check("a token is mounted", token.count(".") == 2, token[:40])
    k.kubectl("patch", "configmap", "conf", "--type=merge", "-p", '{"data":{"b.txt":"three"}}')
    changed = poll(lambda: k.kubectl("exec", "config", "--", "cat", "/conf/b.txt") == "three", 20)
    report.check("files follow their ConfigMap", changed)
    k.kubectl("delete", "pod", "config", "--grace-period=0", "--force")


def check_token(report, k):
    """A token lives four seconds here: its file has another one before the first ends."""
    def status(token):
        return subprocess.run(["curl", "-sko", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer " + token,
                               "https://127.0.0.1:%d/api" % k.port], stdout=subprocess.PIPE).stdout.decode()

    def read():
        return k.run("exec", "token", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token")[1].strip()
    k.apply(k.pod("token", "exec sleep 1000"))
    k.wait_ready("token")
    first = read()
    report.check("a pod's token is good", first and status(first) == "200", first)
    second = poll(lambda: read() not in ("", first) and read(), 15)
    report.check("a pod's token is renewed before it ends", second and status(second) == "200", second)
    report.check("the first one ends", poll(lambda: status(first) == "401", 15), status(first))
    k.kubectl("delete", "pod", "token", "--now")


def check_probes(report, k):
    k.apply(k.pod("probe", "touch /tmp/ready /tmp/alive; sleep 1000", container={
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}}))
    report.check("a readiness probe makes it ready", bool(k.wait_ready("probe")), k.get("pod", "probe"))
    k.kubectl("exec", "probe", "--", "rm", "/tmp/ready")
    report.check("and not ready", poll(lambda: k.get("pod", "probe")["status"]["containerStatuses"][0]["ready"] is False))
    k.kubectl("exec", "probe", "--", "rm", "/tmp/alive")
    restarted = poll(lambda: k.get("pod", "probe")["status"]["containerStatuses"][0]["restartCount"] >= 1)
    report.check("a failed liveness probe restarts the container", restarted, k.get("pod", "probe")["status"])
    k.kubectl("delete", "pod", "probe", "--grace-period=0", "--force")


def check_hooks(report, k):
    """postStart before readiness, preStop before SIGTERM; sidecars start first and end last."""
    mount = {"volumeMounts": [{"name": "s", "mountPath": "/s"}]}
    host = os.path.join(k.temp.name, "shared")
    os.makedirs(host, exist_ok=True)
    k.apply(k.pod("hooks", "echo main-begin >> /s/log; trap 'echo main-term >> /s/log; exit 0' TERM; while true; do sleep 0.1; done",
                  terminationGracePeriodSeconds=8,
                  container=dict(mount, lifecycle={
                      "postStart": {"exec": {"command": ["sh", "-c", "echo post-start >> /s/log"]}},
                      "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo pre-stop >> /s/log"]}}}),
                  initContainers=[dict(mount, name="side", image=IMAGE, restartPolicy="Always", command=[
                      "sh", "-c", "echo side-begin >> /s/log; trap 'echo side-term >> /s/log; exit 0' TERM; "
                      "while true; do sleep 0.1; done"])],
                  volumes=[{"name": "s", "hostPath": {"path": host}}]))
    report.check("hooks and a sidecar", bool(k.wait_ready("hooks")), k.get("pod", "hooks"))
    poll(lambda: "post-start" in open(host + "/log").read())
    k.kubectl("delete", "pod", "hooks", "--timeout=20s", timeout=30)
    lines = open(host + "/log").read().split()
    report.check("postStart, preStop, SIGTERM, then the sidecar's",
                 lines[0] == "side-begin" and sorted(lines[1:3]) == ["main-begin", "post-start"]
                 and lines[3:] == ["pre-stop", "main-term", "side-term"], lines)


def check_lost_shim(report, k):
    """kill -9 of the pod's shim takes its containers with it: all is made again, in the same pod object."""
    k.apply(k.pod("orphaned", "exec sleep 4321"))
    pod = k.wait_ready("orphaned")
    uid = pod["metadata"]["uid"]
    subprocess.run(["pkill", "-9", "-f", "neap-shim sandbox .*" + uid], check=True)

    def again():
        now = k.get("pod", "orphaned")
        s = now["status"]["containerStatuses"][0]
        return now if s["restartCount"] >= 1 and s["state"].get("running") and s["ready"] else None
    now = poll(again)
    report.check("a pod whose shim is killed runs again", now and now["metadata"]["uid"] == uid,
                 k.get("pod", "orphaned")["status"])
    report.check("and can be entered", k.run("exec", "orphaned", "--", "true")[0] == 0)
    k.kubectl("delete", "pod", "orphaned", "--grace-period=0", "--force")


def check_user(report, k):
    k.apply(k.pod("user", "ls / && id -u && echo fine > /dev/termination-log", restartPolicy="Never",
                  container={"securityContext": {"runAsUser": 1000, "runAsNonRoot": True}}))
    pod = k.wait_phase("user", "Succeeded", "Failed")
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    report.check("a container of another user reads its root and says why it ended",
                 state["exitCode"] == 0 and state.get("message") == "fine\n", (state, k.run("logs", "user")))
    k.apply(k.pod("lastwords", "echo first; echo last; exit 4", restartPolicy="Never",
                  container={"terminationMessagePolicy": "FallbackToLogsOnError"}))
    pod = k.wait_phase("lastwords", "Failed")
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    report.check("FallbackToLogsOnError", state.get("message", "").split() == ["first", "last"], state)
    k.kubectl("delete", "pod", "user", "lastwords")


def check_change(report, k):
    k.image("neap.local/test:2")
    k.apply(k.pod("change", "exec sleep 4321"))
    pod = k.wait_ready("change")
    report.check("a pod that is bound is of its first generation", pod["metadata"]["generation"] == 1, pod["metadata"])
    k.kubectl("set", "image", "pod/change", "c=neap.local/test:2")

    def changed():
        s = k.get("pod", "change")["status"]
        c = s["containerStatuses"][0]
        return c["restartCount"] == 1 and c["state"].get("running") and s.get("observedGeneration") == 2
    report.check("another image: the container is started again", poll(changed), k.get("pod", "change")["status"])
    k.kubectl("patch", "pod", "change", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    report.check("a deadline set later holds", bool(k.wait_phase("change", "Failed")), k.get("pod", "change")["status"])
    k.kubectl("delete", "pod", "change")


def check_debug(report, k):
    k.apply(k.pod("target", "exec sleep 4321"))
    k.wait_ready("target")
    code, _, err = k.run("debug", "target", "--image=" + IMAGE, "--container=dbg", "--", "sh", "-c", "echo inside; sleep 100")
    logs = poll(lambda: "inside" in k.run("logs", "target", "-c", "dbg")[1])
    report.check("kubectl debug: an ephemeral container", code == 0 and logs, (code, err))
    k.kubectl("delete", "pod", "target", "--grace-period=0", "--force")


def check_limits(report, k):
    k.apply(k.pod("oom", "cat /dev/zero | head -c 200m | tail", restartPolicy="Never",
                  container={"resources": {"limits": {"memory": "24Mi"}}}))
    pod = k.wait_phase("oom", "Failed", "Succeeded")
    state = pod and pod["status"]["containerStatuses"][0]["state"].get("terminated")
    report.check("a memory limit is enforced", state and state["reason"] == "OOMKilled", state)
    code, _, err = k.run("run", "huge", "--image=" + IMAGE, "--overrides",
                         json.dumps({"spec": {"containers": [{"name": "huge", "image": IMAGE, "resources": {
                             "requests": {"cpu": "1000"}}}]}}))
    event = poll(lambda: "Insufficient cpu" in k.kubectl("get", "events", "-o", "custom-columns=M:.message"))
    report.check("an event says why a pod does not fit", event, err)
    k.kubectl("delete", "pod", "oom", "huge", "--grace-period=0", "--force")


def check_images(report, k):
    k.apply(k.pod("noimage", "true", container={"image": "neap.local/absent:1", "imagePullPolicy": "Never"}))

    def waits():
        s = k.get("pod", "noimage")["status"].get("containerStatuses")
        return s and s[0]["state"].get("waiting", {}).get("reason") == "ErrImageNeverPull"
    report.check("an absent image is told", poll(waits), k.get("pod", "noimage")["status"])
    code, _, err = k.run("logs", "noimage")
    report.check("its logs: a clear refusal", code != 0 and "waiting to start" in err, err)
    k.kubectl("delete", "pod", "noimage", "--grace-period=0", "--force")


def check_host_ports(report, k):
    serve = "mkdir /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"

    def get(host, *more):
        code, out = k.in_netns("curl", "-sS", "-m2", *more, "http://%s/" % host)
        return out.strip() if code == 0 else None
    k.apply(k.pod("every", serve, container={"ports": [{"containerPort": 8080, "hostPort": 54321}]}),
            k.pod("local", serve, container={"ports": [{"containerPort": 8080, "hostPort": 54322, "hostIP": "127.0.0.1"}]}))
    node = k.wait_ready("every")["status"]["hostIP"]
    k.wait_ready("local")
    report.check("a host port at the node's address", poll(lambda: get(node + ":54321") == "every"), get(node + ":54321"))
    report.check("and at 127.0.0.1", get("127.0.0.1:54321") == "every", get("127.0.0.1:54321"))
    report.check("one that is bound to 127.0.0.1 answers there", poll(lambda: get("127.0.0.1:54322") == "local"))
    report.check("also to the node's address as the source", get("127.0.0.1:54322", "--interface", node) == "local")
    report.check("and nowhere else", get(node + ":54322") is None)
    report.check("a pod reaches its own host port",
                 k.kubectl("exec", "every", "--", "wget", "-q", "-O-", "http://%s:54321/" % node).strip() == "every")
    k.kubectl("delete", "pod", "every", "local", "--now")
    report.check("it goes with the pod", poll(lambda: get("127.0.0.1:54321") is None))


def check_follow(report, k):
    k.apply(k.pod("count", "i=0; while [ $i -lt 20 ]; do echo line$i; i=$((i+1)); sleep 0.05; done", restartPolicy="Never"))
    k.wait_phase("count", "Running", "Succeeded")
    out = k.kubectl("logs", "-f", "count", timeout=20)
    report.check("logs -f ends with the container and has every line",
                 out.split() == ["line%d" % i for i in range(20)], out)
    report.check("logs --tail", k.kubectl("logs", "count", "--tail=2").split() == ["line18", "line19"])
    report.check("logs --limit-bytes", k.kubectl("logs", "count", "--limit-bytes=5") == "line0")
    k.kubectl("delete", "pod", "count")


def main():
    report = Report()
    k = cluster_or_skip("pods", options=["--volume-refresh", "1s", "--service-account-max-token-expiration", "4s"])
    try:
        for check in (check_first, check_restart, check_kill, check_init, check_config, check_token, check_probes, check_hooks,
                      check_lost_shim, check_user, check_change, check_debug, check_limits,
                      check_images, check_host_ports, check_follow):
            try:
                check(report, k)
            except Exception as e:  # one broken check does not hide the others
                report.fail(check.__name__, repr(e))
    finally:
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
