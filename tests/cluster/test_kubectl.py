"""What the issue says unmodified kubectl does: each line of the list, against a real node.
NEAP_KUBECTL names another kubectl (1.32 to 1.37)."""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

from onenode import IMAGE, Report, cluster_or_skip, poll


def deployment(name, replicas=2, text="one"):
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                    "name": "web", "image": IMAGE, "ports": [{"containerPort": 8080}],
                    "command": ["sh", "-c", "echo %s > /www/index.html; httpd -f -p 8080 -h /www & "
                                            "trap 'kill $!; exit 0' TERM; wait" % text],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}}}


def page(k, ip, port=80):
    code, out = k.in_netns("curl", "-sS", "-m", "3", "http://%s:%d/" % (ip, port))
    return out.strip() if code == 0 else None


def check_read(report, k):
    for args in (["get", "nodes", "-o", "wide"], ["get", "all", "-A"], ["get", "pods", "-l", "app=web"],
                 ["get", "pods", "-o", "yaml"], ["get", "pods", "--field-selector", "status.phase=Running"],
                 ["get", "deploy", "web", "-o", "jsonpath={.status.readyReplicas}"], ["describe", "node", "node-1"],
                 ["describe", "deployment", "web"], ["describe", "pods", "-l", "app=web"], ["api-resources"],
                 ["api-versions"], ["explain", "deployment.spec.strategy"], ["events"], ["cluster-info"],
                 ["auth", "whoami"], ["auth", "can-i", "create", "pods"], ["version"], ["get", "--raw", "/readyz?verbose"],
                 ["create", "token", "default"], ["get", "events", "-A", "-o", "wide"]):
        code, out, err = k.run(*args)
        report.check("kubectl " + " ".join(args[:3]), code == 0 and out, err[:500])
    report.check("kubectl auth can-i for another", k.run("auth", "can-i", "create", "pods", "--as=nobody")[1].strip() == "no")
    watch = subprocess.Popen([k.kubectl_path, "get", "cm", "-w", "-o", "name"], stdout=subprocess.PIPE,
                             env=dict(os.environ, KUBECONFIG=k.kubeconfig))
    first = watch.stdout.readline()
    k.kubectl("create", "cm", "watched")
    seen = []
    reader = threading.Thread(target=lambda: seen.append(watch.stdout.readline()))
    reader.start()
    reader.join(10)
    watch.kill()
    report.check("kubectl get -w", first and seen and b"watched" in seen[0], (first, seen))


def check_write(report, k):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "x.yaml")
        with open(path, "w") as f:
            json.dump(deployment("web", 3), f)
        code, out, err = k.run("diff", "-f", path)
        report.check("kubectl diff", code == 1 and "replicas: 3" in out, (code, out[:300], err[:300]))
        k.kubectl("apply", "-f", path)
        report.check("kubectl apply changes", k.get("deploy", "web")["spec"]["replicas"] == 3)
        report.check("kubectl apply again: unchanged", "unchanged" in k.kubectl("apply", "-f", path))
    k.kubectl("label", "deploy", "web", "tier=front")
    k.kubectl("annotate", "deploy", "web", "note=x")
    k.kubectl("patch", "deploy", "web", "-p", '{"spec":{"replicas":2}}')
    o = k.get("deploy", "web")
    report.check("kubectl label, annotate, patch", o["metadata"]["labels"]["tier"] == "front"
                 and o["metadata"]["annotations"]["note"] == "x" and o["spec"]["replicas"] == 2)
    editor = os.path.join(k.temp.name, "editor")
    with open(editor, "w") as f:
        f.write("#!/bin/sh\nsed -i 's/^  replicas: 2/  replicas: 1/' \"$1\"\n")
    os.chmod(editor, 0o700)
    env = dict(os.environ, KUBECONFIG=k.kubeconfig, KUBE_EDITOR=editor)
    p = subprocess.run([k.kubectl_path, "edit", "deploy", "web"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    report.check("kubectl edit", p.returncode == 0 and k.get("deploy", "web")["spec"]["replicas"] == 1, p.stdout)
    k.kubectl("scale", "deploy", "web", "--replicas=3")
    report.check("kubectl scale, wait", k.run("wait", "--for=jsonpath={.status.readyReplicas}=3", "deploy/web",
                                              "--timeout=30s")[0] == 0)
    both = {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "listed-%d" % i}, "data": {"a": "b"}} for i in (1, 2)]}
    out = k.kubectl("apply", "-f", "-", stdin=json.dumps(both))
    report.check("kubectl apply of a List", out.count("created") == 2, out)


def staying(k):
    """The name of a pod of web that is not on its way out."""
    return next(p["metadata"]["name"] for p in k.get("pods", "-l", "app=web")["items"]
                if "deletionTimestamp" not in p["metadata"] and p["status"]["phase"] == "Running")


def check_service(report, k):
    k.kubectl("expose", "deploy", "web", "--port=80", "--target-port=8080", "--type=NodePort")
    svc = k.get("svc", "web")
    ip, node_port = svc["spec"]["clusterIP"], svc["spec"]["ports"][0]["nodePort"]
    report.check("kubectl expose: the Service answers", poll(lambda: page(k, ip) == "one"), svc)
    node = k.get("node", "node-1")["status"]["addresses"][0]["address"]
    report.check("and its node port", poll(lambda: page(k, node, node_port) == "one"), (node, node_port))
    report.check("and from a pod", poll(lambda: "one" in k.run("exec", "deploy/web", "--", "sh", "-c",
                 "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc %s 80" % ip)[1]))
    proxied = "/api/v1/namespaces/default/%s/proxy/"
    report.check("the API server's proxy to a Service", k.run("get", "--raw", proxied % "services/web:80")[1].strip() == "one")
    report.check("its path without a slash is redirected",
                 k.run("get", "--raw", (proxied % "services/web:80")[:-1])[1].strip() == "one")
    pod = staying(k)
    report.check("and to a pod", k.run("get", "--raw", proxied % ("pods/%s:8080" % pod))[1].strip() == "one")
    code, _, err = k.run("get", "--raw", proxied % ("pods/%s:81" % pod))
    report.check("a port where nothing listens is told", code and "Connection refused" in err, err)
    old = {p["metadata"]["name"]: p["status"]["podIP"] for p in k.get("pods", "-l", "app=web")["items"]}
    victim = sorted(old)[0]
    failed = []
    stop = threading.Event()

    def load():
        while not stop.is_set():
            if page(k, ip) != "one":
                failed.append(time.monotonic())
    t = threading.Thread(target=load)
    t.start()
    k.kubectl("delete", "pod", victim)
    ready = poll(lambda: k.get("deploy", "web")["status"].get("readyReplicas") == 3)
    stop.set()
    t.join()
    new = {p["metadata"]["name"]: p["status"].get("podIP") for p in k.get("pods", "-l", "app=web")["items"]}
    fresh = [new[n] for n in new if n not in old]
    report.check("kubectl delete pod: a new one comes, with a new address",
                 ready and victim not in new and len(fresh) == 1 and fresh[0] not in old.values(), (old, new))
    report.check("the Service keeps its address and goes on answering",
                 k.get("svc", "web")["spec"]["clusterIP"] == ip
                 and (not failed or failed[-1] - failed[0] < 0.5), failed)  # until the pod's end is known everywhere


def check_rollout(report, k):
    k.kubectl("annotate", "deploy", "web", "kubernetes.io/change-cause=first", "--overwrite")
    change = deployment("web", 3, "two")["spec"]["template"]["spec"]["containers"][0]["command"]
    ip = k.get("svc", "web")["spec"]["clusterIP"]
    k.kubectl("patch", "deploy", "web", "--type=json", "-p", json.dumps(
        [{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": change}]))
    out = k.kubectl("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    report.check("kubectl rollout status", "successfully rolled out" in out, out)
    report.check("the new version answers", poll(lambda: page(k, ip) == "two"), page(k, ip))
    history = k.kubectl("rollout", "history", "deploy/web")
    report.check("kubectl rollout history", re.search(r"^1\b", history, re.M) and re.search(r"^2\b", history, re.M), history)
    k.kubectl("rollout", "undo", "deploy/web")
    k.kubectl("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    report.check("kubectl rollout undo", poll(lambda: page(k, ip) == "one"), page(k, ip))
    before = {p["metadata"]["uid"] for p in k.get("pods", "-l", "app=web")["items"]}
    k.kubectl("rollout", "restart", "deploy/web")
    k.kubectl("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    after = poll(lambda: (lambda s: s if len(s) == 3 and not s & before else None)(
        {p["metadata"]["uid"] for p in k.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]}))
    report.check("kubectl rollout restart", after, (before, after))
    code, _, err = k.run("set", "image", "deploy/web", "web=" + IMAGE + "x")
    report.check("kubectl set image", code == 0 and
                 k.get("deploy", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE + "x", err)
    k.kubectl("rollout", "undo", "deploy/web")
    code, out, err = k.run("rollout", "status", "deploy/web", "--timeout=60s", timeout=70)
    report.check("a rollout that cannot end is undone", code == 0, err)


def check_inside(report, k):
    pod = staying(k)
    report.check("kubectl exec -it", "hello" in subprocess.run(
        ["script", "-qec", "%s exec -it %s -- sh -c 'tty; echo hello'" % (k.kubectl_path, pod), "/dev/null"],
        env=dict(os.environ, KUBECONFIG=k.kubeconfig), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.decode())
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/there", "wb") as f:
            f.write(os.urandom(300000))
        code, _, err = k.run("cp", d + "/there", pod + ":/tmp/there")
        report.check("kubectl cp to a pod", code == 0, err)
        code, _, err = k.run("cp", pod + ":/tmp/there", d + "/back")
        same = code == 0 and open(d + "/there", "rb").read() == open(d + "/back", "rb").read()
        report.check("kubectl cp back", same, err)
    k.apply(k.pod("talk", "while read x; do echo got $x; done", restartPolicy="Never",
                  container={"stdin": True, "stdinOnce": True}))
    k.wait_phase("talk", "Running")
    code, out, err = k.run("attach", "-i", "talk", stdin="a\nb\n")
    report.check("kubectl attach", "got a" in out and "got b" in out, (code, out, err))
    code, out, err = k.run("run", "shot", "--image=" + IMAGE, "--restart=Never", "--rm", "-i", "--quiet", "--", "sh", "-c",
                           "cat; echo done", stdin="in ", timeout=40)
    report.check("kubectl run --rm -i", "done" in out and not k.get("pod", "shot"), (code, out, err))


def check_delete(report, k):
    k.kubectl("create", "namespace", "gone")
    k.kubectl("-n", "gone", "create", "deployment", "x", "--image=" + IMAGE, "--", "sh", "-c", "trap exit TERM; sleep 1000 & wait")
    poll(lambda: (k.get("-n", "gone", "pods") or {}).get("items"))
    code, _, err = k.run("delete", "namespace", "gone", "--timeout=60s", timeout=70)
    report.check("kubectl delete namespace takes all with it", code == 0 and k.get("namespace", "gone") is None, err)
    k.kubectl("delete", "deploy", "web", "--cascade=foreground", "--timeout=30s", timeout=40)
    report.check("kubectl delete takes pods with it", not k.get("pods", "-l", "app=web")["items"])


PAGE_SERVER = """
import socket, time
s = socket.create_server(("", 9480))
while True:
    c, _ = s.accept()
    head = c.recv(4096).decode()
    if "/moved" in head.split()[1]:
        c.sendall(b"HTTP/1.1 302 Found\\r\\nLocation: /here\\r\\n\\r\\n")
    else:
        c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html; charset=utf-8\\r\\n\\r\\n<p>")
        for piece in (b'<a hr', b'ef="/to">x</a>', b'<i'):
            time.sleep(0.05)
            c.sendall(piece)
        time.sleep(0.1)
    c.close()
"""


def headers_of(k, path):
    """Asked for by a ServiceAccount."""
    token = k.kubectl("-n", "kube-system", "create", "token", "default").strip()
    return subprocess.run(["curl", "-sk", "-D", "-", "-o", "/dev/null", "--max-time", "10", "-H", "Authorization: Bearer " + token,
                           "https://127.0.0.1:%d%s" % (k.port, path)], stdout=subprocess.PIPE).stdout.decode()


def check_page_proxy(report, k):
    """What a page and a redirect say leads through the proxy again, however the bytes come."""
    server = subprocess.Popen(["ip", "netns", "exec", k.netns, sys.executable, "-c", PAGE_SERVER])
    base = "/api/v1/namespaces/default/pods/page:9480/proxy"
    try:
        k.apply(k.pod("page", "exec sleep 1000", hostNetwork=True))
        k.wait_ready("page")
        got = poll(lambda: k.run("get", "--raw", base + "/", timeout=10)[1], 10)
        report.check("links of a page lead through the proxy", got == '<p><a href="%s/to">x</a><i' % base, got)
        head = headers_of(k, base + "/moved")
        report.check("who may not is told so", " 403" in head.split("\r\n")[0], head)
        k.kubectl("create", "clusterrolebinding", "page", "--clusterrole=cluster-admin", "--serviceaccount=kube-system:default")
        head = headers_of(k, base + "/moved")
        report.check("redirects too", "location: %s/here\r\n" % base in head, head)
    finally:
        server.kill()
        server.wait()
        k.kubectl("delete", "clusterrolebinding", "page", "--ignore-not-found")
        k.kubectl("delete", "pod", "page", "--now")


def check_tls_proxy(report, k):
    """A pod on the node's network; what listens there speaks TLS."""
    key = os.path.join(k.temp.name, "tls.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x", "-keyout", key,
                    "-out", key + ".crt"], check=True, stderr=subprocess.DEVNULL)
    server = subprocess.Popen(["ip", "netns", "exec", k.netns, "openssl", "s_server", "-accept", "9443", "-www", "-quiet",
                               "-key", key, "-cert", key + ".crt"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        k.apply(k.pod("tls", "exec sleep 1000", hostNetwork=True))
        k.wait_ready("tls")

        def look():
            return "s_server" in k.run("get", "--raw", "/api/v1/namespaces/default/pods/https:tls:9443/proxy/")[1]
        report.check("the API server's proxy by TLS", poll(look, 10),
                     k.run("get", "--raw", "/api/v1/namespaces/default/pods/https:tls:9443/proxy/"))
        report.check("TLS to a plain port is a clear error",
                     "error trying to reach" in k.run("get", "--raw",
                                                      "/api/v1/namespaces/default/pods/https:tls:1/proxy/")[2])
    finally:
        server.kill()
        server.wait()
        k.kubectl("delete", "pod", "tls", "--now")


def main():
    report = Report()
    k = cluster_or_skip("kubectl")
    try:
        k.apply(deployment("web"))
        ready = k.run("wait", "--for=condition=Available", "deploy/web", "--timeout=30s", timeout=40)
        report.check("a Deployment becomes available", ready[0] == 0, ready)
        for check in (check_read, check_write, check_service, check_rollout, check_inside, check_page_proxy, check_tls_proxy,
                      check_delete):
            try:
                check(report, k)
            except Exception as e:
                report.fail(check.__name__, repr(e))
    finally:
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
