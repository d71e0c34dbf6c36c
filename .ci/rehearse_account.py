"""The parts of the rehearsal that break the API server and the gateway's account. Callers must not notice, and the
gateway must log one clear sentence."""

import asyncio
import json
import time

from kubelet import get

ROUTE = "/hellogrpc?via=kubernetes"


async def channel(gateway):
    """What the gateway knows of its channel that follows EndpointSlices."""
    _, body = await get(gateway.address, gateway.manifest.ports["admin"], "/debug/channels")
    (found,) = [each for each in json.loads(body)["channels"] if each["name"] == "kubernetes"]
    return found


async def until(what, holds):
    """Waits until `holds` returns something that is true, and returns it."""
    end, seen = time.monotonic() + 20, None
    while time.monotonic() < end:
        if seen := await holds():
            return seen
        await asyncio.sleep(0.02)
    raise AssertionError(f"not so after 20 s: {what}")


async def complains(gateway, words):
    """Waits until the channel complains in these words."""
    async def holds():
        error = (await channel(gateway))["resolver"].get("error") or ""
        return error if words in error else None
    print(f"ok  it says: {await until(words, holds)}")


async def follows(gateway, pods):
    """Waits until the channel is connected to these pods, knows their names, and complains of nothing."""
    names = sorted(pod.name for pod in pods)

    async def holds():
        known = await channel(gateway)
        ready = sorted(each["name"] for each in known["subchannels"] if each["state"] == "READY")
        return ready == names and not known["resolver"].get("error")
    await until(f"{gateway.name} follows {names}", holds)


async def calls(gateway, count=20):
    """Nobody who calls sees anything."""
    for _ in range(count):
        code, body = await get(gateway.address, gateway.manifest.port, ROUTE)
        assert code == 200, (code, body)


async def account(cluster):
    """The gateway meets an account that is not there, may not do what it must, and has a token that expires."""
    await cluster.pod("hellohttp")
    pods = [await cluster.pod("hellogrpc") for _ in range(2)]
    gateway = await cluster.pod("helloserve")
    await complains(gateway, "has no account")
    code, body = await get(gateway.address, gateway.manifest.port, ROUTE)
    assert code == 503 and json.loads(body)["failure"] == "unavailable", (code, body)

    cluster.give("first")
    await follows(gateway, pods)
    await calls(gateway)
    assert {path for _, path, _ in cluster.api.answered} == {cluster.api.collection}, "another namespace"
    print(f"ok  with its account it follows {len(pods)} pods, in its own namespace")

    cluster.api.allowed = False
    cluster.api.cut()
    await complains(gateway, "403 Forbidden")
    await calls(gateway)
    cluster.api.allowed = True
    await follows(gateway, pods)

    cluster.api.token = "second"
    cluster.api.cut()
    await complains(gateway, "401 Unauthorized")
    await calls(gateway)
    cluster.give("second")
    await follows(gateway, pods)
    assert cluster.api.answered[-1][2] == "second"
    await calls(gateway)
    print("ok  its pool stands when it is forbidden to look, and when its token expires; the new one is read")


async def emptied(cluster):
    """Every backend goes, and one comes back. A gateway that starts meanwhile is not ready until then, so that a rollout
    whose target is wrong stops."""
    service = cluster.services["hellogrpc"]
    await asyncio.gather(*(service.end(pod) for pod in list(service.pods)))
    starting = asyncio.create_task(cluster.pod("helloserve"))
    asked = [(gateway, route) for gateway in cluster.services["helloserve"].pods for route in ["/hellogrpc", ROUTE]]

    async def until_answered(gateway, route, wanted):
        async def holds():
            code, body = await get(gateway.address, gateway.manifest.port, route)
            assert code == 200 or json.loads(body)["status"] == code == 503, (code, body)
            return code == wanted
        await until(f"{gateway.name} answers {wanted} to {route}", holds)
        return time.monotonic()

    await asyncio.gather(*(until_answered(*each, 503) for each in asked))
    await asyncio.sleep(5)
    assert not starting.done(), "a gateway without backends became ready"
    await cluster.pod("hellogrpc")
    ready = time.monotonic()
    for (gateway, route), at in zip(asked, await asyncio.gather(*(until_answered(*each, 200) for each in asked))):
        print(f"ok  none left: {gateway.name} says 503, and 200 to {route} {1000 * (at - ready):.0f} ms after one is back")
    await asyncio.wait_for(starting, 10)
    print(f"ok  a gateway that started meanwhile is ready {1000 * (time.monotonic() - ready):.0f} ms after one is back")


async def disturb(cluster):
    """The API server is away for a while, and comes back when every token has expired; then there is a new pod."""
    api, gateways = cluster.api, cluster.services["helloserve"].pods
    api.stop()
    await asyncio.sleep(5)
    before = len(api.answered)
    api.token = "second"
    await api.start()
    refused = lambda: sum(code == 401 for code, _, _ in api.answered[before:])
    await asyncio.sleep(2)
    assert refused() >= len(gateways), f"{refused()} of {len(gateways)} gateways came back"
    cluster.give("second")
    pods = cluster.services["hellogrpc"].pods
    await asyncio.gather(*(follows(gateway, pods) for gateway in gateways))
    await cluster.pod("hellogrpc")
    ready = time.monotonic()
    pods = cluster.services["hellogrpc"].pods
    await asyncio.gather(*(follows(gateway, pods) for gateway in gateways))
    took = 1000 * (time.monotonic() - ready)
    print(f"ok  API server away for 5 s and all tokens expired, {refused()} times 401; then a new pod is known to "
          f"{len(gateways)} gateways after {took:.0f} ms")
