"""The package kubernetes against a cluster that KUBECONFIG names."""
import os
import sys
import threading
import time

from kubernetes import client, config, dynamic, informer, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

NAMESPACE, POD = "python", os.environ["NEAP_POD"]
DEADLINE_S = 30


def check(name, condition, why=""):
    print("ok " + name if condition else "not ok %s: %s" % (name, str(why).replace("\n", " ")[:1000]), flush=True)


def restart():
    """Has the server killed; another answers when this returns."""
    print("restart", flush=True)
    sys.stdin.readline()


def eventually(look):
    end = time.monotonic() + DEADLINE_S
    while not look() and time.monotonic() < end:
        time.sleep(0.05)
    return look()


def refused(call, *args, **kw):
    """The code and reason of an answer that is an error."""
    try:
        call(*args, **kw)
    except ApiException as e:
        return e.status, e.body
    return 0, ""


def config_map(name, data=None, **metadata):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **metadata), data=data)


def check_list(core):
    names = {n.metadata.name for n in core.list_namespace().items}
    nodes = core.list_node().items
    check("list", {"default", "kube-system", NAMESPACE} <= names and nodes[0].status.node_info.kubelet_version, names)
    page = core.list_namespace(limit=2)
    rest = core.list_namespace(_continue=page.metadata._continue)
    check("list: pages", {n.metadata.name for n in page.items + rest.items} == names, page)


def check_write(core):
    made = core.create_namespaced_config_map(NAMESPACE, config_map("one", {"a": "1", "b": "2"}))
    check("create", made.metadata.uid and made.metadata.creation_timestamp.tzinfo and made.data == {"a": "1", "b": "2"}, made)
    code, body = refused(core.create_namespaced_config_map, NAMESPACE, config_map("one"))
    check("create: it exists", code == 409 and "AlreadyExists" in body, (code, body))
    code, body = refused(core.create_namespaced_config_map, NAMESPACE, config_map("No_Name"))
    check("create: invalid", code == 422 and "metadata.name" in body, (code, body))
    merged = core.patch_namespaced_config_map("one", NAMESPACE, {"data": {"a": None, "c": "3"}},
                                              _content_type="application/merge-patch+json")
    check("merge patch", merged.data == {"b": "2", "c": "3"}, merged.data)
    patched = core.patch_namespaced_config_map("one", NAMESPACE, [{"op": "replace", "path": "/data/c", "value": "4"}],
                                               _content_type="application/json-patch+json")
    check("JSON patch", patched.data["c"] == "4", patched.data)
    core.create_namespaced_service(NAMESPACE, client.V1Service(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1ServiceSpec(ports=[client.V1ServicePort(name="a", port=80), client.V1ServicePort(name="b", port=81)])))
    service = core.patch_namespaced_service(
        "web", NAMESPACE, {"spec": {"ports": [{"port": 81, "name": "c"}, {"port": 80, "$patch": "delete"}]}},
        _content_type="application/strategic-merge-patch+json")
    check("strategic merge patch", [p.name for p in service.spec.ports] == ["c"], service.spec.ports)
    replaced = core.read_namespaced_config_map("one", NAMESPACE)
    replaced.data = {"whole": "new"}
    core.replace_namespaced_config_map("one", NAMESPACE, replaced)
    code, _ = refused(core.replace_namespaced_config_map, "one", NAMESPACE, replaced)
    check("replace: a conflict", code == 409, code)


def check_apply(api):
    """The dynamic client: discovery and server-side apply."""
    resources = dynamic.DynamicClient(api).resources
    deployments = resources.get(api_version="apps/v1", kind="Deployment")

    def wish(image):
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied"}, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "applied"}}, "template": {
                "metadata": {"labels": {"app": "applied"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}}

    def apply(image, manager, **kw):
        return deployments.server_side_apply(body=wish(image), name="applied", namespace=NAMESPACE, field_manager=manager, **kw)
    apply("x:1", "first")
    got = apply("x:2", "first")
    check("server-side apply", got.spec.template.spec.containers[0].image == "x:2"
          and [m.manager for m in got.metadata.managedFields if m.operation == "Apply"] == ["first"], got)
    code, body = refused(apply, "x:3", "second")
    check("server-side apply: a conflict", code == 409 and b"FieldManagerConflict" in (
        body if isinstance(body, bytes) else str(body).encode()), (code, body))
    got = apply("x:3", "second", force_conflicts=True)
    check("server-side apply: force", got.spec.template.spec.containers[0].image == "x:3", got)


def events(core, revision, count):
    """The next events, and the revision after them."""
    watching = watch.Watch()
    seen = []
    for event in watching.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=revision,
                                 allow_watch_bookmarks=True, _request_timeout=DEADLINE_S):
        if event["type"] != "BOOKMARK":
            seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == count:
            return seen, watching.resource_version
    return seen, revision


def check_watch(core):
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    core.create_namespaced_config_map(NAMESPACE, config_map("w1"))
    core.create_namespaced_config_map(NAMESPACE, config_map("w2"))
    core.delete_namespaced_config_map("w1", NAMESPACE)
    seen, revision = events(core, start, 1)
    check("watch", seen == [("ADDED", "w1")], seen)
    seen, revision = events(core, revision, 2)
    check("resume from a resourceVersion", seen == [("ADDED", "w2"), ("DELETED", "w1")], seen)

    lived = []

    def live():
        """A watch that is under way when the server is killed, and goes on as a user of the package has it."""
        at = revision
        while len(lived) < 2:
            watching = watch.Watch()
            try:
                for event in watching.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=at,
                                             _request_timeout=DEADLINE_S):
                    lived.append(event["object"].metadata.name)
                    at = watching.resource_version
                    if len(lived) == 2:
                        return
            except Exception:  # the connection ends with the server: again, from where it was
                time.sleep(0.05)
    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    core.create_namespaced_config_map(NAMESPACE, config_map("w3"))
    eventually(lambda: lived)
    restart()
    core.create_namespaced_config_map(NAMESPACE, config_map("w4"))
    seen, _ = events(core, start, 5)
    thread.join(DEADLINE_S)
    check("resume after the server was killed", seen == [
        ("ADDED", "w1"), ("ADDED", "w2"), ("DELETED", "w1"), ("ADDED", "w3"), ("ADDED", "w4")] and lived == ["w3", "w4"],
        (seen, lived))


def check_informer(core):
    known = {}
    shared = informer.SharedInformer(list_func=core.list_namespaced_secret, namespace=NAMESPACE, label_selector="kept=yes")
    put = lambda o: known.__setitem__(o.metadata.name, (o.string_data or o.data or {}).get("n"))  # noqa: E731
    shared.add_event_handler(informer.ADDED, put)
    shared.add_event_handler(informer.MODIFIED, put)
    shared.add_event_handler(informer.DELETED, lambda o: known.pop(o.metadata.name, None))
    shared.start()

    def secret(name, value):
        return client.V1Secret(metadata=client.V1ObjectMeta(name=name, labels={"kept": "yes"}), data={"n": value})
    for i in range(20):
        core.create_namespaced_secret(NAMESPACE, secret("s%d" % i, "YQ=="))
    eventually(lambda: len(known) == 20)
    core.delete_namespaced_secret("s0", NAMESPACE)
    restart()
    for i in range(1, 20):
        core.replace_namespaced_secret("s%d" % i, NAMESPACE, secret("s%d" % i, "Yg=="))
    want = {"s%d" % i: "Yg==" for i in range(1, 20)}
    check("an informer sees everything after the server was killed", eventually(lambda: known == want), known)
    shared.stop()


def execute(core, command, **kw):
    return stream(core.connect_get_namespaced_pod_exec, POD, "default", command=["sh", "-c", command], stderr=True,
                  stdin=kw.pop("stdin", False), stdout=True, tty=False, **kw)


def check_pod(core):
    check("exec", execute(core, "echo out; echo wrong >&2").split() == ["out", "wrong"])
    talk = execute(core, "read x; echo got $x; exit 7", stdin=True, _preload_content=False)
    talk.write_stdin("hello\n")
    talk.run_forever(timeout=DEADLINE_S)
    check("exec: its input", talk.read_stdout() == "got hello\n")
    check("exec: the exit code", talk.returncode == 7, talk.returncode)
    text = core.read_namespaced_pod_log(POD, "default")
    check("logs", text == "line 1\nline 2\nline 3\n", repr(text))
    follow = watch.Watch()
    lines = []
    for line in follow.stream(core.read_namespaced_pod_log, POD, "default", tail_lines=2):
        lines.append(line)
        if len(lines) == 2:
            follow.stop()
    check("logs: followed", lines == ["line 2", "line 3"], lines)


def part(run, *args):
    try:
        run(*args)
    except Exception as e:
        check(run.__name__, False, "%s: %s" % (type(e).__name__, e))


def main():
    config.load_kube_config()
    core = client.CoreV1Api()
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    part(check_list, core)
    part(check_write, core)
    part(check_apply, client.ApiClient())
    part(check_watch, core)
    part(check_informer, core)
    part(check_pod, core)
    core.delete_namespace(NAMESPACE)
    check("delete", eventually(lambda: refused(core.read_namespace, NAMESPACE)[0] == 404))
    os._exit(0)  # threads of the package may still wait


main()
