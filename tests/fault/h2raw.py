"""Bytes on a TLS socket as a hostile client would send them: HTTP/2 frames by hand, or anything at all."""
import os
import socket
import ssl
import struct

DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def text(value):
    """An HPACK string without Huffman coding."""
    value, n = value.encode(), len(value)
    if n < 127:
        return bytes([n]) + value
    rest, out = n - 127, [127]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes(out + [rest]) + value


def block(method, path, *more):
    """A header block of literals that are not indexed."""
    fields = [(":method", method), (":scheme", "https"), (":authority", "x"), (":path", path)] + list(more)
    return b"".join(b"\x00" + text(n) + text(v) for n, v in fields)


def get(stream, path):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block("GET", path))


class Raw:
    """A connection. h2: the preface and SETTINGS (pairs) are sent."""

    def __init__(self, server, h2=True, settings=(), certificate=True, timeout=20):
        context = server.context(certificate)
        context.set_alpn_protocols(["h2"] if h2 else ["http/1.1"])
        self.tcp = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.tls = context.wrap_socket(self.tcp, server_hostname="127.0.0.1")
        if h2:
            self.send(PREFACE + frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in settings)))

    def send(self, data):
        """False: the server has closed."""
        try:
            self.tls.sendall(data)
            return True
        except (OSError, ssl.SSLError):
            return False

    def read_all(self, seconds=20):
        """Until the server closes; None: it has not."""
        self.tls.settimeout(seconds)
        out = b""
        try:
            while True:
                got = self.tls.recv(1 << 16)
                if not got:
                    return out
                out += got
        except socket.timeout:
            return None
        except (OSError, ssl.SSLError):
            return out

    def close(self):
        self.tls.close()


def frames(data):
    """(type, flags, stream, payload) of what a server has sent."""
    at, out = 0, []
    while at + 9 <= len(data):
        n = struct.unpack(">I", b"\0" + data[at:at + 3])[0]
        out.append((data[at + 3], data[at + 4], struct.unpack(">I", data[at + 5:at + 9])[0], data[at + 9:at + 9 + n]))
        at += 9 + n
    return out


def websocket(server, path, protocol=None):
    """A connection that has been upgraded."""
    c = Raw(server, h2=False)
    c.send(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
            % (path, "Sec-WebSocket-Protocol: %s\r\n" % protocol if protocol else "")).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        got = c.tls.recv(1)
        if not got:
            break
        head += got
    return c, head


def ws_frame(opcode, payload, fin=True, mask=True, reserved=0):
    n, bit = len(payload), 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | reserved | opcode])
    head += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n) if n < 65536 else \
        bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    whole = (key * (n // 4 + 1))[:n]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(n, "big")
