"""A hostile client on real sockets: floods, bombs, games with windows, slowness, smuggling, broken websockets, too many
connections. Each is ended, memory and file descriptors stay bounded, and a healthy client is served meanwhile."""
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import NEAP, Report, Server
from h2raw import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST, SETTINGS, WINDOW, Raw, block, frame,
                   frames, get, text, websocket, ws_frame)

LIMIT_S = 180  # read by tests/run.py
CORE = "/api/v1/namespaces/default/"
MAPS = CORE + "configmaps"
CONNECTIONS = 400
GROWTH_MB = 250   # under AddressSanitizer; the list alone is 10 MB, 1,000 copies of it would be 10 GB
SLOW_S = 4.0      # of the healthy client, on a machine that does other things
OPTIONS = ["--controllers", "false", "--scheduler", "false", "--max-connections", str(CONNECTIONS), "--max-resets", "300",
           "--handshake-timeout", "1s", "--header-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "1m",
           "--write-stall-timeout", "1s", "--list-timeout", "3s", "--max-message-bytes", "65536"]


def memory(pid):
    with open("/proc/%d/status" % pid) as f:
        return next((int(x.split()[1]) // 1024 for x in f if x.startswith("VmRSS")), 0)  # 0: it has ended


def files(pid):
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return 0


class Healthy(threading.Thread):
    """Somebody else, on a connection of his own: how long he waits."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client, self.worst, self.failed, self.stopped = server.client(), 0.0, None, threading.Event()
        self.client.request("GET", MAPS + "/m0")

    def run(self):
        while not self.stopped.is_set():
            begun = time.monotonic()
            try:
                code = self.client.request("GET", MAPS + "/m0")[0]
            except OSError as e:
                code = e
            if code != 200:
                self.failed = code
            self.worst = max(self.worst, time.monotonic() - begun)
            time.sleep(0.01)


def ended(c, seconds=10):
    """Whatever it says, the server closes."""
    got = c.read_all(seconds)
    c.close()
    return got is not None


# ---- HTTP/2 ----

def rapid_reset(server):
    c = Raw(server)
    for i in range(100):
        if not c.send(b"".join(get(s, MAPS) + frame(RST, 0, s, b"\0\0\0\x08") for s in range(40 * i + 1, 40 * i + 41, 2))):
            break
    return ended(c)


def made_you_reset(server):
    """The server resets, because of a WINDOW_UPDATE by 0 (CVE-2025-8671)."""
    c = Raw(server)
    for i in range(100):
        if not c.send(b"".join(get(s, MAPS) + frame(WINDOW, 0, s, bytes(4)) for s in range(40 * i + 1, 40 * i + 41, 2))):
            break
    return ended(c)


def continuations(payload):
    def attack(server):
        c = Raw(server)
        c.send(frame(HEADERS, 0, 1, block("GET", "/")))
        for _ in range(200):
            if not c.send(frame(CONTINUATION, 0, 1, payload) * 50):
                break
        return ended(c)
    return attack


def control_flood(one):
    """Acknowledgements are never read."""
    def attack(server):
        c = Raw(server)
        c.tls.settimeout(2)
        for _ in range(200):
            if not c.send(one * 500):
                break
        c.close()
        return True
    return attack


def empty_data(server):
    c = Raw(server)
    c.send(frame(HEADERS, END_HEADERS, 1, block("POST", MAPS)))
    until = time.monotonic() + 2.5  # beyond the time for a body
    while time.monotonic() < until and c.send(frame(DATA, 0, 1) * 500):
        pass
    c.send(frame(PING, 0, 0, bytes(8)))
    c.tls.settimeout(5)
    got, seen = b"", time.monotonic() + 5
    while time.monotonic() < seen and not any(f[0] == HEADERS and f[2] == 1 for f in frames(got)):
        try:
            more = c.tls.recv(65536)
        except OSError:
            break
        if not more:
            break
        got += more
    c.close()
    return any(f[0] == HEADERS and f[2] == 1 for f in frames(got))  # answered: too late


def hpack_bomb(server):
    """One header of 3.9 KB put into the table, then named 15,000 times in one block: 58 MB."""
    c = Raw(server)
    bomb = block("GET", "/") + b"\x40" + text("x") + text("y" * 3900) + b"\xbe" * 12000
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb[:16384]))
    c.send(frame(PING, 0, 0, bytes(8)))
    c.tls.settimeout(5)
    got = b""
    try:
        while not any(f[0] in (HEADERS, RST, 7) for f in frames(got)):
            more = c.tls.recv(65536)
            if not more:
                break
            got += more
    except OSError:
        return False
    c.close()
    return True


def shut_windows(server):
    """1,000 lists of 10 MB whose windows never open."""
    pid, begun = server.process.pid, memory(server.process.pid)
    all_ = [Raw(server, settings=[(4, 0)]) for _ in range(5)]
    for c in all_:
        for s in range(1, 401, 2):
            c.send(get(s, MAPS))
    highest, resets, until = 0, 0, time.monotonic() + 15
    buffers = [b""] * 5
    while resets < 1000 and time.monotonic() < until:
        highest = max(highest, memory(pid))
        for i, c in enumerate(all_):
            c.tls.settimeout(0.05)
            try:
                buffers[i] += c.tls.recv(1 << 16)
            except OSError:
                pass
        resets = sum(f[0] == RST for b in buffers for f in frames(b))
    for c in all_:
        c.close()
    return resets == 1000 and highest - begun < GROWTH_MB or (resets, begun, highest)


def slow_list(server):
    """Reads on, but so slowly that the snapshot would be held for ever: the list is ended, others of the connection are not."""
    c = Raw(server, settings=[(4, 100)])
    c.send(get(1, MAPS))
    got, until = b"", time.monotonic() + 12
    c.tls.settimeout(0.2)
    while time.monotonic() < until and not any(f[0] == RST for f in frames(got)):
        c.send(frame(WINDOW, 0, 1, b"\0\0\0\x64"))
        try:
            got += c.tls.recv(1 << 16)
        except OSError:
            pass
        time.sleep(0.05)
    c.close()
    return any(f[0] == RST and f[2] == 1 for f in frames(got))


# ---- slowness ----

def dribble(start, piece, h2=False, tls=True):
    """Twenty connections that each send a byte now and then: all are ended."""
    def attack(server):
        all_ = []
        for _ in range(20):
            if tls:
                all_.append(Raw(server, h2=h2))
                all_[-1].send(start)
                all_[-1].tcp = all_[-1].tls
            else:
                s = socket.create_connection(("127.0.0.1", server.port), 10)
                s.sendall(start)
                all_.append(s)
        alive, until = list(all_), time.monotonic() + 10
        while alive and time.monotonic() < until:
            for c in list(alive):
                s = c if isinstance(c, socket.socket) else c.tls
                s.settimeout(0.01)
                try:
                    s.sendall(piece)
                    if s.recv(65536) == b"":
                        alive.remove(c)
                except socket.timeout:
                    pass
                except (OSError, ssl.SSLError):
                    alive.remove(c)
            time.sleep(0.1)
        for c in all_:
            c.close()
        return not alive or len(alive)
    return attack


def half_closed(server):
    for i in range(40):
        c = Raw(server, h2=False)
        c.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % MAPS.encode())
        c.tls.shutdown(socket.SHUT_WR)
        if i % 2:
            c.close()
    return True  # nothing of them stays: the last check


# ---- no TLS, and other bytes ----

def garbage(server):
    rng = random.Random(7)
    heads = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + bytes(200), b"\x16\x03\x01\xff\xff",
             b"\x80\x2e\x01\x03\x01", b"\x15\x03\x03\x00\x02\x02\x28", b"SSH-2.0-x\r\n", b""]
    for i in range(200):
        with socket.create_connection(("127.0.0.1", server.port), 10) as s:
            try:
                s.sendall(heads[i % len(heads)] + rng.randbytes(rng.randrange(300)))
            except OSError:
                pass
    return True


def garbage_inside(server):
    """Behind the handshake: h2 frames and HTTP/1.1 heads with bytes turned."""
    rng = random.Random(8)
    for i in range(150):
        h2 = i % 2 == 0
        c = Raw(server, h2=h2)
        data = bytearray(get(1, MAPS) + frame(SETTINGS) + frame(PING, 0, 0, bytes(8)) + get(3, "/healthz") if h2 else
                         b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" % MAPS.encode())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        c.send(bytes(data))
        c.close()
    return True


def idle_connections(server):
    """More than may be: the rest is closed at once, without TLS."""
    all_ = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(CONNECTIONS + 200)]
    refused = 0
    for s in reversed(all_):
        s.settimeout(0.02)
        try:
            refused += s.recv(1) == b""
        except socket.timeout:
            pass
        except OSError:
            refused += 1
    for s in all_:
        s.close()
    return refused >= 200 or refused


# ---- HTTP/1.1 ----

def status(server, data):
    c = Raw(server, h2=False)
    c.send(data)
    got = c.read_all(5)
    c.close()
    return int(got.split()[1]) if got and got.startswith(b"HTTP/1.1 ") else None, got and got.count(b"HTTP/1.1 ")


def check_smuggling(report, server):
    post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % MAPS.encode()
    second = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b'{"metadata":{"name":"s"}}'
    rows = [
        ("both lengths", post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("two lengths", post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + second, 400),
        ("the same length twice", post + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + second, 400),
        ("a list of lengths", post + b"Content-Length: 5, 5\r\n\r\nhello" + second, 400),
        ("a signed length", post + b"Content-Length: +5\r\n\r\nhello" + second, 400),
        ("a negative length", post + b"Content-Length: -5\r\n\r\nhello" + second, 400),
        ("a hexadecimal length", post + b"Content-Length: 0x5\r\n\r\nhello" + second, 400),
        ("a length that overflows", post + b"Content-Length: 99999999999999999999\r\n\r\nhello" + second, 400),
        ("another coding", post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("chunked twice", post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("a coding that looks so", post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("a blank before the colon", post + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("a folded header", post + b"X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" + second, 400),
        ("bare line feeds", b"GET /version HTTP/1.1\nHost: x\n\n\r\n\r\n", 400),
        ("a bare line feed in the head", post + b"X-A: b\nContent-Length: 5\r\n\r\nhello" + second, 400),
        ("a NUL in a header", post + b"X-A: b\0c\r\n\r\n" + second, 400),
        ("chunked in HTTP/1.0", post.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, 400),
        ("no host", b"GET /version HTTP/1.1\r\n\r\n" + second, 400),
        ("two hosts", b"GET /version HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + second, 400),
        ("a chunk with 0x", post + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" + second, 400),
        ("a chunk that is longer", post + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n" + second, 400),
        ("a chunk that overflows", post + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello" + second, 400),
        ("a chunk of line feeds", post + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n" + second, 400),
        ("a chunk beyond 3 MiB", post + b"Transfer-Encoding: chunked\r\n\r\n7fffffff\r\n" + second, 413),
        ("a body beyond 3 MiB", post + b"Content-Length: 4000000\r\n\r\n" + b" " * 4000000, 413),
        ("64 KiB of headers", post + b"X-A: " + b"b" * 70000 + b"\r\n\r\n" + second, 400),
        ("1,000 headers", post + b"X-A: b\r\n" * 1000 + b"\r\n" + second, 400),
        ("a method of blanks", b"  / HTTP/1.1\r\nHost: x\r\n\r\n" + second, 400),
        ("HTTP/2 by words", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n" + second, 400),
        ("chunks with extensions", post + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n"
         % (len(body), body), 201),
    ]
    for name, data, want in rows:
        code, answers = status(server, data)
        report.check("HTTP/1.1: %s -> %d" % (name, want), code == want and answers == 1, (code, answers))


# ---- websockets ----

def check_websockets(report, server):
    watch = MAPS + "?watch=1&resourceVersion=0"
    rows = [
        ("a message of 200 KB", ws_frame(2, bytes(200000))),
        ("200 KB in pieces", ws_frame(2, bytes(1000), fin=False) + ws_frame(0, bytes(1000), fin=False) * 199),
        ("not masked", ws_frame(2, b"x", mask=False)),
        ("the second one is not masked", ws_frame(9, b"x" * 100) + ws_frame(2, b"x" * 300, mask=False)),
        ("reserved bits", ws_frame(2, b"x", reserved=0x40)),
        ("a ping of 200 bytes", ws_frame(9, bytes(200))),
        ("a ping in pieces", ws_frame(9, b"x", fin=False)),
        ("a reserved opcode", ws_frame(3, b"x")),
        ("a continuation of nothing", ws_frame(0, b"x")),
        ("a length of 2^63", b"\x82\xff" + b"\xff" * 8 + bytes(4)),
        ("a close of one byte", ws_frame(8, b"x")),
    ]
    open_ = [(name, websocket(server, watch), data) for name, data in rows]
    for _, (c, _), data in open_:
        c.send(data)
    for name, (c, head), _ in open_:
        report.check("websocket: %s ends it" % name, head.startswith(b"HTTP/1.1 101") and ended(c, 15), head[:60])
    c, head = websocket(server, watch)
    for _ in range(50):
        c.send(ws_frame(9, b"p") * 100)
    c.send(ws_frame(8, b"\x03\xe8"))
    report.check("websocket: 5,000 pings", ended(c, 15))


def together(*attacks):
    def attack(server):
        got = []
        threads = [threading.Thread(target=lambda a=a: got.append(a(server))) for a in attacks]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return got == [True] * len(attacks) or got
    return attack


ATTACKS = [
    ("rapid reset", rapid_reset), ("made you reset", made_you_reset), ("CONTINUATION flood", continuations(bytes(100))),
    ("empty CONTINUATION flood", continuations(b"")), ("SETTINGS flood", control_flood(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"))),
    ("PING flood", control_flood(frame(PING, 0, 0, bytes(8)))), ("SETTINGS acks", control_flood(frame(SETTINGS, ACK))),
    ("empty DATA flood", empty_data), ("HPACK bomb", hpack_bomb), ("1,000 shut windows", shut_windows), ("a slow list", slow_list),
    ("slowness", together(
        dribble(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0", tls=False),
        dribble(b"GET /version HTTP/1.1\r\nX: ", b"y"),
        dribble(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" % MAPS.encode(), b" "),
        dribble(b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" % MAPS.encode(), b" "),
        dribble(frame(HEADERS, 0, 1, block("GET", "/")), b"", h2=True))),
    ("half-closed", half_closed), ("no TLS", garbage), ("turned bytes", garbage_inside), ("idle connections", idle_connections),
]


def check_attacks(report, server):
    pid = server.process.pid
    server.client().request("GET", MAPS)
    before = files(pid)
    for name, attack in ATTACKS:
        healthy, begun = Healthy(server), memory(pid)
        healthy.start()
        try:
            got = attack(server)
        except Exception as e:  # pylint: disable=broad-except
            got = repr(e)
        healthy.stopped.set()
        healthy.join()
        grown = memory(pid) - begun
        report.check(name, got is True, got)
        report.check(name + ": others are served", not healthy.failed and healthy.worst < SLOW_S,
                     (healthy.failed, healthy.worst))
        report.check(name + ": memory", grown < GROWTH_MB and server.process.poll() is None, grown)
        if server.process.poll() is not None:
            report.fail(name + ": the server has ended", server.tail())
            sys.exit(1)
        if "-v" in sys.argv:
            print("   %-26s worst %.3f s, +%d MB, %d files" % (name, healthy.worst, grown, files(pid)))
    until = time.monotonic() + 10
    while files(pid) > before + 10 and time.monotonic() < until:
        time.sleep(0.05)
    report.check("file descriptors are given back", files(pid) <= before + 10, (before, files(pid)))


def seconds_used(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def check_no_files(report):
    """No file descriptor is left: who comes is turned away, nobody spins, and it goes on afterwards."""
    limited = ["prlimit", "--nofile=80:80", NEAP]

    class Limited(Server):
        def start(self):
            real = subprocess.Popen
            subprocess.Popen = lambda argv, **kw: real(limited[:-1] + argv, **kw)
            try:
                super().start()
            finally:
                subprocess.Popen = real

    server = Limited(args=["--controllers", "false", "--scheduler", "false", "--handshake-timeout", "20s"])
    admin = server.client()
    admin.request("GET", MAPS)
    held = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(150)]
    time.sleep(0.2)
    begun = seconds_used(server.process.pid)
    time.sleep(1)
    used = seconds_used(server.process.pid) - begun
    report.check("no file descriptors: nobody spins", used < 0.5, used)
    report.check("no file descriptors: who is in is served", admin.request("GET", MAPS)[0] == 200)
    for s in held:
        s.close()
    report.check("no file descriptors: afterwards", server.client().request("GET", MAPS)[0] == 200)
    report.check("no file descriptors: its end", server.stop() == 0, server.tail())


def main():
    report = Report()
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"
    server = Server(args=OPTIONS)
    admin = server.client()
    for i in range(200):
        admin.request("POST", MAPS, {"metadata": {"name": "m%d" % i}, "data": {"x": "y" * 50000}})
    check_attacks(report, server)
    check_smuggling(report, server)
    check_websockets(report, server)
    report.check("it still serves", server.client().request("GET", MAPS + "/m0")[0] == 200)
    check_no_files(report)
    report.end(server)


if __name__ == "__main__":
    main()
