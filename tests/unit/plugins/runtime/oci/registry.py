"""A registry of one layout folder, with tokens, for test_image.c. Prints its port.
usage: registry.py LAYOUT"""
import base64, json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

root = sys.argv[1]
index = json.load(open(root + "/index.json"))["manifests"][0]["digest"]
USER = "Basic " + base64.b64encode(b"u:p").decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        port = self.server.server_address[1]
        auth = self.headers.get("Authorization", "")
        if path == "/token":
            ok = auth == USER and "scope=repository:team/two:pull" in query
            return self.answer(200 if ok else 401, json.dumps({"token": "sesame"}).encode())
        if auth != "Bearer sesame":
            return self.answer(401, WWW_Authenticate='Bearer realm="http://127.0.0.1:%d/token",'
                               'service="test",scope="repository:team/two:pull"' % port)
        parts = path.split("/")
        if parts[:4] != ["", "v2", "team", "two"] or len(parts) != 6:
            return self.answer(404)
        what, ref = parts[4], parts[5]
        digest = index if (what, ref) == ("manifests", "1") else ref
        if ref == "lies":
            return self.answer(200, b'{"config":{"digest":"%s"},"layers":[]}' % index.encode())
        name = os.path.join(root, "blobs/sha256", os.path.basename(digest)[7:])
        if not digest.startswith("sha256:") or not os.path.exists(name):
            return self.answer(404)
        self.answer(200, open(name, "rb").read())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
