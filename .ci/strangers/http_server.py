"""HTTP servers on aiohttp and on Python's own http.server.

    http_server.py POD      aiohttp; prints its port and an empty line
"""

import pathlib
import subprocess
import sys
import tempfile

from processes import free_port, printing_ports, server
from tool import only_error, run, verdict


def files(tool):
    """`http.server`: no answer names its pod; a page that is not there is a failure with its status."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "index.html").write_text("<html>a page</html>")
        command = [sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", folder]
        with server(port, *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as address:
            verdict(tool, ["no-pod-named"], f"http://{address}/")
            cause = only_error(verdict(tool, ["nothing-succeeded"], f"http://{address}/none", code=3))
            assert "404" in cause, cause
            code, out, err = run(tool, "call", f"http://{address}/", "-n", "1")
            assert code == 0 and "200" in out and "<html>a page" in out, f"exit {code}: {out}{err}"


def application(tool, address):
    """aiohttp: one pod, by the header that its owner names; not by one that is not there."""
    verdict(tool, ["one-pod"], f"http://{address}/", "--pod-from", "header:x-served-by")
    verdict(tool, ["one-peer"], f"http://{address}/", "--pod-from", "peer")
    verdict(tool, ["no-pod-named"], f"http://{address}/", "--pod-from", "header:x-nope")
    put = ["-X", "PUT", "-H", "content-type: application/json", "-d", '{"id": 7}']
    verdict(tool, ["one-pod"], f"http://{address}/order", *put, "--pod-from", "header:x-served-by", "--max-errors", "0")


def check(tool, report):
    report(files, tool)
    with printing_ports([__file__, "pod-a"]) as (address,):
        report(application, tool, address)


def serve(pod):
    import socket

    from aiohttp import web

    async def hello(request):
        return web.json_response({"message": "hello"}, headers={"X-Served-By": pod})

    async def order(request):
        assert await request.json() == {"id": 7}
        return web.json_response({}, headers={"X-Served-By": pod})

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], end="\n\n", flush=True)
    app = web.Application()
    app.router.add_get("/", hello)
    app.router.add_put("/order", order)
    web.run_app(app, sock=listener, print=None)


if __name__ == "__main__":
    serve(*sys.argv[1:])
