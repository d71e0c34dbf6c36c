"""GET requests with an empty body, framed as some clients and proxies do, against our own HTTP servers."""

import socket
import struct

DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1
STATUS_200 = b"\x88"  # The entry 8 of HPACK's static table, as an indexed field.


def chunked(address, path):
    """The status of an HTTP/1.1 GET with `Transfer-Encoding: chunked` and no chunk."""
    with connected(address) as stream:
        head = f"GET {path} HTTP/1.1\r\nhost: {address}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        stream.sendall(head.encode() + b"0\r\n\r\n")
        return stream.makefile("rb").readline().decode().strip()


def empty_data(address, path):
    """True if an HTTP/2 GET that an empty DATA frame ends is answered 200."""
    def frame(kind, flags, number, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + payload

    def literal(index, value):
        """A header field with a name of HPACK's static table, without indexing."""
        return bytes([index, len(value)]) + value.encode()

    # :method GET and :scheme http are indexed; :authority (1) and :path (4) are literals.
    fields = b"\x82\x86" + literal(1, address) + literal(4, path)
    with connected(address) as stream:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
                       + frame(HEADERS, END_HEADERS, 1, fields) + frame(DATA, END_STREAM, 1))
        received = stream.makefile("rb")
        while True:
            head = received.read(9)
            assert len(head) == 9, "the connection ended before the response"
            payload = received.read(int.from_bytes(head[:3]))
            kind, flags = head[3], head[4]
            if kind == SETTINGS and not flags & ACK:
                stream.sendall(frame(SETTINGS, ACK, 0))
            if kind == HEADERS:
                # A dynamic table size update (001xxxxx) may come first.
                return payload.lstrip(bytes(range(0x20, 0x40))).startswith(STATUS_200)


def connected(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def empty_bodies(addresses):
    """GET with an empty chunked body, and with an empty DATA frame: 200 from helloserve and hellohttp."""
    for address, path in addresses:
        status = chunked(address, path)
        assert status == "HTTP/1.1 200 OK", f"{path}: {status}"
        assert empty_data(address, path), f"{path}: not 200 over HTTP/2"
