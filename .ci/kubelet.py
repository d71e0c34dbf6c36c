"""Runs pods like the kubelet: with the environment, probes and grace period of their manifests."""

import asyncio
import contextlib
import pathlib
import time

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Manifest:
    """The parts of a Deployment that the kubelet and the rollout use."""

    def __init__(self, name):
        self.name = name
        spec = yaml.safe_load((ROOT / "kubeyamls" / f"{name}.yaml").read_text())["spec"]
        pod = spec["template"]["spec"]
        (self.container,) = pod["containers"]
        self.grace = pod["terminationGracePeriodSeconds"]
        self.drain = next(int(e["value"][:-1]) for e in self.container["env"] if e["name"] == "DRAIN_DELAY")
        self.min_ready = spec["minReadySeconds"]
        self.replicas = spec["replicas"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        (self.port,) = (port for name, port in self.ports.items() if name != "admin")

    def environment(self, pod, dns, api, more):
        """Returns the environment of the container, with the pod's address and our DNS server."""
        own = {"metadata.name": pod.name}
        env = {e["name"]: e.get("value", own.get(e.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"), ""))
               for e in self.container["env"]}
        env |= {"LISTEN_ADDR": f"{pod.address}:{self.port}", "ADMIN_ADDR": f"{pod.address}:{self.ports['admin']}"}
        # The kubelet sets the first two in every pod. HOME has no kubeconfig.
        env |= {"KUBERNETES_SERVICE_HOST": api, "KUBERNETES_SERVICE_PORT": "443", "HOME": "/"}
        if self.name == "helloserve":
            env["GRPC_ROUTES"] = env["GRPC_ROUTES"].replace("dns:///", f"dns://{dns}/")
            env |= {"GRPC_TARGET": f"dns://{dns}/grpc-svc:8000", "HTTP_DNS_SERVER": dns}
        return {"PATH": ""} | env | more


class Pod:
    """A container, with the kubelet's probes and termination."""

    def __init__(self, manifest, address, number):
        self.manifest, self.address, self.name = manifest, address, f"{manifest.name}-{number}"
        self.ready = asyncio.Event()

    async def start(self, programs, env):
        program = programs / self.manifest.name
        self.log = open(f"/tmp/rehearse-{self.name}.log", "wb")
        self.process = await asyncio.create_subprocess_exec(program, env=env, stdout=self.log, stderr=self.log)
        self.probing = asyncio.create_task(self.probe())

    def logs(self):
        return pathlib.Path(self.log.name).read_text(encoding="utf-8")

    async def probe(self):
        """Runs the startup probe periodically, and the readiness probe as soon as it succeeds, like the kubelet."""
        startup, readiness = (self.manifest.container[kind] for kind in ["startupProbe", "readinessProbe"])
        # A failed startup probe ends the container; a failed readiness probe is repeated forever.
        for probe, attempts in [(startup, startup["failureThreshold"]), (readiness, 60)]:
            for _ in range(attempts):
                if await self.succeeds(probe):
                    break
                await asyncio.sleep(probe["periodSeconds"])
            else:
                raise AssertionError(f"{self.name} fails its probe {probe}")
        self.ready.set()

    async def succeeds(self, probe):
        with contextlib.suppress(OSError, grpc.aio.AioRpcError, asyncio.TimeoutError):
            if "grpc" in probe:
                async with grpc.aio.insecure_channel(f"{self.address}:{probe['grpc']['port']}") as channel:
                    request = health_pb2.HealthCheckRequest(service="")
                    answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=1)
                    return answer.status == health_pb2.HealthCheckResponse.SERVING
            port = self.manifest.ports[probe["httpGet"]["port"]]
            return (await asyncio.wait_for(get(self.address, port, probe["httpGet"]["path"]), 1))[0] == 200
        return False

    async def end(self):
        """SIGTERM, and the grace. One that has to be killed is a failure. Returns how long it took."""
        self.probing.cancel()
        began = time.monotonic()
        self.process.terminate()
        try:
            code = await asyncio.wait_for(self.process.wait(), self.manifest.grace)
        except asyncio.TimeoutError:
            self.process.kill()
            raise AssertionError(f"{self.name} was still there after its grace of {self.manifest.grace} s")
        assert code == 0, f"{self.name} exited with {code}"
        return time.monotonic() - began


async def get(address, port, path):
    """The status and the body."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()
    finally:
        writer.close()
