"""Checks balanced-channel's README against what it points to, and runs its example.

    python .ci/check_example.py target/debug

- A line such as "`src/main.rs`:" with a fenced block after it shows that file of the example as it is.
- Every test that the README names exists.
- The example, built before, calls a running hellogrpc and prints its metrics.
"""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

CRATE = pathlib.Path(__file__).resolve().parent.parent / "balanced-channel"
EXAMPLE = CRATE / "examples" / "greeter"
SHOWN = ["Cargo.toml", "build.rs", "src/main.rs"]
SECONDS = 30


def files_are_shown(readme):
    blocks = dict(re.findall(r"^`([^`\n]+)`:\n\n```[^\n]*\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL))
    for name in SHOWN:
        assert blocks.get(name) == (EXAMPLE / name).read_text(encoding="utf-8"), f"README.md: {name} is not the file"
    print(f"ok  README.md shows {', '.join(SHOWN)} as they are")


def tests_exist(readme):
    table = readme.split("## Behaviour in failures", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"`([\w/]+\.rs)`", table))
    missing = [name for name in named if not (CRATE / ("" if name.startswith("src/") else "tests") / name).exists()]
    assert named and not missing, f"README.md names tests that do not exist: {missing}"
    print(f"ok  all of {len(named)} test files exist that README.md names")


@contextlib.contextmanager
def hellogrpc(programs):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "%s:%d" % probe.getsockname()
    environment = os.environ | {"LISTEN_ADDR": address, "ADMIN_ADDR": "", "POD_NAME": "pod-a", "LOG_FILTER": "error"}
    with subprocess.Popen([programs / "hellogrpc"], env=environment) as server:
        try:
            yield address
        finally:
            server.terminate()


def example_calls(programs):
    with hellogrpc(programs) as address:
        # The client fails at once while nothing listens.
        end = time.monotonic() + SECONDS
        while (done := client(programs, address)).returncode != 0 and time.monotonic() < end:
            time.sleep(0.1)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[:10] == ["hello Ann from pod-a"] * 10, done.stdout + done.stderr
    counters = dict(line.rsplit(" ", 1) for line in lines[10:])
    started = f'grpc_client_attempt_started{{grpc_target="ipv4:{address}",grpc_method="hello.Hello/SayHello"}}'
    assert counters.get(started) == "10", counters
    print("ok  the example calls hellogrpc 10 times and counts 10 attempts")


def client(programs, address):
    command = [programs / "greeter-client", f"ipv4:{address}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def main(folder):
    readme = (CRATE / "README.md").read_text(encoding="utf-8")
    files_are_shown(readme)
    tests_exist(readme)
    example_calls(pathlib.Path(folder).resolve())


if __name__ == "__main__":
    main(*sys.argv[1:])
