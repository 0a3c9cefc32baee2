"""A fresh neap server and a small HTTPS client for it, from the standard library alone."""
import base64
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time

TOP = os.environ.get("NEAP_TOP", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
NEAP = os.path.join(TOP, "build", os.environ.get("NEAP_VARIANT", "asan"), "neap")


class Server:
    def __init__(self, store="memory", args=(), directory=None, program=NEAP):
        self.temp = None if directory else tempfile.TemporaryDirectory(prefix="neap-test-")
        self.dir = directory or self.temp.name
        self.store, self.args, self.program = store, list(args), program
        self.start()

    def start(self):
        self.log = open(os.path.join(self.dir, "test.log"), "ab")
        self.process = subprocess.Popen(
            [self.program, "server", "--data-dir", self.dir, "--listen", "127.0.0.1:0", "--store", self.store]
            + self.args, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if not line.startswith("neap: ready"):
            self.process.wait()
            raise RuntimeError("neap did not start: %r %s" % (line, self.tail()))
        with open(os.path.join(self.dir, "admin.kubeconfig")) as f:
            text = f.read()
        self.port = int(re.search(r"server: https://[^:]+:(\d+)", text)[1])
        for key, name in (("certificate-authority-data", "ca.pem"), ("client-certificate-data", "cert.pem"),
                          ("client-key-data", "key.pem")):
            data = base64.b64decode(re.search(key + r": (\S+)", text)[1])
            with open(os.path.join(self.dir, name), "wb") as f:
                f.write(data)

    def tail(self):
        with open(os.path.join(self.dir, "test.log"), "rb") as f:
            return f.read()[-4000:].decode(errors="replace")

    def context(self, certificate=True):
        c = ssl.create_default_context(cafile=os.path.join(self.dir, "ca.pem"))
        if certificate:
            c.load_cert_chain(os.path.join(self.dir, "cert.pem"), os.path.join(self.dir, "key.pem"))
        return c

    def client(self, token=None, certificate=True):
        return Client(self, token, certificate and not token)

    def stop(self):
        """SIGTERM; the sanitizers' findings make the exit code not 0."""
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.log.close()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Client:
    def __init__(self, server, token, certificate):
        self.server, self.token = server, token
        self.ssl = server.context(certificate)
        self.connection = None

    def request(self, method, path, body=None, content_type="application/json", headers=None):
        """(code, parsed JSON or text, warnings)"""
        code, text, headers = self.raw(method, path, body, content_type, headers)
        warnings = [re.sub(r'\\(.)', r'\1', re.match(r'299 - "(.*)"$', w, re.S)[1])
                    for w in headers.get_all("Warning") or []]
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text.decode(errors="replace")
        return code, parsed, warnings

    def raw(self, method, path, body=None, content_type="application/json", headers=None):
        """(code, bytes, headers)"""
        h = {"Accept": "application/json", "User-Agent": "golden"}
        if self.token:
            h["Authorization"] = "Bearer " + self.token
        if body is not None:
            h["Content-Type"] = content_type
        h.update(headers or {})
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        if isinstance(data, str):
            data = data.encode()
        for attempt in range(2):
            if not self.connection:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, context=self.ssl,
                                                              timeout=30)
            try:
                self.connection.request(method, path, data, h)
                r = self.connection.getresponse()
                text = r.read()
                break
            except (http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                if attempt:
                    raise
        return r.status, text, r.headers


class Report:
    """Lines for tests/run.py."""

    def __init__(self):
        self.failed = 0

    def ok(self, name):
        print("ok " + name, flush=True)

    def fail(self, name, why):
        self.failed += 1
        print("not ok %s: %s" % (name, str(why).replace("\n", " ")[:1500]), flush=True)

    def check(self, name, condition, why=""):
        (self.ok if condition else lambda n: self.fail(n, why))(name)

    def end(self, server=None):
        if server:
            code = server.stop()
            if code != 0:
                self.fail("server exit", "%d %s" % (code, server.tail()))
        sys.exit(min(self.failed, 100))
