"""Calls every method of hellogrpc and ticketing with official gRPC clients: Python's grpcio and, with node, grpc-js.

    python .ci/systems.py target/release/hellogrpc target/release/ticketing

Messages are compared as bytes, with the headers and trailers. grpc-js is installed into target/ci-node.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 10
POD = "pod-1"
NAMES = ["", "Ann", "Ω and 🦀", "a b+c%20&d"]
GRPC_JS = "@grpc/grpc-js@1.14.7"


def field(number, text):
    """Encodes a string field of fewer than 128 bytes in protobuf; an empty field is left out."""
    encoded = text.encode()
    assert len(encoded) < 128
    return bytes([number << 3 | 2, len(encoded)]) + encoded if encoded else b""


def greeting_calls(name, pod_name=POD):
    """Returns path, request, response messages, and additional headers and trailers of each method."""
    pod = {"hostname": pod_name}
    return [
        (
            "/hello.Hello/SayHello",
            field(1, name),
            [field(1, name) + field(2, "v1-hellogrpc") + field(3, pod_name)],
            pod,
            {},
        ),
        ("/helloworld.Greeter/SayHello", field(1, name), [field(1, f"Hello {name}")], pod, {}),
        (
            "/echo.EchoServer/SayHello",
            field(1, name),
            [field(1, f"Hello {name}  from hostname {pod_name}")],
            pod | {"rpcheaderkey": "val"},
            {"rpctrailerkey": "val"},
        ),
        (
            "/echo.EchoServer/SayHelloStream",
            field(1, name),
            [field(1, f"Msg1 {name}"), field(1, f"Msg2 {name}")],
            pod | {"streamheaderkey": "val"},
            {"streamtrailerkey": "val"},
        ),
        ("/message.Echo/EchoMessage", field(1, name), [field(1, name) + field(2, pod_name)], pod, {}),
    ]


def ticketing_calls(pod_name=POD):
    """Returns calls for an empty database: the stub, two Creates with the same key, Get, and List."""
    service, pod = "/ticketing.CustomerController/", {"hostname": pod_name}
    ann = field(1, "1") + field(2, "Ann") + field(3, "Lee")
    listed = bytes([0x0A, len(ann)]) + ann
    return [
        (service + "GetCustomer", b"", [field(1, pod_name) + field(2, "acac") + field(3, "accqqq")], pod, {}),
        (service + "CreateCustomer", field(1, "Ann") + field(2, "Lee"), [ann], pod, {}),
        (service + "CreateCustomer", field(1, "Ann") + field(2, "Lee"), [ann], pod, {}),
        (service + "GetCustomer", field(1, "1"), [ann], pod, {}),
        (service + "ListCustomers", b"", [listed], pod, {}),
    ]


def refused_calls():
    """Returns path, request, status code, message, and a non-empty trailer of calls that fail."""
    service = "/ticketing.CustomerController/"
    names = "first_name is empty; last_name contains the control character \\u{a}"
    return [
        (service + "GetCustomer", field(1, "2"), 5, "no customer has this id", None),
        (service + "CreateCustomer", field(2, "L\n"), 3, names, "grpc-status-details-bin"),
        (service + "ListCustomers", field(2, "x"), 3,
         "page_token is not a next_page_token of this service: leave it empty for the first page",
         "grpc-status-details-bin"),
        # A first name that is not UTF-8.
        (service + "CreateCustomer", b"\x0a\x01\xff", 13, None, None),
        (service + "DeleteCustomer", b"", 12, None, None),
    ]


# === grpcio ===


def python_calls(address, calls, refused):
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=SECONDS)
        for path, request, messages, headers, trailers in calls:
            call = channel.unary_stream(path)(request, timeout=SECONDS, metadata=[("idempotency-key", "ci")])
            compare("grpcio", path, list(call), messages)
            contains("grpcio", path, dict(call.initial_metadata()), headers, trailers)
            contains("grpcio", path, dict(call.trailing_metadata()), trailers, headers)
        for path, request, code, message, trailer in refused:
            try:
                channel.unary_unary(path)(request, timeout=SECONDS)
            except grpc.RpcError as error:
                assert error.code().value[0] == code, f"{path}: {error}"
                assert message is None or error.details() == message, f"{path}: {error.details()}"
                sent = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
                assert sent.get("hostname") == POD, f"{path}: {sent}"
                assert trailer is None or sent.get(trailer), f"{path}: {sent}"
            else:
                raise AssertionError(f"{path} was answered")
            print(f"ok  grpcio {path}: status {code}")


def compare(client, path, sent, expected):
    assert sent == expected, f"{client} {path}: the answer is {sent}, not {expected}"
    print(f"ok  {client} {path}: {len(sent)} message{'s'[:len(sent) != 1]}")


def contains(client, path, sent, expected, elsewhere):
    """Checks that all expected entries are present, and none that belong elsewhere."""
    assert expected.items() <= sent.items(), f"{client} {path}: {sent} lacks some of {expected}"
    assert not elsewhere.keys() & sent.keys(), f"{client} {path}: {sent} has some of {elsewhere}"


# === grpc-js ===

SCRIPT = """
const grpc = require('@grpc/grpc-js');
const { address, calls } = JSON.parse(require('fs').readFileSync(0));
const client = new grpc.Client(address, grpc.credentials.createInsecure());
const bytes = (it) => it;
async function one([path, request]) {
  const metadata = new grpc.Metadata();
  metadata.set('idempotency-key', 'ci');
  const call = client.makeServerStreamRequest(path, bytes, bytes, Buffer.from(request, 'hex'), metadata,
    { deadline: Date.now() + 10000 });
  const answer = { messages: [], headers: {}, trailers: {} };
  return new Promise((resolve) => {
    call.on('metadata', (it) => { answer.headers = it.getMap(); });
    call.on('data', (it) => answer.messages.push(it.toString('hex')));
    call.on('error', () => {});
    call.on('status', (it) => {
      Object.assign(answer, { code: it.code, details: it.details, trailers: it.metadata.getMap() });
      resolve(answer);
    });
  });
}
(async () => {
  const answers = [];
  for (const call of calls) answers.push(await one(call));
  client.close();
  console.log(JSON.stringify(answers));
})();
"""


def node_calls(address, calls, refused):
    folder = ROOT / "target" / "ci-node"
    if not (folder / "node_modules" / "@grpc" / "grpc-js").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, GRPC_JS], check=True)
    asked = {"address": address, "calls": [(path, request.hex()) for path, request, *_ in calls + refused]}
    environment = os.environ | {"NODE_PATH": str(folder / "node_modules")}
    done = subprocess.run(["node", "-e", SCRIPT], input=json.dumps(asked), text=True, capture_output=True,
                          timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert len(answers) == len(calls) + len(refused)
    for (path, _, messages, headers, trailers), answer in zip(calls, answers):
        assert answer["code"] == 0, f"grpc-js {path}: {answer}"
        compare("grpc-js", path, [bytes.fromhex(each) for each in answer["messages"]], messages)
        contains("grpc-js", path, answer["headers"], headers, trailers)
        contains("grpc-js", path, answer["trailers"], trailers, headers)
    for (path, _, code, message, trailer), answer in zip(refused, answers[len(calls):]):
        assert answer["code"] == code and message in (None, answer["details"]), f"grpc-js {path}: {answer}"
        sent = answer["headers"] | answer["trailers"]
        assert sent.get("hostname") == POD, f"grpc-js {path}: {sent}"
        assert trailer is None or trailer in sent, f"grpc-js {path}: {sent}"
        print(f"ok  grpc-js {path}: status {code}")


# === programs ===


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def served(program, environment, check):
    """Starts a program, checks it, and stops it; it must exit with 0."""
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"LISTEN_ADDR": address, "ADMIN_ADDR": "", "POD_NAME": POD} | environment
    server = subprocess.Popen([program], env=environment)
    try:
        check(address)
    finally:
        server.terminate()
        code = server.wait(timeout=30)
    assert code == 0, f"after SIGTERM {program} exited with {code}"


def main(hellogrpc, ticketing):
    clients = [python_calls]
    if shutil.which("node") and shutil.which("npm"):
        clients.append(node_calls)
    else:
        print("SKIPPED: grpc-js needs node and npm", file=sys.stderr)
    greetings = [call for name in NAMES for call in greeting_calls(name)]
    for client in clients:
        served(hellogrpc, {}, lambda address: client(address, greetings, []))
        with tempfile.TemporaryDirectory() as folder:
            database = {"DATABASE_URL": f"sqlite:{folder}/customers.db"}
            served(ticketing, database, lambda address: client(address, ticketing_calls(), refused_calls()))


if __name__ == "__main__":
    main(*sys.argv[1:])
