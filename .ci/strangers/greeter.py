"""A greeter on gRPC's own Python runtime: says its port in its first line, and serves until it is killed.

    greeter.py POD [--reflection]
"""

import concurrent.futures
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))  # grpc looks for .proto files there.

import grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection  # noqa: E402

messages, services = grpc.protos_and_services("helloworld.proto")


class Greeter(services.GreeterServicer):
    def __init__(self, pod):
        self.pod = pod

    def SayHello(self, request, context):
        context.send_initial_metadata([("x-pod", self.pod)])
        return messages.HelloReply(message=f"Hello {request.name} from {self.pod}")

    def SayHelloStreamReply(self, request, context):
        context.set_trailing_metadata([("x-pod", self.pod)])
        for number in range(3):
            yield messages.HelloReply(message=f"Hello {request.name} from {self.pod}, number {number}")


def main(pod, *options):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=4))
    services.add_GreeterServicer_to_server(Greeter(pod), server)
    if "--reflection" in options:
        names = [messages.DESCRIPTOR.services_by_name["Greeter"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
