"""Rehearses the manifests without a cluster: programs started as the kubelet would, on loopback addresses.

    python .ci/rehearse.py start target/release                   process start to /readyz 200, of each program
    python .ci/rehearse.py rollout target/release                 restart all three deployments under 500 calls/s
    python .ci/rehearse.py rollout target/release --dns-cached 0  DNS that shows a new pod at once, as CoreDNS may
    python .ci/rehearse.py rollout target/release --drain 1       what becomes of it without the drain delay

Environment, probes, minReadySeconds and grace are read from kubeyamls. Beside the pods there are a DNS server that
repeats an answer for its TTL, and for each ClusterIP a forwarder that hears of changes late, as kube-proxy does.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import time

import grpc
import yaml
from cluster_network import PROXY_LAG, Dns, cluster_ip
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ["hellogrpc", "hellohttp", "helloserve"]
# Through the gateway, calls a second: 500 together.
LOADS = {"hellogrpc?via=round_robin": 300, "hellogrpc?via=vip": 100, "hellohttp": 100}
STARTS = 20


class Manifest:
    """A Deployment, as far as the kubelet and the rollout go by it."""

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

    def environment(self, pod, dns, more):
        """What the container has in its environment, with names looked up in our DNS, on the pod's address."""
        own = {"metadata.name": pod.name}
        env = {e["name"]: e.get("value", own.get(e.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath"), ""))
               for e in self.container["env"]}
        env |= {"LISTEN_ADDR": f"{pod.address}:{self.port}", "ADMIN_ADDR": f"{pod.address}:{self.ports['admin']}"}
        if self.name == "helloserve":
            # There is no API server here; its stand-in is in the tests of balanced-channel.
            routes = [r for r in json.loads(env["GRPC_ROUTES"]) if "kubernetes:" not in r.get("target", "")]
            env["GRPC_ROUTES"] = json.dumps(routes).replace("dns:///", f"dns://{dns}/")
            env |= {"GRPC_TARGET": f"dns://{dns}/grpc-svc:8000", "HTTP_DNS_SERVER": dns}
        return {"PATH": ""} | env | more


class Pod:
    """A container, and the kubelet that probes and ends it."""

    def __init__(self, manifest, address, number):
        self.manifest, self.address, self.name = manifest, address, f"{manifest.name}-{number}"
        self.ready = asyncio.Event()

    async def start(self, programs, env):
        program = programs / self.manifest.name
        self.log = open(f"/tmp/rehearse-{self.name}.log", "wb")
        self.process = await asyncio.create_subprocess_exec(program, env=env, stdout=self.log, stderr=self.log)
        self.probing = asyncio.create_task(self.probe())

    async def probe(self):
        """The startup probe in its period, and then the readiness probe at once: so does the kubelet."""
        for probe in [self.manifest.container["startupProbe"], self.manifest.container["readinessProbe"]]:
            for _ in range(probe["failureThreshold"]):
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
            return await asyncio.wait_for(status(self.address, port, probe["httpGet"]["path"]), 1) == 200
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


class Service:
    """The ready pods of a Deployment. Whoever is told late sees what was so a while ago."""

    def __init__(self, manifest):
        self.manifest, self.pods, self.changes = manifest, [], [(0, [])]

    def changed(self, add=(), remove=()):
        self.pods = [pod for pod in [*self.pods, *add] if pod not in remove]
        self.changes.append((time.monotonic(), list(self.pods)))

    def addresses(self, ago=0):
        moment = time.monotonic() - ago
        return [pod.address for pod in [pods for at, pods in self.changes if at <= moment][-1]]


async def status(address, port, path):
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()


class Cluster:
    """Everything, on addresses of a network of its own."""

    def __init__(self, programs, ttl, more):
        self.programs, self.ttl, self.more = programs, ttl, more
        self.network = f"127.{random.randint(64, 250)}.{random.randint(0, 250)}"
        self.manifests = {name: Manifest(name) for name in NAMES}
        self.services = {name: Service(manifest) for name, manifest in self.manifests.items()}
        self.started, self.all = 0, []

    async def listen(self):
        loop = asyncio.get_running_loop()
        self.dns, proxy, entry = f"{self.network}.253:53053", f"{self.network}.252", f"{self.network}.251"
        names = {"grpc-svc": self.services["hellogrpc"].addresses,
                 "grpc-vip": lambda: [proxy], "http-svc": lambda: [proxy]}
        await loop.create_datagram_endpoint(lambda: Dns(names, self.ttl), local_addr=(f"{self.network}.253", 53053))
        await asyncio.start_server(cluster_ip(self.services["hellogrpc"], 8000), proxy, 8000)
        await asyncio.start_server(cluster_ip(self.services["hellohttp"], 8100), proxy, 80)
        await asyncio.start_server(cluster_ip(self.services["helloserve"], 8200), entry, 8200)
        self.entry = f"http://{entry}:8200"

    async def pod(self, name):
        """A new pod, ready and in its Service."""
        self.started += 1
        manifest = self.manifests[name]
        pod = Pod(manifest, f"{self.network}.{self.started}", self.started)
        self.all.append(pod)
        await pod.start(self.programs, manifest.environment(pod, self.dns, self.more))
        await asyncio.wait_for(pod.ready.wait(), 30)
        self.services[name].changed(add=[pod])
        return pod

    async def rollout(self, name):
        """As the Deployment controller does it: maxSurge 1 and maxUnavailable 0 of 3. Waits for the last to end."""
        ends = []
        for old in list(self.services[name].pods):
            await self.pod(name)
            await asyncio.sleep(self.manifests[name].min_ready)
            self.services[name].changed(remove=[old])
            ends.append(asyncio.create_task(old.end()))
        rolled = time.monotonic()
        took = await asyncio.gather(*ends)
        return rolled, max(took)

    def kill(self):
        for pod in self.all:
            if pod.process.returncode is None:
                pod.process.kill()


async def load(programs, url, rate, seconds):
    command = [programs / "kubetester", "load", url, f"--rate={rate}", f"--duration={seconds}s", "-c", "8", "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    assert out, err.decode()
    return json.loads(out)


async def rollout(programs, ttl, drain):
    more = {} if drain is None else {"DRAIN_DELAY": f"{drain}s"}
    cluster = Cluster(programs, ttl, more)
    await cluster.listen()
    try:
        began = time.monotonic()
        # The gateways last: a cache would keep for a while that the name has no address.
        for names in [NAMES[:2], NAMES[2:]]:
            await asyncio.gather(*(cluster.pod(name) for name in names for _ in range(3)))
        print(f"ok  9 pods are ready {time.monotonic() - began:.1f} s after the first was started")
        await asyncio.sleep(PROXY_LAG + 1)
        # Until the last old pod is gone: the rollout itself, its drain, and a little more on both sides.
        seconds = 17 + max(manifest.drain for manifest in cluster.manifests.values())
        loads = [asyncio.create_task(load(programs, f"{cluster.entry}/{path}", rate, seconds))
                 for path, rate in LOADS.items()]
        await asyncio.sleep(2)
        began = time.monotonic()
        rolled = await asyncio.gather(*(cluster.rollout(name) for name in NAMES))
        for name, (end, longest) in zip(NAMES, rolled):
            print(f"ok  {name}: rolled out in {end - began:.1f} s, old pods gone at most {longest:.1f} s after SIGTERM "
                  f"of {cluster.manifests[name].grace} s")
        failed = 0
        for path, result in zip(LOADS, await asyncio.gather(*loads)):
            failed += result["failed"]
            print(f"    {path}: {result['calls']} calls, {result['failed']} failed, {len(result['pods'])} pods")
            for error in result["errors"]:
                print(f"      {error['count']} x {error['cause']}")
        if failed:
            sys.exit(f"{failed} calls failed")
        print(f"ok  0 failed, DNS answers up to {ttl} s old")
    finally:
        cluster.kill()


async def start(programs):
    """The time of the process itself: from its start until /readyz says 200, asked again and again."""
    for name in NAMES:
        manifest, took = Manifest(name), []
        for number in range(STARTS):
            pod = Pod(manifest, f"127.{random.randint(64, 250)}.{random.randint(0, 250)}.1", number)
            env = manifest.environment(pod, "127.0.0.1:9", {"DRAIN_DELAY": "0s"})
            began = time.monotonic()
            process = subprocess.Popen([programs / name], env=env, stderr=subprocess.DEVNULL)
            try:
                while True:
                    with contextlib.suppress(OSError):
                        if await status(pod.address, manifest.ports["admin"], "/readyz") == 200:
                            break
                    assert time.monotonic() < began + 10, f"{name} does not become ready"
                took.append(1000 * (time.monotonic() - began))
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
        print(f"ok  {name}: ready {statistics.median(took):.1f} ms after its start (median of {STARTS}; "
              f"most {max(took):.1f} ms)")


def alone():
    """Begins again in a network of its own, where nobody has the ports yet; that takes root, and else it must do so."""
    if os.geteuid() == 0 and "REHEARSING" not in os.environ:
        os.environ["REHEARSING"] = "1"
        inside = ["sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv]
        os.execvp("unshare", ["unshare", "--net", *inside])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "rollout"])
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--dns-cached", type=int, default=30, help="seconds that DNS repeats an answer")
    parser.add_argument("--drain", type=int, help="DRAIN_DELAY in seconds, instead of the manifests'")
    given = parser.parse_args()
    alone()
    programs = given.programs.resolve()
    asyncio.run(start(programs) if given.what == "start" else rollout(programs, given.dns_cached, given.drain))


if __name__ == "__main__":
    main()
