"""Gives a gateway in a container the environment of a pod of kubeyamls/helloserve.yaml, with an API server.

    python .ci/give_account.py FOLDER ADDRESS POD...

Writes `environment`, for `docker run --env-file`, and `serviceaccount`, to be mounted, into FOLDER. Then serves as the
API server on port 443 of ADDRESS until it is stopped. The endpoints of grpc-svc are the addresses POD.
"""

import asyncio
import pathlib
import sys

import yaml
from api_server import Account, ApiServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "first"


def settings():
    """Returns the settings of the manifest. Settings from the pod's own fields are left at their defaults."""
    manifest = yaml.safe_load((ROOT / "kubeyamls/helloserve.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


async def main(folder, address, *pods):
    folder = pathlib.Path(folder)
    api = ApiServer(address, folder)
    api.prove()
    api.token = TOKEN
    api.put("grpc-svc", 8000, [(pod, f"hellogrpc-{number}", False) for number, pod in enumerate(pods)])
    await api.start()
    Account(folder / "serviceaccount", api.authority).mount(TOKEN)
    environment = settings() | {"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": "443"}
    # Renamed atomically, because another process waits for the file.
    unfinished = folder / "environment.new"
    unfinished.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
    unfinished.rename(folder / "environment")
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
