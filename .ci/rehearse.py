"""Rehearses the manifests without a cluster: programs started as the kubelet would, on loopback addresses.

    python .ci/rehearse.py start target/release                   process start to /readyz 200, of each program
    python .ci/rehearse.py rollout target/release                 restart all three deployments under 500 calls/s;
                                                                  then roll out a wrong target, which has to stop
    python .ci/rehearse.py rollout target/release --dns-cached 0  DNS that shows a new pod at once, as CoreDNS may
    python .ci/rehearse.py rollout target/release --drain 1       the same without the drain delay
    python .ci/rehearse.py account target/release                 the gateway's account: missing, forbidden, expired;
                                                                  and no backend at all

Environment, probes, minReadySeconds and grace period are read from kubeyamls. Apart from the pods there are a DNS
server that repeats an answer for its TTL, a forwarder for each ClusterIP that sees changes late like kube-proxy, and an
API server, whose account is at the kubelet's mount path.
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
import tempfile
import time

from api_server import ACCOUNT, Account, ApiServer
from cluster_network import PROXY_LAG, Dns, cluster_ip
from kubelet import Manifest, Pod, get
from rehearse_account import account, disturb, emptied
from rehearse_target import wrong_targets

NAMES = ["hellogrpc", "hellohttp", "helloserve"]
# Calls per second through the gateway, 500 in total.
LOADS = {"hellogrpc?via=round_robin": 200, "hellogrpc?via=kubernetes": 100, "hellogrpc?via=vip": 100, "hellohttp": 100}
# Those whose calls are spread over the pods.
BALANCED = ["hellogrpc?via=round_robin", "hellogrpc?via=kubernetes"]
STARTS = 20


class Service:
    """The ready pods of a Deployment, with their history: DNS and ClusterIPs see changes late."""

    def __init__(self, manifest):
        self.manifest, self.pods, self.changes = manifest, [], [(0, [])]
        # Terminating pods that still serve.
        self.leaving = []
        self.rolled = asyncio.Event()
        self.publish = lambda listed: None

    def changed(self, add=(), remove=()):
        self.pods = [pod for pod in [*self.pods, *add] if pod not in remove]
        self.leaving += remove
        self.changes.append((time.monotonic(), list(self.pods)))
        self.tell()

    async def end(self, pod):
        self.changed(remove=[pod])
        took = await pod.end()
        self.leaving.remove(pod)
        self.tell()
        return took

    def tell(self):
        self.publish([(pod.address, pod.name, pod in self.leaving) for pod in [*self.pods, *self.leaving]])

    def addresses(self, ago=0):
        moment = time.monotonic() - ago
        return [pod.address for pod in [pods for at, pods in self.changes if at <= moment][-1]]


class Cluster:
    """The whole system, on addresses of its own network namespace."""

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
        self.api = ApiServer(f"{self.network}.250", pathlib.Path(tempfile.mkdtemp(dir="/var/run")))
        self.api.prove()
        self.account = Account(ACCOUNT, self.api.authority)
        self.services["hellogrpc"].publish = lambda pods: self.api.put("grpc-svc", 8000, pods)
        await self.api.start()

    def give(self, token):
        """Sets the token of the account, the only one that the API server accepts from now on."""
        self.api.token = token
        self.account.mount(token)

    async def pod(self, name, more=None):
        """A new pod, ready and in its Service. `more` is added to its environment."""
        self.started += 1
        manifest = self.manifests[name]
        pod = Pod(manifest, f"{self.network}.{self.started}", self.started)
        self.all.append(pod)
        environment = manifest.environment(pod, self.dns, self.api.address, self.more | (more or {}))
        await pod.start(self.programs, environment)
        await asyncio.wait_for(pod.ready.wait(), 30)
        self.services[name].changed(add=[pod])
        return pod

    async def rollout(self, name, more=None):
        """As the Deployment controller does it: maxSurge 1 and maxUnavailable 0 of 3. Waits for the last to end."""
        ends = []
        for old in list(self.services[name].pods):
            await self.pod(name, more)
            await asyncio.sleep(self.manifests[name].min_ready)
            ends.append(asyncio.create_task(self.services[name].end(old)))
        rolled = time.monotonic()
        self.services[name].rolled.set()
        took = await asyncio.gather(*ends)
        return rolled, max(took)

    async def kill(self):
        for pod in self.all:
            if pod.process.returncode is None:
                pod.process.kill()
            await pod.process.wait()


async def load(programs, url, rate, seconds):
    command = [programs / "kubetester", "load", url, f"--rate={rate}", f"--duration={seconds}s", "-c", "8", "--json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    assert out, err.decode()
    return json.loads(out)


def judged(path, result, old, new):
    """Checks the verdict on a load during a rollout: it names the pods that came and went, and judges evenness over the
    times in between."""
    balance, kinds = result["balance"], [finding["kind"] for finding in result["findings"]]
    # A busy machine may not reach the rate.
    kinds = [kind for kind in kinds if kind != "rate-not-reached"]
    changes = {(change["pod"], change["came"]) for change in balance["changes"]}
    assert changes == {(pod, False) for pod in old} | {(pod, True) for pod in new}, (path, changes)
    assert kinds in (["pods-changed", "even"], ["pods-changed", "even-on-average"]), (path, kinds, balance)
    (sentence,) = [finding["sentence"] for finding in result["findings"] if finding["kind"] == "pods-changed"]
    for pod in old:
        assert f"{pod} answered until " in sentence, sentence
    for pod in new:
        assert f"{pod} answered from " in sentence, sentence
    print(f"ok  {path}: verdict {', '.join(kinds)}; {len(changes)} changes named, {balance['calls']} calls judged in the "
          f"{balance['stable']:.1f} s between them")


async def all_loads(programs, entry, seconds):
    """Makes the calls of LOADS, prints their number, and returns the result of each path."""
    results = await asyncio.gather(*(load(programs, f"{entry}/{path}", rate, seconds) for path, rate in LOADS.items()))
    for path, result in zip(LOADS, results):
        print(f"    {path}: {result['calls']} calls, {result['failed']} failed, {len(result['pods'])} pods")
        for error in result["errors"]:
            print(f"      {error['count']} x {error['cause']}")
    return dict(zip(LOADS, results))


async def rollout(programs, ttl, drain):
    more = {} if drain is None else {"DRAIN_DELAY": f"{drain}s"}
    cluster = Cluster(programs, ttl, more)
    await cluster.listen()
    cluster.give("first")
    try:
        began = time.monotonic()
        # The gateways start last, because a cache would keep a negative answer for a while.
        for names in [NAMES[:2], NAMES[2:]]:
            await asyncio.gather(*(cluster.pod(name) for name in names for _ in range(3)))
        print(f"ok  9 pods are ready {time.monotonic() - began:.1f} s after the first was started")
        await asyncio.sleep(PROXY_LAG + 1)
        # The window covers the rollout and the drain of the last old pod, with a margin on both sides.
        seconds = 17 + max(manifest.drain for manifest in cluster.manifests.values())
        loads = asyncio.create_task(all_loads(programs, cluster.entry, seconds))
        await asyncio.sleep(2)
        began = time.monotonic()
        old = [pod.name for pod in cluster.services["hellogrpc"].pods]
        rollouts = [asyncio.create_task(cluster.rollout(name)) for name in NAMES]
        # While the old pods drain. There is no rollout without an API server.
        await asyncio.gather(*(service.rolled.wait() for service in cluster.services.values()))
        await disturb(cluster)
        rolled = await asyncio.gather(*rollouts)
        for name, (end, longest) in zip(NAMES, rolled):
            print(f"ok  {name}: rolled out in {end - began:.1f} s, old pods gone at most {longest:.1f} s after SIGTERM "
                  f"of {cluster.manifests[name].grace} s")
        new = [pod.name for pod in cluster.services["hellogrpc"].pods]
        results = await loads
        if failed := sum(result["failed"] for result in results.values()):
            sys.exit(f"{failed} calls failed")
        print(f"ok  0 failed, DNS answers up to {ttl} s old")
        # The route without a balancer, vip, has a verdict about its one connection for each gateway.
        for path in BALANCED:
            judged(path, results[path], old, new)
        await wrong_targets(cluster, lambda seconds: all_loads(programs, cluster.entry, seconds))
    finally:
        await cluster.kill()


async def start(programs):
    """The time of the process itself: from its start until /readyz says 200, asked again and again. That of the gateway
    includes the way to backends that are there, on each of its routes."""
    cluster = Cluster(programs, 0, {"DRAIN_DELAY": "0s"})
    await cluster.listen()
    cluster.give("first")
    try:
        await asyncio.gather(cluster.pod("hellohttp"), *(cluster.pod("hellogrpc") for _ in range(3)))
        await asyncio.sleep(PROXY_LAG)
        for name, manifest in cluster.manifests.items():
            took = [1000 * await own_time(cluster, manifest) for _ in range(STARTS)]
            print(f"ok  {name}: ready {statistics.median(took):.1f} ms after its start (median of {STARTS}; "
                  f"most {max(took):.1f} ms)")
    finally:
        await cluster.kill()


async def own_time(cluster, manifest):
    pod = Pod(manifest, f"{cluster.network}.200", 0)
    env = manifest.environment(pod, cluster.dns, cluster.api.address, cluster.more)
    began = time.monotonic()
    process = subprocess.Popen([cluster.programs / manifest.name], env=env, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                if (await get(pod.address, manifest.ports["admin"], "/readyz"))[0] == 200:
                    return time.monotonic() - began
            assert time.monotonic() < began + 10, f"{manifest.name} does not become ready"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def one_account(programs):
    cluster = Cluster(programs, 0, {"DRAIN_DELAY": "0s"})
    await cluster.listen()
    try:
        await account(cluster)
        await emptied(cluster)
    finally:
        await cluster.kill()


def alone():
    """Restarts this script in a new network namespace, where all ports are free, and with a new /run, without an
    account."""
    if "REHEARSING" not in os.environ:
        os.environ["REHEARSING"] = "1"
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        prepare = 'ip link set lo up && mount -t tmpfs run "$(readlink -f /var/run)" && exec "$0" "$@"'
        os.execvp("unshare", ["unshare", *user, "--net", "--mount", "sh", "-c", prepare, sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["start", "rollout", "account"])
    parser.add_argument("programs", type=pathlib.Path)
    parser.add_argument("--dns-cached", type=int, default=30, help="seconds that DNS repeats an answer")
    parser.add_argument("--drain", type=int, help="DRAIN_DELAY in seconds, instead of the manifests'")
    given = parser.parse_args()
    alone()
    programs = given.programs.resolve()
    asyncio.run({"start": lambda: start(programs), "account": lambda: one_account(programs),
                 "rollout": lambda: rollout(programs, given.dns_cached, given.drain)}[given.what]())


if __name__ == "__main__":
    main()
