"""Starts the servers of kubeyamls/optional/{greeter,echo,ticketing}.yaml, and probes them as the kubelet would.

    unshare --net --mount python .ci/check_optional.py target/debug

Programs get the environment and the arguments of their manifests, word for word; in a network namespace their ports are
free. Only the database is another: SQLite, in a file.
"""

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
    """The container of each Deployment in a file."""
    objects = yaml.safe_load_all((ROOT / "kubeyamls" / "optional" / name).read_text(encoding="utf-8"))
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]
            for each in objects if each["kind"] == "Deployment"}


def expanded(text, env):
    """The text with each $(NAME) replaced, as Kubernetes does it."""
    return re.sub(r"\$\((\w+)\)", lambda match: env[match.group(1)], text)


def environment(container, own):
    """The variables of a container; those in `own` have that value."""
    env = {"PATH": "", "HOME": "/"}
    for entry in container.get("env", []):
        env[entry["name"]] = own.get(entry["name"]) or expanded(entry.get("value", ""), env)
    return env


def probed(container, probe):
    """Whether a probe of a container succeeds now."""
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
    """A server becomes ready, answers what its manifest promises, and is unready but alive while it drains."""
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


def main(programs):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = pathlib.Path(programs).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        own = {"POD_NAME": "pod-1", "DATABASE_URL": f"sqlite:{scratch}/customers.db"}
        for name, file in SERVERS.items():
            container = containers(file)[name]
            program = folder / re.fullmatch(r"kubetester/(\w+):v1", container["image"]).group(1)
            run(name, container, program, environment(container, own))


if __name__ == "__main__":
    main(*sys.argv[1:])
