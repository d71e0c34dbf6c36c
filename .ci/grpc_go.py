"""Debian's grpc-go, with its own generated code, calls every method of hellogrpc and ticketing, balanced over DNS.

    python .ci/grpc_go.py target/debug/kubetester target/debug/ticketing

The hellogrpc pods and their DNS server are those of `kubetester demo`. Messages are compared as bytes, with headers and trailers, and each call must reach the next pod. Needs Debian's
golang-go, golang-google-grpc-dev, golang-goprotobuf-dev and protobuf-compiler. The client is built in target/ci-go.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import systems

ROOT = systems.ROOT
# A block of loopback addresses, which nothing else in .ci uses.
ADDRESSES = [f"127.77.0.{number}" for number in (1, 2)]


def build():
    """Generates the protocols' Go code, and builds the client with Debian's packages alone."""
    folder = ROOT / "target" / "ci-go"
    protos = ROOT / "proto" / "proto"
    for proto in protos.glob("*.proto"):
        package = folder / "src" / proto.stem
        package.mkdir(parents=True, exist_ok=True)
        subprocess.run(["protoc", f"--proto_path={protos}", f"--go_out=plugins=grpc:{package}", proto], check=True)
    client = folder / "client"
    environment = os.environ | {"GOPATH": f"{folder}:/usr/share/gocode", "GO111MODULE": "off", "CGO_ENABLED": "0",
                                "GOCACHE": str(folder / "cache")}
    subprocess.run(["go", "build", "-o", client, ROOT / ".ci" / "grpc_go" / "main.go"], check=True, env=environment)
    return client


class Dns(threading.Thread):
    """Answers each A question, over UDP, with the addresses of the name `pods`, and any other with NXDOMAIN."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self.addresses = addresses
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            query, client = self.socket.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            name, (kind,) = query[12 : end - 5], struct.unpack("!H", query[end - 4 : end - 2])
            known = name == b"\x04pods"
            addresses = self.addresses if known and kind == 1 else []
            # A response, authoritative; recursion is available, as Go's resolver wants.
            flags = 0x8580 if known else 0x8583
            header = query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
            # The name is that of the question, at offset 12.
            record = struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4)
            answers = b"".join(record + socket.inet_aton(address) for address in addresses)
            self.socket.sendto(header + query[12:end] + answers, client)


def check(client, target, pods, calls_of, refused=()):
    """Makes the calls. `calls_of` returns them with what the pod of a given name answers."""
    paths = [(path, request) for path, request, *_ in [*calls_of(""), *refused]]
    asked = {"target": target, "pods": len(pods)}
    asked["calls"] = [{"path": path, "request": request.hex()} for path, request in paths]
    done = subprocess.run([client], input=json.dumps(asked), text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(paths)
    turns = []
    for answer in answers:
        for part in ("headers", "trailers"):
            answer[part] = {key: values[-1] for key, values in (answer[part] or {}).items()}
        turns.append((answer["headers"] | answer["trailers"]).get("hostname"))
    assert set(turns[: len(pods)]) == set(pods), turns
    assert turns == [turns[number % len(pods)] for number in range(len(turns))], f"not in turn: {turns}"
    expected = {pod: calls_of(pod) for pod in pods}
    for number, (answer, pod) in enumerate(zip(answers[: len(expected[pods[0]])], turns)):
        path, _, messages, headers, trailers = expected[pod][number]
        assert answer["code"] == 0, f"grpc-go {path}: {answer}"
        systems.compare("grpc-go", path, [bytes.fromhex(each) for each in answer["messages"]], messages)
        systems.contains("grpc-go", path, answer["headers"], headers, trailers)
        systems.contains("grpc-go", path, answer["trailers"], trailers, headers)
    for (path, _, code, message, trailer), answer in zip(refused, answers[len(expected[pods[0]]) :]):
        assert answer["code"] == code and message in (None, answer["details"]), f"grpc-go {path}: {answer}"
        sent = answer["headers"] | answer["trailers"]
        bad_request = "type.googleapis.com/google.rpc.BadRequest"
        assert trailer is None or sent.get(trailer) == bad_request, f"grpc-go {path}: {sent}"
        print(f"ok  grpc-go {path}: status {code}")
    print(f"ok  grpc-go {target}: {len(turns)} calls, {len(pods)} pods in turn")


@contextlib.contextmanager
def served(program, addresses, environment):
    """Runs a program at each address, on one port. Each must exit with 0."""
    port = systems.free_port()
    servers = {}
    try:
        for number, address in enumerate(addresses, 1):
            own = {"LISTEN_ADDR": f"{address}:{port}", "ADMIN_ADDR": "", "POD_NAME": f"pod-{number}"}
            servers[f"pod-{number}"] = subprocess.Popen([program], env=os.environ | own | environment)
        yield port, list(servers)
    finally:
        for server in servers.values():
            server.terminate()
        codes = {pod: server.wait(timeout=30) for pod, server in servers.items()}
    assert not any(codes.values()), f"after SIGTERM {program} exited with {codes}"


@contextlib.contextmanager
def demo(kubetester):
    """Runs the demo, and yields the target of its hellogrpc pods and their names."""
    process = subprocess.Popen([kubetester, "demo", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        addresses = {}
        for line in process.stdout:
            if line.startswith("Ctrl-C"):
                break
            # A line of the first part is a name, an address, and in some lines an explanation.
            words = line.split()
            if len(words) > 1 and re.fullmatch(r"127[.0-9]+:[0-9]+", words[1]):
                addresses[words[0]] = words[1]
        pods = sorted(name for name in addresses if name.startswith("hellogrpc-"))
        port = addresses[pods[0]].split(":")[1]
        yield f"dns://{addresses['grpc-svc']}/grpc-svc:{port}", pods
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=30)
    assert code == 0, f"after SIGINT the demo exited with {code}"


def main(kubetester, ticketing):
    client = build()
    with demo(kubetester) as (target, pods):
        calls = lambda pod: [call for name in systems.NAMES for call in systems.greeting_calls(name, pod)]
        check(client, target, pods, calls)
    with tempfile.TemporaryDirectory() as folder:
        with served(ticketing, ADDRESSES, {"DATABASE_URL": f"sqlite:{folder}/customers.db"}) as (port, pods):
            dns = Dns(ADDRESSES)
            # Generated code sends no other messages and calls no other methods than those of the protocol.
            refused = [call for call in systems.refused_calls() if call[2] not in (12, 13)]
            check(client, f"dns://127.0.0.1:{dns.port}/pods:{port}", pods, systems.ticketing_calls, refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
