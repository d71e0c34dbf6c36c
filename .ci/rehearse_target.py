"""The part of the rehearsal in which gateways with a wrong target are rolled out. The rollout must stop at its first pod,
and callers must not notice."""

import asyncio
import json

from kubelet import get
from rehearse_account import until

# The seconds for which a new gateway is watched. The gateway logs after 3.5 s that it has not reached a backend.
WATCHED = 6


async def wrong_targets(cluster, load):
    """Rolls out a wrong GRPC_TARGET and a wrong HTTP_TARGET. `load` makes calls for so many seconds, and returns the
    result of each path."""
    for variable, target, kind, reason in [
        ("GRPC_TARGET", f"dns://{cluster.dns}/grpc-scv:8000", "gRPC", "the gRPC backend of the default route"),
        ("HTTP_TARGET", "http://http-scv/hellohttp", "HTTP", "the HTTP backend"),
    ]:
        service = cluster.services["helloserve"]
        old = list(service.pods)
        calls = asyncio.create_task(load(WATCHED))
        rollout = asyncio.create_task(cluster.rollout("helloserve", {variable: target}))
        results = (await calls).values()
        made, failed = (sum(result[key] for result in results) for key in ["calls", "failed"])
        new = cluster.all[-1]

        async def warnings():
            return [line for line in new.logs().splitlines() if f"{kind} backend is not reachable yet" in line]
        (warning,) = await until(f"{new.name} logs that the {kind} backend is not reachable", warnings)
        assert target in warning, warning
        assert not rollout.done() and service.pods == old, f"{variable}={target} was rolled out"
        assert new not in old and new.process.returncode is None, f"{new.name} was not started, or has ended"
        code, body = await get(new.address, new.manifest.ports["admin"], "/readyz")
        assert code == 503 and f"{reason} has not been reached yet" in json.loads(body)["detail"], (code, body)
        assert made and not failed, f"{failed} of {made} calls failed"
        print(f"ok  {variable}={target.replace(cluster.dns, '')}: the rollout stops at its first pod, which is not ready and "
              f"logs its target; {len(old)} old gateways serve: {made} calls, 0 failed")
        # As `kubectl rollout undo` does.
        rollout.cancel()
        new.probing.cancel()
        new.process.kill()
