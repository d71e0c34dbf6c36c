"""Servers on grpc-js with `@grpc/reflection`, whose .proto file imports another one and a well-known type."""

import filecmp
import json
import pathlib
import shutil
import subprocess

from processes import printing_ports
from tool import even, run, verdict

HERE = pathlib.Path(__file__).resolve().parent / "node"
# Outside the sources, as npm writes into it.
FOLDER = HERE.parents[2] / "target" / "strangers-node"
BUY = ["--method", "shop.Shop/Buy", "--data", '{"item": {"name": "tea", "count": 2}, "at": "2026-01-02T03:04:05Z"}']


def installed():
    """Installs the packages, unless these versions are there."""
    manifest = FOLDER / "package.json"
    if not (manifest.exists() and filecmp.cmp(HERE / "package.json", manifest) and (FOLDER / "node_modules").exists()):
        FOLDER.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", manifest)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--prefix", FOLDER], check=True)
    return {"NODE_PATH": str(FOLDER / "node_modules")}


def described_by_node(tool, addresses):
    """Reflection by Node: messages of a second file and a Timestamp are found; two balanced pods: even."""
    plain = f"grpc://{addresses[0]}"
    code, out, err = run(tool, "list", plain)
    assert code == 0 and "shop.Shop" in out and "Buy" in out, f"exit {code}: {out}{err}"
    code, out, err = run(tool, "describe", plain, "shop.Shop/Buy")
    assert code == 0 and '"count"' in out and '"at"' in out, f"exit {code}: {out}{err}"
    even(tool, ["pod-a", "pod-b"], "ipv4:" + ",".join(addresses), *BUY, "--pod-from", "/pod")
    verdict(tool, ["one-connection"], plain, *BUY, "--pod-from", "/pod")
    code, out, err = run(tool, "call", plain, *BUY, "-n", "1", "--pod-from", "/pod")
    (answer,) = [line for line in out.splitlines() if line.startswith("{")]
    answer = json.JSONDecoder().raw_decode(answer)[0]
    expected = {"pod": "pod-a", "item": {"name": "tea", "count": 2}, "at": "2026-01-02T03:04:05Z"}
    assert code == 0 and answer == expected, f"exit {code}: {out}{err}"


def check(tool, report):
    commands = [["node", HERE / "server.js", pod] for pod in ["pod-a", "pod-b"]]
    with printing_ports(*commands, python=False, environment=installed()) as addresses:
        report(described_by_node, tool, addresses)
