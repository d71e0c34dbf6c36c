"""Writes the configuration of Envoy as the peer of the gateway: the same requests, the same backends.

    envoy_config.py PROTO FOLDER LISTEN GRPC,GRPC,... HTTP

GET /hellogrpc?name= becomes a call of hello.Hello/SayHello, transcoded by Envoy's own filter and spread by round
robin; GET /hellohttp?name= is passed on unchanged. Request IDs, statistics and limits on pending requests stay at
Envoy's defaults. The timeout of a call is 1 s, as in the gateway. Unlike the gateway, this Envoy does not retry.
"""

import base64
import json
import pathlib
import sys

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from grpc_tools import protoc
import google.api
import grpc_tools

TIMEOUT = "1s"


def descriptors(proto: pathlib.Path, folder: pathlib.Path) -> bytes:
    """Returns the descriptors of the service, with the HTTP annotation of SayHello that the transcoder needs."""
    compiled = folder / "hello.bin"
    googleapis = pathlib.Path(google.api.__path__[0]).parent.parent
    wellknown = pathlib.Path(grpc_tools.__path__[0]) / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={proto.parent}",
        f"--proto_path={googleapis}",
        f"--proto_path={wellknown}",
        f"--descriptor_set_out={compiled}",
        "--include_imports",
        proto.name,
        "google/api/annotations.proto",
    ]
    if protoc.main(arguments) != 0:
        sys.exit(f"{proto} cannot be compiled")
    files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    # Imports come before the files that import them.
    files.file.sort(key=lambda file: file.name == proto.name)
    hello = files.file[-1]
    hello.dependency.append("google/api/annotations.proto")
    hello.service[0].method[0].options.Extensions[annotations_pb2.http].get = "/hellogrpc"
    return files.SerializeToString()


def address(text: str) -> dict:
    host, port = text.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


def cluster(name: str, backends: list[str], more: dict) -> dict:
    endpoints = [{"endpoint": {"address": address(backend)}} for backend in backends]
    return {
        "name": name,
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    } | more


def http_filter(name: str, kind: str, settings: dict) -> dict:
    typed = {"@type": f"type.googleapis.com/envoy.extensions.filters.http.{kind}"} | settings
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def main(proto: str, folder: str, listen: str, grpc: str, http: str) -> None:
    out = pathlib.Path(folder)
    encoded = base64.b64encode(descriptors(pathlib.Path(proto), out)).decode()
    transcoder = {"proto_descriptor_bin": encoded, "services": ["hello.Hello"]}

    def route(match: dict, to: str) -> dict:
        return {"match": match, "route": {"cluster": to, "timeout": TIMEOUT}}

    # When routes are matched, the transcoder has already replaced the path by that of the method.
    routes = [route({"prefix": "/hello.Hello/"}, "hellogrpc"), route({"path": "/hellohttp"}, "hellohttp")]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            http_filter("grpc_json_transcoder", "grpc_json_transcoder.v3.GrpcJsonTranscoder", transcoder),
            http_filter("router", "router.v3.Router", {}),
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    http2 = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    }
    config = {
        "static_resources": {
            "listeners": [{"name": "gateway", "address": address(listen), "filter_chains": [chain]}],
            "clusters": [cluster("hellogrpc", grpc.split(","), http2), cluster("hellohttp", [http], {})],
        }
    }
    (out / "envoy.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
