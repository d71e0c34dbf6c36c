"""Finds a regression of 20 % in latency with `kubetester diff`, and none between two runs of the same.

    python .ci/check_diff.py target/debug

Few calls of two seconds, so that what a busy machine adds to them stays below the threshold.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

SECONDS = 60
LOAD = ["-n", "16", "-c", "8", "--json"]


@contextlib.contextmanager
def hellogrpc(programs, delay):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
    environment = {"LISTEN_ADDR": f"{host}:{port}", "ADMIN_ADDR": "", "RESPONSE_DELAY": delay, "LOG_FILTER": "error"}
    with subprocess.Popen([programs / "hellogrpc"], env=os.environ | environment) as server:
        try:
            end = time.monotonic() + SECONDS
            while not listening(host, port):
                assert server.poll() is None and time.monotonic() < end, "hellogrpc does not listen"
                time.sleep(0.02)
            yield f"ipv4:{host}:{port}"
        finally:
            server.terminate()


def listening(host, port):
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def result(programs, delay, file):
    with hellogrpc(programs, delay) as target:
        done = subprocess.run([programs / "kubetester", "load", target, *LOAD], stdout=subprocess.PIPE, timeout=SECONDS)
    assert done.returncode == 0, done.stdout
    # Each server has another port; the target's name is what results are matched by.
    document = json.loads(done.stdout) | {"target": "hellogrpc"}
    file.write_text(json.dumps(document), encoding="utf-8")
    return document["latency"]["p99"]


def worse(programs, before, after):
    command = [programs / "kubetester", "diff", before, after, "--latency", "15%", "--rate", "100%", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=SECONDS)
    (target,) = json.loads(done.stdout)["targets"]
    return done.returncode, [figure["figure"] for figure in target["figures"] if figure["worse"]]


def main(folder):
    programs = pathlib.Path(folder).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        files = [pathlib.Path(scratch) / name for name in ["before.json", "same.json", "slower.json"]]
        before, same, slower = [result(programs, delay, file) for delay, file in zip(["2s", "2s", "2400ms"], files)]
        found = worse(programs, files[0], files[1])
        assert found == (0, []), f"p99 {before} s and {same} s: {found}"
        found = worse(programs, files[0], files[2])
        assert found == (1, ["p50", "p95", "p99"]), f"p99 {before} s and {slower} s: {found}"
    print(f"ok  p99 of {before:.3f} s and {same:.3f} s is the same, {slower:.3f} s is worse")


if __name__ == "__main__":
    main(*sys.argv[1:])
