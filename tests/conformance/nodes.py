"""A cluster of several nodes: each in a network namespace of its own on one segment, node-1 with the server. Routes
between the nodes' pods are set here, as a cloud's route controller does; the agents' certificates are signed with the
cluster's CA."""
import base64
import os
import subprocess

from onenode import OneNode, poll

def ip(*argv):
    subprocess.run(["ip"] + list(argv), check=True)


def sign(directory, name, address):
    """(certificate, key) PEM of a node: for its agent as a client and as a server."""
    key, ca, ca_key = (os.path.join(directory, x) for x in (name + ".key", "pki/ca.crt", "pki/ca.key"))
    request = subprocess.check_output(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
         "-subj", "/O=system:nodes/CN=system:node:" + name, "-addext", "subjectAltName=DNS:%s,IP:%s" % (name, address),
         "-addext", "extendedKeyUsage=clientAuth,serverAuth"], stderr=subprocess.DEVNULL)
    certificate = subprocess.run(["openssl", "x509", "-req", "-CA", ca, "-CAkey", ca_key, "-days", "2", "-copy_extensions",
                                  "copy"], input=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    with open(key, "rb") as f:
        return certificate, f.read()


class Nodes(OneNode):
    """The first node is OneNode's own; <count> in all."""

    def __init__(self, count, variant="release"):
        self.count = count
        self.agents = []
        super().__init__(variant=variant, inside=True, listen="0.0.0.0",
                         options=["--advertise", self.address(1), "--node-ip", self.address(1), "--pod-cidr", self.pods(1)])

    @staticmethod
    def address(i):
        return "10.99.0.%d" % i

    @staticmethod
    def pods(i):
        return "10.244.%d.0/24" % i

    def namespace(self, i):
        return self.netns if i == 1 else "%s-%d" % (self.netns, i)

    def prepare(self):
        ip("-n", self.netns, "link", "add", "segment", "type", "bridge")
        ip("-n", self.netns, "addr", "add", self.address(1) + "/24", "dev", "segment")
        ip("-n", self.netns, "link", "set", "segment", "up")
        for i in range(2, self.count + 1):
            there = self.namespace(i)
            ip("netns", "add", there)
            ip("-n", there, "link", "set", "lo", "up")
            ip("-n", self.netns, "link", "add", "port%d" % i, "type", "veth", "peer", "name", "segment", "netns", there)
            ip("-n", self.netns, "link", "set", "port%d" % i, "master", "segment", "up")
            ip("-n", there, "addr", "add", self.address(i) + "/24", "dev", "segment")
            ip("-n", there, "link", "set", "segment", "up")
            ip("-n", there, "route", "add", "default", "via", self.address(1))
        for i in range(1, self.count + 1):
            for other in range(1, self.count + 1):
                if other != i:
                    ip("-n", self.namespace(i), "route", "add", self.pods(other), "via", self.address(other))

    def data_dir(self, i):
        return self.dir if i == 1 else os.path.join(self.temp.name, "n%d" % i)

    def data_dirs(self):
        return [self.data_dir(i) for i in range(1, self.count + 1)]

    def kubeconfig_of(self, i):
        name = "node-%d" % i
        certificate, key = sign(self.dir, name, self.address(i))
        with open(os.path.join(self.dir, "pki/ca.crt"), "rb") as f:
            ca = f.read()
        coded = [base64.b64encode(x).decode() for x in (ca, certificate, key)]
        path = os.path.join(self.data_dir(i), "agent.kubeconfig")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                    "clusters: [{name: c, cluster: {server: \"https://%s:%d\", certificate-authority-data: %s}}]\n"
                    "users: [{name: u, user: {client-certificate-data: %s, client-key-data: %s}}]\n"
                    "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
                    % ((self.address(1), self.port) + tuple(coded)))

    def agent(self, i, *options):
        return ["nsenter", "--net=/run/netns/" + self.namespace(i), os.path.join(self.build, "neap"), "agent", "--data-dir",
                self.data_dir(i), "--node-name", "node-%d" % i, "--node-ip", self.address(i), "--pod-cidr", self.pods(i),
                *options]

    def start(self):
        super().start()
        for i in range(2, self.count + 1):
            os.makedirs(self.data_dir(i), 0o700, exist_ok=True)
            self.kubeconfig_of(i)
            self.agents.append(subprocess.Popen(self.agent(i), stdout=subprocess.DEVNULL, stderr=self.output))
        names = {"node-%d" % i for i in range(1, self.count + 1)}
        if not poll(lambda: names <= self.ready_nodes()):
            text = self.tail()
            self.close()
            raise RuntimeError("the nodes do not come: " + text)

    def ready_nodes(self):
        nodes = self.get("nodes") or {"items": []}
        return {n["metadata"]["name"] for n in nodes["items"]
                for c in n["status"].get("conditions", []) if c["type"] == "Ready" and c["status"] == "True"}

    def stop(self):
        for agent in self.agents:
            agent.terminate()
        for i, agent in enumerate(self.agents, 2):
            agent.wait(timeout=60)
            subprocess.run(self.agent(i, "--cleanup", "true"), stdout=subprocess.DEVNULL, stderr=self.output, timeout=60)
        return super().stop()

    def close(self):
        spaces = [self.namespace(i) for i in range(2, self.count + 1)]
        subprocess.run(["pkill", "-9", "-f", self.temp.name])
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space])
        super().close()
