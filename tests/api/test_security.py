"""Who may what, by trying: a node that has been taken over, a user who would have more than he has, somebody without a
name, paths that climb, TLS that is too old; and nothing secret in the log or readable on the disk."""
import base64
import os
import re
import socket
import ssl
import stat
import sys
import threading
import warnings

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Client, Report, Server

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SECRET = "c3VwZXItc2VjcmV0LXZhbHVl"  # super-secret-value


class CertificateClient(Client):
    """A kubeconfig's user."""

    def __init__(self, server, kubeconfig):
        super().__init__(server, None, True)
        with open(os.path.join(server.dir, kubeconfig)) as f:
            text = f.read()
        self.user = re.search(r"- name: (\S+)\n  user:", text)[1]
        self.ssl = ssl.create_default_context(cafile=os.path.join(server.dir, "ca.pem"))
        for key in "certificate", "key":
            with open(os.path.join(server.dir, "test-user-" + key), "wb") as f:
                f.write(base64.b64decode(re.search("client-%s-data: (\\S+)" % key, text)[1]))
        self.ssl.load_cert_chain(os.path.join(server.dir, "test-user-certificate"),
                                 os.path.join(server.dir, "test-user-key"))


def pod(name, node, **spec):
    return {"metadata": {"name": name}, "spec": dict({"nodeName": node, "containers": [{"name": "c", "image": "i"}]}, **spec)}


def codes(report, name, client, rows):
    """rows: (wanted code, method, path, body)"""
    for want, method, path, body in rows:
        code, got, _ = client.request(method, path, body, "application/merge-patch+json" if method == "PATCH"
                                      else "application/json")
        report.check("%s: %s %s -> %d" % (name, method, path, want), code == want, (code, got))


def check_node(report, server, admin):
    node = CertificateClient(server, "agent.kubeconfig")
    me = node.user.replace("system:node:", "")
    core, own = "/api/v1/namespaces/default/", "/api/v1/nodes/" + me
    admin.request("POST", core + "serviceaccounts", {"metadata": {"name": "default"}})
    for name in "mine", "theirs":
        admin.request("POST", core + "secrets", {"metadata": {"name": name}, "data": {"k": SECRET}})
    volume = lambda s: [{"name": "v", "secret": {"secretName": s}}]  # noqa: E731
    for made in pod("p", me, volumes=volume("mine")), pod("q", "other", volumes=volume("theirs")):
        code, got, _ = admin.request("POST", core + "pods", made)
        report.check("a pod is made", code == 201, got)
    mirror = pod("m", me)
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    greedy = dict(mirror, metadata=dict(mirror["metadata"], name="g"), spec=dict(mirror["spec"], volumes=volume("theirs")))
    code, got, _ = admin.request("GET", core + "pods/p")
    uid = got["metadata"]["uid"]
    token = lambda ref, *audiences: {"spec": {"audiences": list(audiences), "boundObjectRef": ref}}  # noqa: E731
    bound = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}
    codes(report, "a node", node, [
        (201, "POST", "/api/v1/nodes", {"metadata": {"name": me}}),
        (403, "POST", "/api/v1/nodes", {"metadata": {"name": "another"}}),
        (200, "GET", core + "secrets/mine", None),
        (403, "GET", core + "secrets/theirs", None),
        (403, "GET", core + "secrets", None),
        (403, "GET", "/api/v1/secrets", None),
        (403, "GET", core + "secrets?watch=1", None),
        (200, "GET", core + "secrets?fieldSelector=metadata.name%3Dmine", None),
        (403, "GET", core + "secrets?fieldSelector=metadata.name%3Dtheirs", None),
        (403, "GET", core + "secrets?watch=1&fieldSelector=metadata.name%3Dtheirs", None),
        (403, "GET", core + "secrets?fieldSelector=metadata.name%21%3Dmine", None),
        (403, "GET", core + "secrets/theirs?fieldSelector=metadata.name%3Dmine", None),
        (403, "GET", "/api/v1/watch/namespaces/default/secrets/theirs", None),
        (403, "GET", "/api/v1/pods", None),
        (200, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3D" + me, None),
        (403, "GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dother", None),
        (200, "GET", core + "pods/p", None),
        (403, "GET", core + "pods/q", None),
        (403, "POST", core + "pods", pod("x", me)),
        (403, "POST", core + "pods", greedy),
        (201, "POST", core + "pods", mirror),
        (403, "PATCH", core + "pods/q/status", {"status": {"phase": "Failed"}}),
        (200, "PATCH", core + "pods/p/status", {"status": {"phase": "Running"}}),
        (403, "PATCH", core + "pods/p/status", {"metadata": {"labels": {"app": "bank"}}}),
        (403, "DELETE", core + "pods/q", None),
        (403, "POST", core + "pods/q/eviction", {"metadata": {"name": "q"}}),
        (403, "DELETE", core + "pods", None),
        (403, "DELETE", own, None),
        (403, "PATCH", own, {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
        (403, "PATCH", own + "/status", {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
        (403, "PATCH", own, {"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}]}}),
        (200, "PATCH", own, {"metadata": {"labels": {"mine": "y"}}}),
        (403, "POST", core + "serviceaccounts/default/token", token(None)),
        (403, "POST", core + "serviceaccounts/default/token", token(bound, "bank")),
        (403, "POST", core + "serviceaccounts/default/token",
         token({"apiVersion": "v1", "kind": "Pod", "name": "q"})),
        (201, "POST", core + "serviceaccounts/default/token", token(bound)),
        (403, "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
         {"metadata": {"name": "another"}, "spec": {"holderIdentity": me}}),
        (403, "POST", RBAC + "/clusterrolebindings", {"metadata": {"name": "x"}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}}),
        (403, "GET", own + "/proxy/pods", None),
        (403, "GET", core + "pods/p/log", None),
        (200, "DELETE", core + "pods/p", None),
    ])
    return node


# ---- users ----

def grant(admin, name, rules):
    """A user whose name is his role's."""
    admin.request("POST", RBAC + "/clusterroles", {"metadata": {"name": name}, "rules": rules})
    admin.request("POST", RBAC + "/clusterrolebindings", {
        "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                                "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]})


class As:
    """The admin, speaking for a user."""

    def __init__(self, admin, name):
        self.admin, self.headers = admin, {"Impersonate-User": name}

    def request(self, method, path, body=None, content_type="application/json"):
        return self.admin.request(method, path, body, content_type, self.headers)


def check_escalation(report, admin):
    rbac = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "get", "update", "patch"]}
    grant(admin, "roles", [rbac])
    eve = As(admin, "roles")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    labels = {"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}]}
    ref = lambda name: {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}  # noqa: E731
    codes(report, "who writes roles", eve, [
        (201, "POST", RBAC + "/clusterroles", {"metadata": {"name": "same"}, "rules": [rbac]}),
        (403, "POST", RBAC + "/clusterroles", {"metadata": {"name": "more"}, "rules": everything}),
        (403, "POST", RBAC + "/namespaces/default/roles", {"metadata": {"name": "more"}, "rules": everything}),
        (403, "POST", RBAC + "/clusterroles", {"metadata": {"name": "gathers"}, "aggregationRule": labels, "rules": []}),
        (403, "PATCH", RBAC + "/clusterroles/roles", {"aggregationRule": labels}),
        (403, "PATCH", RBAC + "/clusterroles/roles", {"rules": everything}),
        (403, "POST", RBAC + "/clusterrolebindings", {"metadata": {"name": "b"}, "roleRef": ref("cluster-admin")}),
        (201, "POST", RBAC + "/clusterrolebindings", {"metadata": {"name": "b"}, "roleRef": ref("same")}),
        (403, "GET", "/api/v1/secrets", None),
    ])
    grant(admin, "named", [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["*"]}])
    core = "/api/v1/namespaces/default/secrets"
    codes(report, "who has one name", As(admin, "named"), [
        (200, "GET", core + "/mine", None),
        (403, "GET", core, None),
        (200, "GET", core + "?fieldSelector=metadata.name%3Dmine", None),
        (403, "GET", core + "?fieldSelector=metadata.name%3Dtheirs", None),
        (403, "POST", core, {"metadata": {"name": "mine"}}),
        (403, "DELETE", core, None),
        (403, "DELETE", core + "?fieldSelector=metadata.name%3Dmine", None),
    ])


def check_anonymous(report, server):
    for how, client in (("nobody", server.client(certificate=False)), ("a bad token", server.client(token="x.y.z"))):
        refused = 401 if how == "a bad token" else 403
        codes(report, how, client, [
            (200 if refused == 403 else 401, "GET", "/version", None),
            (200 if refused == 403 else 401, "GET", "/healthz", None),
            (refused, "GET", "/metrics", None),
            (refused, "GET", "/api", None),
            (refused, "GET", "/openapi/v2", None),
            (refused, "GET", "/openid/v1/jwks", None),
            (refused, "GET", "/logs", None),
            (refused, "GET", "/api/v1/namespaces/default/secrets", None),
            (refused, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}}),
        ])


# ---- the proxy to pods ----

def own_address():
    """One of this machine that is not loopback; None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            return s.getsockname()[0]
        except OSError:
            return None


def check_proxy(report, admin):
    """What a pod gets to hear, and where no pod is."""
    core = "/api/v1/namespaces/default/pods"
    admin.request("POST", core, pod("web", "other"))

    def lives_at(ip):
        code, got, _ = admin.request("PATCH", core + "/web/status", {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}},
                                     "application/merge-patch+json")
        report.check("a pod says that it lives at " + ip, code == 200, got)

    for ip in "127.0.0.1", "169.254.169.254", "::1":
        lives_at(ip)
        code, got, _ = admin.request("GET", core + "/web:80/proxy/x")
        report.check("the proxy does not go to %s" % ip, code == 400 and "address not allowed" in got["message"], (code, got))
    address = own_address()
    if not address:
        print("skip what a proxied pod hears: no address")
        return
    lives_at(address)
    heard = []
    with socket.create_server((address, 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536).decode())
                connection.sendall(b"HTTP/1.0 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n")
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        code, _, headers = admin.raw("GET", core + "/web:%d/proxy/x%%0d%%0aEvil:%%20y" % listener.getsockname()[1], headers={
            "Authorization": "Bearer very-secret", "Impersonate-User": "kubernetes-admin",
            "Impersonate-Group": "system:masters", "X-Mine": "stays"})
        thread.join(10)
    text = (heard or [""])[0].lower()
    report.check("a redirect is handed on, not followed", code == 302 and len(heard) == 1, code)
    report.check("a pod hears what is its own", "x-mine: stays" in text, text)
    report.check("a pod hears no tokens, no impersonation, no injected header",
                 "secret" not in text and "impersonate" not in text and "\nevil" not in text, text)


# ---- bytes ----

def raw(server, head):
    """The status of a request that is sent as it is."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as s, \
            server.context().wrap_socket(s, server_hostname="127.0.0.1") as t:
        t.sendall(head.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return int(t.recv(64).split()[1])


def check_paths(report, server):
    core = "/api/v1/namespaces/default/"
    for want, path in ((400, core + "secrets/mine/../theirs"), (400, core + "secrets/..%2ftheirs"),
                       (400, core + "secrets/%2e%2e"), (400, "/api/v1/namespaces/..%2fx/pods"),
                       (400, core + "secrets/a%00b"), (400, "/healthz/../metrics"), (400, core + "secrets/%2e"),
                       (404, core + "secrets/..."), (400, core + "secrets/%zz")):
        got = raw(server, "GET " + path)
        report.check("path %s -> %d" % (path, want), got == want, got)


def handshake(server, change):
    context = server.context()
    try:
        change(context)
        with socket.create_connection(("127.0.0.1", server.port), 10) as s, \
                context.wrap_socket(s, server_hostname="127.0.0.1") as t:
            return t.version(), t.cipher()[0]
    except (ssl.SSLError, OSError) as e:
        return None, str(e)


def check_tls(report, server):
    def only(version):
        def change(context):
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        return change

    for version, want in ((ssl.TLSVersion.TLSv1, None), (ssl.TLSVersion.TLSv1_1, None),
                          (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        got = handshake(server, only(version))
        report.check("TLS: %s %s" % (version.name, want or "is refused"), got[0] == want, got)

    def ciphers(names):
        def change(context):
            context.set_ciphers(names + ":@SECLEVEL=0")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return change

    for weak in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "aNULL", "eNULL", "AES128-SHA"):
        got = handshake(server, ciphers(weak))
        report.check("TLS: %s is refused" % weak, got[0] is None, got)


def check_disk(report, server):
    wrong = []
    for top, _, names in os.walk(server.dir):
        for name in names:
            path = os.path.join(top, name)
            mode = os.lstat(path).st_mode
            own = not name.startswith("test") and not name.endswith(".pem")  # the rest is the test's
            if own and stat.S_ISREG(mode) and mode & 0o077:
                wrong.append((path, oct(mode)))
    report.check("nobody else may read what is kept", not wrong, wrong)


def check_log(report, server, secrets):
    with open(os.path.join(server.dir, "test.log"), errors="replace") as f:
        log = f.read()
    found = [s[:12] for s in secrets if s in log]
    report.check("no secret is in the log", log and not found, found)


def main():
    report = Report()
    warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.0
    old = os.umask(0)  # what is kept is private by itself
    server = Server("sqlite", args=["--log-level", "debug", "--controllers", "false"])
    os.umask(old)
    admin = server.client()
    check_node(report, server, admin)
    check_escalation(report, admin)
    check_anonymous(report, server)
    check_proxy(report, admin)
    check_paths(report, server)
    check_tls(report, server)
    code, got, _ = admin.request("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    token = got["status"]["token"]
    server.client(token=token).request("GET", "/api/v1/namespaces/default/secrets/mine")
    server.client(token=token[:-4]).request("GET", "/api/v1")
    admin.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    with open(os.path.join(server.dir, "key.pem")) as f:
        key = f.read().splitlines()[1]
    check_disk(report, server)
    check_log(report, server, [SECRET, "super-secret-value", token, token.split(".")[2], key])
    report.end(server)


if __name__ == "__main__":
    main()
