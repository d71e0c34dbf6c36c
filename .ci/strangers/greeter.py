"""Greeters on gRPC's own Python runtime. Prints the port of each, then an empty line, and serves until it is killed.

    greeter.py KIND NAME

KIND is what the greeters are like:

    plain            without reflection
    reflection       with reflection (v1alpha, which is all that grpcio has)
    v1-refused       one greeter for each status with which a proxy may refuse reflection v1; v1alpha works
    gzip             with reflection, and all responses compressed by gzip, for every client
    large-trailers   fails each call with FAILED_PRECONDITION and 30 kB of trailers
"""

import concurrent.futures
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))  # grpc looks for .proto files there.

import grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection  # noqa: E402

messages, services = grpc.protos_and_services("helloworld.proto")
REFUSALS = ["UNAVAILABLE", "UNAUTHENTICATED", "UNKNOWN", "NOT_FOUND"]


class Greeter(services.GreeterServicer):
    def __init__(self, name):
        self.name = name

    def SayHello(self, request, context):
        context.send_initial_metadata([("x-pod", self.name)])
        return messages.HelloReply(message=f"Hello {request.name} from {self.name}")

    def SayHelloStreamReply(self, request, context):
        context.set_trailing_metadata([("x-pod", self.name)])
        for number in range(3):
            yield messages.HelloReply(message=f"Hello {request.name} from {self.name}, number {number}")


class FailingGreeter(services.GreeterServicer):
    def SayHello(self, request, context):
        context.set_trailing_metadata([(f"x-detail-{number}", "x" * 1000) for number in range(30)])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "see the trailers")


def refusal(status):
    """Reflection v1 as a proxy answers it that does not know the service."""
    def refuse(requests, context):
        context.abort(grpc.StatusCode[status], "no such route")

    method = grpc.stream_stream_rpc_method_handler(refuse)
    return grpc.method_handlers_generic_handler("grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": method})


def serve(greeter, reflected=True, handlers=(), compression=None):
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=4)
    server = grpc.server(pool, handlers=handlers, compression=compression)
    services.add_GreeterServicer_to_server(greeter, server)
    if reflected:
        names = [messages.DESCRIPTOR.services_by_name["Greeter"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
    print(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    return server


def main(kind, name):
    greeter = Greeter(name)
    if kind == "v1-refused":
        servers = [serve(greeter, handlers=[refusal(status)]) for status in REFUSALS]
    elif kind == "large-trailers":
        servers = [serve(FailingGreeter())]
    elif kind == "gzip":
        servers = [serve(greeter, compression=grpc.Compression.Gzip)]
    else:
        servers = [serve(greeter, reflected=kind == "reflection")]
    print(flush=True)
    for server in servers:
        server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
