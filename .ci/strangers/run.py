"""kubetester against servers that share no code with it, and our servers against odd requests.

    python .ci/strangers/run.py target/debug

For each server the verdict must be the one of a person who knows the set-up. Verdicts are compared by kind, see
docs/verdicts.md.
"""

import contextlib
import pathlib
import sys
import time

import empty_bodies
import front_envoy
import grpc_js
import grpcio
import http_server
import nginx
from processes import free_port, server

began = time.monotonic()


def report(check, *arguments):
    check(*arguments)
    print(f"ok  {time.monotonic() - began:4.1f} s  {check.__name__}: {check.__doc__}", flush=True)


def main(folder):
    programs = pathlib.Path(folder).resolve()
    tool = programs / "kubetester"

    def program(name, **settings):
        port = free_port()
        environment = {"LISTEN_ADDR": f"127.0.0.1:{port}", "ADMIN_ADDR": "", "LOG_FILTER": "error"} | settings
        return server(port, programs / name, environment=environment)

    @contextlib.contextmanager
    def gateway(grpc_target, http_target="http://127.0.0.1:9/hellohttp"):
        with program("helloserve", GRPC_TARGET=grpc_target, HTTP_TARGET=http_target) as address:
            yield f"http://{address}"

    grpcio.check(tool, report)
    nginx.check(tool, report, gateway)
    front_envoy.check(tool, report)
    http_server.check(tool, report)
    grpc_js.check(tool, report)
    with program("hellogrpc") as grpc, program("hellohttp") as http:
        with gateway(f"ipv4:{grpc}", f"http://{http}/hellohttp") as url:
            front = url.removeprefix("http://")
            report(empty_bodies.empty_bodies, [(http, "/hellohttp"), (front, "/hellogrpc"), (front, "/hellohttp")])


if __name__ == "__main__":
    main(*sys.argv[1:])
