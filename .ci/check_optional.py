"""Starts the servers of kubeyamls/optional and of charts/echo, and probes them as the kubelet would.

    unshare --net --mount python .ci/check_optional.py target/debug

Programs get the environment and arguments of their manifests unchanged; in a network namespace their ports are free.
Only the database differs: SQLite in a file. The client and the `helm test` pod of the chart run, too.
"""

import importlib.machinery
import importlib.util
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVERS = {"greeter": "greeter.yaml", "echo-server": "echo.yaml", "app-server": "ticketing.yaml"}


def containers(name):
    """Returns the container of each Deployment in a file."""
    objects = yaml.safe_load_all((ROOT / "kubeyamls" / "optional" / name).read_text(encoding="utf-8"))
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]
            for each in objects if each["kind"] == "Deployment"}


def expanded(text, env):
    """Replaces each $(NAME) in a text, like Kubernetes."""
    return re.sub(r"\$\((\w+)\)", lambda match: env[match.group(1)], text)


def environment(container, own):
    """Returns the environment of a container; `own` overrides values."""
    env = {"PATH": "", "HOME": "/"}
    for entry in container.get("env", []):
        env[entry["name"]] = own.get(entry["name"]) or expanded(entry.get("value", ""), env)
    return env


def probed(container, probe):
    """Returns whether a probe of a container succeeds now."""
    spec = container[probe]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if "grpc" in spec:
        return health(f"127.0.0.1:{spec['grpc']['port']}")
    if "tcpSocket" in spec:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", ports[spec["tcpSocket"]["port"]])) == 0
    status, _ = get(ports[spec["httpGet"]["port"]], spec["httpGet"]["path"])
    return status == 200


def health(target):
    with grpc.insecure_channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return None, ""


def within(seconds, what, holds):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not so after {seconds} s: {what}"
        time.sleep(0.05)


def run(name, container, program, env):
    """A server becomes ready, answers as its manifest promises, and is unready but alive while it drains."""
    process = subprocess.Popen([program, *container.get("args", [])], env=env | {"LOG_FILTER": "error"})
    try:
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            within(30, f"the {probe} of {name} succeeds", lambda: probed(container, probe))
        if name == "echo-server":
            assert get(8080, "/") == (200, "hello world"), get(8080, "/")
            assert get(8080, "/_ah/health") == (200, "ok"), get(8080, "/_ah/health")
        process.send_signal(signal.SIGTERM)
        within(5, f"{name} is unready after SIGTERM", lambda: not probed(container, "readinessProbe"))
        assert probed(container, "livenessProbe"), f"{name} would be restarted while it drains"
        print(f"ok  {name}: its probes succeed; it is unready and alive while it drains")
    finally:
        process.kill()
        process.wait()


# === charts/echo ===


def helm():
    """Loads helm from check_chart, whose file name has no .py."""
    path = str(pathlib.Path(__file__).parent / "check_chart")
    loader = importlib.machinery.SourceFileLoader("check_chart", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_chart", loader))
    loader.exec_module(module)
    return module


def started(program, container, hostname):
    """Starts a container of the chart; its command is the program followed by arguments."""
    (name, *command), args = container["command"], container["args"]
    assert name == f"/{program.name}", name
    return subprocess.Popen([program, *command, *args], env={"PATH": "", "HOME": "/", "HOSTNAME": hostname},
                            stdout=subprocess.PIPE, text=True)


def chart(program, scratch):
    """Probes pass, `helm test` passes for one pod and fails for two, clients print its name, and all exit with 0."""
    check_chart = helm()
    run_helm, name = check_chart.Helm(), "grpc-server-grpc-k8s-lb"
    objects = run_helm.template("grpc-server")
    container = check_chart.container_of(check_chart.one(objects, "Deployment"))
    hosts = pathlib.Path(scratch) / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {name} {name}-headless\n", encoding="utf-8")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    server = started(program, container, "echo-1")
    try:
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            within(30, f"the {probe} of the chart succeeds", lambda: probed(container, probe))
        for replicas, code in [(1, 0), (2, 1)]:
            test = check_chart.one(run_helm.template("grpc-server", "--set", f"replicaCount={replicas}"), "Pod")
            load = started(program, test["spec"]["containers"][0], "test")
            said = load.communicate(timeout=60)[0]
            assert load.returncode == code, said
        print("ok  charts/echo: its probes succeed; helm test passes, and fails when a pod is missing")
        for values in [check_chart.CLIENT, check_chart.BALANCED]:
            deployment = check_chart.one(run_helm.template("grpc-client", *values), "Deployment")
            own = check_chart.container_of(deployment)
            client = started(program, own, "client")
            line = next(line for line in client.stdout if line.startswith("Received Message at"))
            assert line.rstrip().endswith("from server echo-1"), line
            client.send_signal(signal.SIGTERM)
            assert client.wait(timeout=20) == 0, f"the client ends with {client.returncode}"
            print(f"ok  charts/echo: {' '.join(own['args'])}: {line.rstrip()}")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0, f"the server ends with {server.returncode}"
    finally:
        server.kill()
        server.wait()


def main(programs):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = pathlib.Path(programs).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        own = {"POD_NAME": "pod-1", "DATABASE_URL": f"sqlite:{scratch}/customers.db"}
        for name, file in SERVERS.items():
            container = containers(file)[name]
            program = folder / re.fullmatch(r"kubetester/(\w+):v1", container["image"]).group(1)
            run(name, container, program, environment(container, own))
        chart(folder / "kubetester", scratch)


if __name__ == "__main__":
    main(*sys.argv[1:])
