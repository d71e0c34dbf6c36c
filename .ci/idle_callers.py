"""Checks the health endpoints of programs that may open 128 files, while 1 000 idle clients hold connections.

    target/ci-venv/bin/python .ci/idle_callers.py target/debug [MILLISECONDS]

Every /healthz and /readyz has to succeed within the time (default: 100 ms), from before the clients connect until
after they have disconnected.
"""

import http.client
import pathlib
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
import attacks  # noqa: E402
from programs import Program  # noqa: E402

OPEN_FILES, CALLERS, SECONDS, CHECKS_PER_SECOND = 128, 1000, 5, 10


def check(address, path):
    def ask():
        connection = http.client.HTTPConnection(*address, timeout=5)
        connection.request("GET", path)
        assert connection.getresponse().status == 200, path
        connection.close()
    return ask


def main():
    folder, limit = pathlib.Path(sys.argv[1]).resolve(), float((sys.argv[2:] or [100])[0]) / 1000
    failed = False
    with tempfile.TemporaryDirectory() as wrapped:
        wrapped = pathlib.Path(wrapped)
        for name in attacks.ATTACKS:
            (wrapped / name).write_text(f"#!/bin/sh\nulimit -n {OPEN_FILES}\nexec {folder / name}\n", encoding="utf-8")
            (wrapped / name).chmod(0o755)
        backends = [Program(folder, name).start() for name in ["hellogrpc", "hellohttp"]]
        targets = {"GRPC_TARGET": "ipv4:{}:{}".format(*backends[0].address),
                   "HTTP_TARGET": "http://{}:{}/hellohttp".format(*backends[1].address)}
        try:
            for name in attacks.ATTACKS:
                program = Program(wrapped, name, **(targets if name == "helloserve" else {})).start()
                try:
                    checks = [attacks.Repeated(CHECKS_PER_SECOND, check(program.admin, path)) for path in ["/healthz", "/readyz"]]
                    for each in checks:
                        each.start()
                    options = types.SimpleNamespace(connections=CALLERS, seconds=SECONDS)
                    attacks.attack_from_another_process(program, "silent", options)
                    for each, path in zip(checks, ["/healthz", "/readyz"]):
                        each.stop()
                        wrong = bool(each.failures) or each.slowest > limit or not program.alive()
                        failed |= wrong
                        print(f"{'FAILED' if wrong else 'ok'}  {name} {path}: {each.made} checks, {len(each.failures)} failed, "
                              f"slowest {each.slowest * 1000:.0f} ms {each.failures[:1]}", flush=True)
                finally:
                    program.kill()
        finally:
            for backend in backends:
                backend.kill()
    sys.exit(failed)


if __name__ == "__main__":
    main()
