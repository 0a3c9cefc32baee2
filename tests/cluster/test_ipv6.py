"""A cluster without IPv4: the same programs, other ranges. Its namespace has no IPv4 address, not even on lo."""
import json
import os
import subprocess
import sys

from onenode import IMAGE, OneNode, Report, cluster_or_skip, poll

PODS, SERVICES = "fd00:10:244::/64", "fd00:10:96::/108"
OPTIONS = ["--pod-cidr", PODS, "--service-cidr", SERVICES]
SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; echo up > /tmp/w/healthz; echo serving; exec httpd -f -p 8080 -h /tmp/w"
OUT, OUT_NODE = "fd77::2", "fd77::1"


def service(name, selector, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": dict({"selector": {"app": selector}, "ports": [{"port": 80, "targetPort": 8080}]}, **spec)}


def fetch(k, host, *more, netns=None):
    """The body; None: no answer."""
    argv = ["ip", "netns", "exec", netns or k.netns, "curl", "-gsS", "-m3"] + list(more) + ["http://%s/" % host]
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return p.stdout.decode().strip() if p.returncode == 0 else None


def check_pods(report, k):
    k.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
             "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                      "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                          "terminationGracePeriodSeconds": 1,
                          "containers": [{"name": "c", "image": IMAGE, "command": ["/bin/sh", "-c", SERVE],
                                          "ports": [{"containerPort": 8080}],
                                          "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080},
                                                             "periodSeconds": 1},
                                          "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}}})
    poll(lambda: (k.get("deployment", "web") or {}).get("status", {}).get("readyReplicas") == 2)
    pods = k.get("pods", "-l", "app=web")["items"]
    report.check("two pods are ready: their HTTP probes are answered",
                 len(pods) == 2 and k.get("deployment", "web")["status"].get("readyReplicas") == 2, (pods, k.tail()))
    status = [p["status"] for p in pods]
    report.check("podIP and podIPs", all(s["podIP"].startswith("fd00:10:244::") and s["podIPs"] == [{"ip": s["podIP"]}]
                                         for s in status), status)
    report.check("hostIP and hostIPs", all(s["hostIP"] == "fd00:10:244::1" and s["hostIPs"] == [{"ip": s["hostIP"]}]
                                           for s in status), status)
    node = k.get("node", "node-1")
    report.check("the node's range and address", node["spec"]["podCIDRs"] == [PODS]
                 and {"type": "InternalIP", "address": "fd00:10:244::1"} in node["status"]["addresses"], node)
    wide = k.kubectl("get", "pods", "-o", "wide")
    report.check("kubectl get pods -o wide", status[0]["podIP"] in wide, wide)
    name = pods[0]["metadata"]["name"]
    report.check("logs", k.kubectl("logs", name) == "serving\n")
    report.check("exec", k.kubectl("exec", "-i", name, "--", "cat", stdin="x" * 70000) == "x" * 70000)
    hosts = k.kubectl("exec", name, "--", "cat", "/etc/hosts")
    report.check("/etc/hosts", "%s\t%s" % (status[0]["podIP"], name) in hosts, hosts)
    raw = k.run("get", "--raw", "/api/v1/namespaces/default/pods/%s:8080/proxy/" % name)
    report.check("pods/proxy", raw[1].strip() == name, raw)
    other = k.kubectl("exec", name, "--", "wget", "-qO-", "http://[%s]:8080/" % status[1]["podIP"]).strip()
    report.check("a pod reaches a pod", other == pods[1]["metadata"]["name"], other)
    k.apply(k.pod("sick", SERVE, container={"livenessProbe": {
        "httpGet": {"path": "/none", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}))
    restarted = poll(lambda: k.get("pod", "sick")["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) > 0)
    report.check("a failing HTTP probe restarts", restarted, k.get("pod", "sick")["status"])
    k.kubectl("delete", "pod", "sick", "--grace-period=0", "--force")
    return [p["metadata"]["name"] for p in pods], [s["podIP"] for s in status]


def check_services(report, k, names, ips):
    k.apply(service("web", "web"), service("port", "web", type="NodePort"), service("headless", "web", clusterIP="None"),
            service("both", "web", ipFamilyPolicy="PreferDualStack"))
    web, port = k.get("service", "web")["spec"], k.get("service", "port")["spec"]
    report.check("a Service's family is the range's", web["ipFamilies"] == ["IPv6"]
                 and web["ipFamilyPolicy"] == "SingleStack" and web["clusterIPs"] == [web["clusterIP"]]
                 and web["clusterIP"].startswith("fd00:10:96::"), web)
    report.check("a headless one's too", k.get("service", "headless")["spec"]["ipFamilies"] == ["IPv6"])
    both = k.get("service", "both")["spec"]
    report.check("PreferDualStack takes what there is", both["ipFamilies"] == ["IPv6"]
                 and len(both["clusterIPs"]) == 1, both)
    code, _, err = k.run("create", "-f", "-", stdin=json.dumps(service("v4", "web", ipFamilies=["IPv4"])))
    report.check("IPv4 is not configured", code and "not configured on this cluster" in err, err)
    code, _, err = k.run("create", "-f", "-", stdin=json.dumps(service("two", "web", ipFamilyPolicy="RequireDualStack")))
    report.check("nor is dual-stack", code and "not configured for dual-stack" in err, err)
    k.apply(service("chosen", "web", clusterIP="fd00:10:96::a:b"))
    address = k.get("ipaddress", "fd00:10:96::a:b")
    report.check("a chosen address is an IPAddress", address
                 and address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv6", address)
    code, _, err = k.run("create", "-f", "-", stdin=json.dumps(service("again", "web", clusterIP="fd00:10:96::a:b")))
    report.check("nobody else gets it", code and "already allocated" in err, err)
    code, _, err = k.run("create", "-f", "-", stdin=json.dumps(service("far", "web", clusterIP="fd00:10:97::1")))
    report.check("none outside the range", code and "does not match the current range" in err, err)
    k.kubectl("delete", "service", "chosen", "both")
    report.check("a deleted Service's address is free", poll(lambda: not k.get("ipaddress", "fd00:10:96::a:b")))

    def slices():
        found = k.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
        return found if found and len(found[0].get("endpoints") or []) == 2 else None
    found = poll(slices) or [{}]
    report.check("an EndpointSlice of IPv6", found[0].get("addressType") == "IPv6"
                 and sorted(e["addresses"][0] for e in found[0]["endpoints"]) == sorted(ips), found)
    endpoints = k.get("endpoints", "web")
    report.check("Endpoints", sorted(a["ip"] for a in endpoints["subsets"][0]["addresses"]) == sorted(ips), endpoints)
    vip = "[%s]" % web["clusterIP"]
    report.check("the node reaches the ClusterIP, at both pods",
                 poll(lambda: {fetch(k, vip) for _ in range(16)} == set(names)), [fetch(k, vip) for _ in range(4)])
    inside = {k.kubectl("exec", names[0], "--", "wget", "-qO-", "http://%s/" % vip).strip() for _ in range(12)}
    report.check("a pod does, itself among them", inside == set(names), inside)
    report.check("services/proxy", k.kubectl("get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/").strip()
                 in names)
    number = port["ports"][0]["nodePort"]
    for name, host, netns in (("its pod-side address", "fd00:10:244::1", None), ("an uplink's", OUT_NODE, None),
                              ("an uplink's, from outside", OUT_NODE, k.outside)):
        at = "[%s]:%d" % (host, number)
        report.check("the NodePort at " + name, poll(lambda: fetch(k, at, netns=netns) in names, 5), at)
    report.check("an unused node port is refused", fetch(k, "[%s]:%d" % (OUT_NODE, number + 1)) is None)
    k.kubectl("scale", "deployment", "web", "--replicas=1")
    report.check("the Service follows its pods", poll(lambda: len({fetch(k, vip) for _ in range(8)}) == 1))
    k.kubectl("scale", "deployment", "web", "--replicas=0")
    report.check("without pods it is refused", poll(lambda: fetch(k, vip) is None))


def pid_of(word):
    return subprocess.check_output(["pgrep", "-f", "^" + word]).split()[0].decode()


def check_api(report, k):
    """The kubernetes Service from within a pod's network, by its token and its CA."""
    unique = "sleep 6%d" % os.getpid()
    k.apply(k.pod("caller", "exec " + unique))
    k.wait_ready("caller")
    mount = "/var/run/secrets/kubernetes.io/serviceaccount/"
    host = k.kubectl("exec", "caller", "--", "sh", "-c", "echo $KUBERNETES_SERVICE_HOST").strip()
    report.check("KUBERNETES_SERVICE_HOST", host == "fd00:10:96::1", host)
    url = k.kubectl("exec", "caller", "--", "sh", "-c", "echo $KUBERNETES_PORT").strip()
    report.check("KUBERNETES_PORT", url == "tcp://[fd00:10:96::1]:443", url)
    token, ca = (k.kubectl("exec", "caller", "--", "cat", mount + x) for x in ("token", "ca.crt"))
    path = os.path.join(k.temp.name, "ca.crt")
    with open(path, "w") as f:
        f.write(ca)
    subprocess.run(["nsenter", "-t", pid_of(unique), "-n", "curl", "-gsS", "-m5", "--cacert", path, "-H",
                    "Authorization: Bearer " + token, "-o", path + ".out", "https://[%s]/api/v1/namespaces" % host])
    with open(path + ".out") as f:
        answer = json.load(f)
    report.check("the API knows the caller by its token", answer.get("kind") == "Status" and answer["code"] == 403
                 and "system:serviceaccount:default:default" in answer["message"], answer)
    kubernetes = k.get("endpointslice", "kubernetes")
    report.check("the API's own EndpointSlice", kubernetes["addressType"] == "IPv6"
                 and kubernetes["endpoints"][0]["addresses"] == ["fd00:10:244::1"], kubernetes)
    cidr = k.get("servicecidr", "kubernetes")
    report.check("the ServiceCIDR", cidr["spec"]["cidrs"] == [SERVICES], cidr)
    k.kubectl("delete", "pod", "caller", "--grace-period=0", "--force")


def check_host_ports(report, k):
    k.apply(k.pod("every", SERVE, container={"ports": [{"containerPort": 8080, "hostPort": 54331}]}),
            k.pod("one", SERVE, container={"ports": [{"containerPort": 8080, "hostPort": 54332, "hostIP": OUT_NODE}]}))
    k.wait_ready("every")
    k.wait_ready("one")
    report.check("a host port", poll(lambda: fetch(k, "[fd00:10:244::1]:54331") == "every"))
    refused = k.in_netns("curl", "-gsS", "-m3", "http://[::1]:54331/")
    report.check("not at ::1, which is refused at once", refused[0] == 7, refused)
    report.check("from outside", fetch(k, "[%s]:54331" % OUT_NODE, netns=k.outside) == "every")
    report.check("one at its hostIP", poll(lambda: fetch(k, "[%s]:54332" % OUT_NODE, netns=k.outside) == "one"))
    report.check("and not elsewhere", fetch(k, "[fd00:10:244::1]:54332") is None)
    k.kubectl("delete", "pod", "one", "--now")
    return "every"


def check_outside(report, k, pod):
    """What leaves the cluster does so with the node's address: nobody out there knows a way to the pods."""
    listen = ("import socket; s = socket.create_server(('%s', 9999), family=socket.AF_INET6); print('listens', flush=True); "
              "s.settimeout(10); print(s.accept()[1][0])" % OUT)
    server = subprocess.Popen(["ip", "netns", "exec", k.outside, sys.executable, "-c", listen], stdout=subprocess.PIPE)
    server.stdout.readline()
    k.run("exec", pod, "--", "sh", "-c", "echo | nc -w 3 %s 9999" % OUT)
    said = server.communicate()[0].decode().strip()
    report.check("a pod's call outside comes from the node", said == OUT_NODE, said)
    k.kubectl("delete", "pod", pod, "--now")


def check_refused(report, k):
    for pods, services, word in (("fd00::/64x", "fd01::/108", "pod_cidr"), ("fd00::/64", "fd01:::/108", "service_cidr"),
                                 ("fd00::/64", "10.96.0.0/16", "one family"), ("fd00::/48", "fd00::/108", "overlap"),
                                 ("fd00::/64,10.244.0.0/16", "fd01::/108", "dual-stack"),
                                 ("fd00::/127", "fd01::/108", "prefix")):
        p = subprocess.run([os.path.join(k.build, "neap"), "up", "--data-dir", k.temp.name + "/none", "--netns", k.netns,
                            "--pod-cidr", pods, "--service-cidr", services], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=20)
        err = p.stderr.decode().strip()
        report.check("ranges %s %s are refused in a line" % (pods, services),
                     p.returncode == 1 and word in err and err.count("\n") == 0, err)


def join_outside(k):
    """A machine beside the node, reached through an uplink that listens to routers."""
    k.outside = k.netns + "o"

    def ip(*args):
        subprocess.run(["ip"] + list(args), check=True)
    ip("netns", "add", k.outside)
    ip("-n", k.netns, "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", k.outside)
    for netns, device, address in ((k.netns, "up0", OUT_NODE), (k.outside, "eth0", OUT)):
        ip("-n", netns, "addr", "add", address + "/64", "dev", device, "nodad")
        ip("-n", netns, "link", "set", device, "up")


def check_inside(report):
    """The API in the namespace too, at every address."""
    k = OneNode(options=OPTIONS, listen="[::]", v6_only=True, inside=True)
    try:
        with open(k.kubeconfig) as f:
            report.check("its kubeconfig says where", "https://[::1]:%d" % k.port in f.read())
        k.apply(k.pod("one", "exec sleep 1000"))
        report.check("a pod at an API that listens at [::]", bool(k.wait_ready("one")), k.tail())
        report.check("exec", k.kubectl("exec", "one", "--", "echo", "here") == "here\n")
        code, out = k.in_netns("curl", "-gsSk", "-m3", "https://[fd00:10:96::1]/version")
        report.check("the kubernetes Service", code == 0 and "gitVersion" in out, out)
        report.check("it ends well", k.stop() == 0, k.tail())
    finally:
        k.close()


def main():
    report = Report()
    k = cluster_or_skip("ipv6", options=OPTIONS, listen="[::1]", v6_only=True)
    try:
        join_outside(k)
        addresses = k.in_netns("ip", "-4", "addr")[1]
        report.check("the namespace has no IPv4", "inet " not in addresses, addresses)
        names, ips = check_pods(report, k)
        check_services(report, k, names, ips)
        check_api(report, k)
        check_outside(report, k, check_host_ports(report, k))
        check_refused(report, k)
        check_inside(report)
    except Exception as e:
        report.fail("the rest", repr(e))
    finally:
        subprocess.run(["ip", "netns", "del", k.outside])
        if report.failed:
            print(k.tail())
        k.end(report)


if __name__ == "__main__":
    sys.exit(main())
