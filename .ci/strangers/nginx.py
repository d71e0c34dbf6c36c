"""nginx: as a load balancer for HTTP and gRPC, as one that closes connections, and as a proxy whose backend is gone."""

import contextlib
import pathlib
import shutil
import tempfile

from grpcio import greeters
from processes import free_port, server
from tool import HELLO, even, load, only_error, verdict

BACKEND = """
server {{
    listen unix:{folder}/{pod};
    location / {{
        default_type application/json;
        add_header X-Pod {pod};
        return 200 '{{"server": {{"kind": "nginx", "pod": "{pod}"}}}}';
    }}
}}"""
TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]


@contextlib.contextmanager
def nginx(configuration):
    """The address of an nginx. `configuration` is a function of its address and its folder: the text in `http {}`."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # If root starts nginx, its workers are another user.
        port = free_port()
        temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in TEMPORARY)
        (folder / "nginx.conf").write_text(f"""
            daemon off; worker_processes 1; error_log stderr crit; pid {folder}/pid;
            events {{}}
            http {{ access_log off; {temporary} {configuration(f"127.0.0.1:{port}", folder)} }}""")
        program = shutil.which("nginx") or "/usr/sbin/nginx"  # sbin is not in every PATH.
        with server(port, program, "-p", folder, "-c", folder / "nginx.conf") as address:
            yield address


def balancer(pods):
    """nginx in front of HTTP servers, which listen on sockets in its folder."""
    def configuration(address, folder):
        backends = "".join(BACKEND.format(folder=folder, pod=pod) for pod in pods)
        servers = "".join(f"server unix:{folder}/{pod}; " for pod in pods)
        front = f"server {{ listen {address}; location / {{ proxy_pass http://pods; }} }}"
        return f"upstream pods {{ {servers} }} {front} {backends}"
    return nginx(configuration)


def grpc_balancer(backends, options=""):
    """nginx in front of gRPC servers, with more `options` of its server."""
    servers = "".join(f"server {backend}; " for backend in backends)

    def configuration(address, folder):
        front = f"listen {address} http2; {options} location / {{ grpc_pass grpc://pods; }}"
        return f"upstream pods {{ {servers} keepalive 4; }} server {{ {front} }}"
    return nginx(configuration)


def http_balancer(tool):
    """Two and three HTTP servers behind nginx: even, if answers name the pod; the peer is nginx."""
    for pods in [["pod-a", "pod-b"], ["pod-a", "pod-b", "pod-c"]]:
        with balancer(pods) as address:
            target = f"http://{address}/"
            even(tool, pods, target, "--pod-from", "/server/pod")
            even(tool, pods, target, "--pod-from", "header:x-pod")
    with balancer(["pod-a", "pod-b"]) as address:
        verdict(tool, ["no-pod-named"], f"http://{address}/")
        verdict(tool, ["one-peer"], f"http://{address}/", "--pod-from", "peer")


def grpc_through_nginx(tool, greeter_addresses):
    """Two greeters behind nginx: it balances calls, so that a plain connection to it is even."""
    with grpc_balancer(greeter_addresses) as address:
        even(tool, ["pod-a", "pod-b"], f"grpc://{address}", *HELLO, "--pod-from", "header:x-pod")
        verdict(tool, ["one-peer"], f"grpc://{address}", *HELLO, "--pod-from", "peer")


def connections_of_100_calls(tool, greeter_addresses):
    """nginx closes each connection after 100 calls (GOAWAY): a failed call is not blamed on the port."""
    with grpc_balancer(greeter_addresses, "keepalive_requests 100;") as address:
        even(tool, ["pod-a", "pod-b"], f"ipv4:{address}", *HELLO, "--pod-from", "header:x-pod")
        # A call may meet the end of a plain connection, which has no retries.
        document = load(tool, f"grpc://{address}", *HELLO, "--pod-from", "header:x-pod")
        assert document["findings"][-1]["kind"] == "even" and document["failed"] <= 3, document["verdict"]
        causes = [error["cause"] for error in document["errors"]]
        assert not any("gRPC port" in cause for cause in causes), causes


def answers_that_are_not_grpc(tool, gateway):
    """An HTML page with status 401 or 502 is UNAUTHENTICATED or UNAVAILABLE, and names the HTTP status."""
    cases = [(401, "UNAUTHENTICATED", 502), (502, "UNAVAILABLE", 503)]
    for status, code, through_gateway in cases:
        page = f"default_type text/html; return {status} '<html>an error page</html>';"
        with nginx(lambda address, folder: f"server {{ listen {address} http2; location / {{ {page} }} }}") as address:
            for target in [f"grpc://{address}", f"ipv4:{address}"]:
                cause = only_error(verdict(tool, ["nothing-succeeded"], target, code=3))
                assert code in cause and str(status) in cause, f"{target}: {cause}"
            with gateway(f"ipv4:{address}") as url:
                cause = only_error(verdict(tool, ["nothing-succeeded"], f"{url}/hellogrpc", code=3))
                assert str(through_gateway) in cause, cause


def check(tool, report, gateway):
    report(http_balancer, tool)
    with greeters("plain", "pod-a", "pod-b") as addresses:
        report(grpc_through_nginx, tool, addresses)
        report(connections_of_100_calls, tool, addresses)
    report(answers_that_are_not_grpc, tool, gateway)
