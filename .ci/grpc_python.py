"""Calls a real hellogrpc with Python's grpcio, a client that shares no code with it: SayHello, health, reflection.

    python .ci/grpc_python.py target/release/hellogrpc
"""

import os
import pathlib
import socket
import subprocess
import sys

PROTO = pathlib.Path(__file__).resolve().parent.parent / "proto" / "proto"
sys.path.insert(0, str(PROTO))  # grpc searches .proto files in Python's module path.

import grpc  # noqa: E402
from google.protobuf.descriptor_pool import DescriptorPool  # noqa: E402
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection_pb2  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)

hello, hello_services = grpc.protos_and_services("hello.proto")
SECONDS = 10


def say_hello(channel):
    """Names are returned byte for byte, with any characters, and also if empty."""
    stub = hello_services.HelloStub(channel)
    for name in ["", "Ann", "Ω and 🦀", "a b+c%20&d"]:
        answer = stub.SayHello(hello.Greeting(name=name), timeout=SECONDS)
        wanted = hello.Introduction(name=name, version="v1-hellogrpc", hostname="pod-1")
        assert answer == wanted, f"{name!r}: answered {answer!r}"


def unknown_method(channel):
    """An unknown method is UNIMPLEMENTED."""
    call = channel.unary_unary("/hello.Hello/SayGoodbye", request_serializer=bytes, response_deserializer=bytes)
    try:
        call(b"", timeout=SECONDS)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    else:
        raise AssertionError("/hello.Hello/SayGoodbye was answered")


def health(channel):
    """Server and service are SERVING, an unknown service is NOT_FOUND, and Watch starts with the current status."""
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ["", "hello.Hello"]:
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=SECONDS).status == serving, service
        watch = stub.Watch(request, timeout=SECONDS)
        assert next(watch).status == serving, service
        watch.cancel()
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="no.Such"), timeout=SECONDS)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("the health of no.Such was answered")


def reflection(channel):
    """A client without .proto files gets the protocol from the server."""
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {"hello.Hello", "grpc.health.v1.Health"} <= services, services
    method = DescriptorPool(database).FindMethodByName("hello.Hello.SayHello")
    told = [(field.number, field.name) for field in method.output_type.fields]
    assert told == [(1, "name"), (2, "version"), (3, "hostname")], told


def reflection_v1(channel):
    """The newer name of the same service; its messages are those of v1alpha."""
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(call(iter([asked]), timeout=SECONDS))
    services = {service.name for service in answer.list_services_response.service}
    assert "hello.Hello" in services, services


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(program):
    address = f"127.0.0.1:{free_port()}"
    environment = os.environ | {"LISTEN_ADDR": address, "ADMIN_ADDR": "", "POD_NAME": "pod-1"}
    server = subprocess.Popen([program], env=environment)
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=SECONDS)
            for check in [say_hello, unknown_method, health, reflection, reflection_v1]:
                check(channel)
                print(f"ok  {check.__name__}: {check.__doc__}")
    finally:
        server.terminate()
        code = server.wait(timeout=30)
    assert code == 0, f"after SIGTERM {program} exited with {code}"
    print("ok  SIGTERM: it exits 0.")


if __name__ == "__main__":
    main(*sys.argv[1:])
