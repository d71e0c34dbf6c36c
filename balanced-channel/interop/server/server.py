"""grpc.testing.TestService on gRPC's official Python runtime, as the interop descriptions ask for it.

Listens on a free port of 127.0.0.1 and prints the port as its first line. One thing is added: the
trailing metadata of EmptyCall says how many calls their callers have cancelled, so that a client can
see that a cancellation has arrived; and how many StreamingInputCalls have begun, so that it knows
when there is something to cancel.
"""

import asyncio
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
BEGUN = "x-begun-calls"
CANCELLED = "x-cancelled-calls"


def compile_protos():
    """Compiles the .proto files next to this directory; returns the three modules."""
    protos = pathlib.Path(__file__).resolve().parent.parent / "proto"
    names = [str(path) for path in sorted((protos / "grpc" / "testing").glob("*.proto"))]
    with tempfile.TemporaryDirectory(prefix="interop-") as out:
        failed = protoc.main(["protoc", f"-I{protos}", f"--python_out={out}", f"--grpc_python_out={out}", *names])
        if failed:
            sys.exit("server.py: the .proto files cannot be compiled")
        # The generated packages lie inside grpcio's own `grpc` package by name.
        grpc.__path__.append(str(pathlib.Path(out) / "grpc"))
        from grpc.testing import empty_pb2, messages_pb2, test_pb2_grpc

        return empty_pb2, messages_pb2, test_pb2_grpc


empty_pb2, messages_pb2, test_pb2_grpc = compile_protos()


def zeros(size):
    return messages_pb2.Payload(body=bytes(size))


async def echo_metadata(context):
    for key, value in context.invocation_metadata():
        if key == ECHO_INITIAL:
            await context.send_initial_metadata([(key, value)])
        if key == ECHO_TRAILING:
            context.set_trailing_metadata([(key, value)])


async def echo_status(request, context):
    status = request.response_status
    if status.code:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        await context.abort(codes[status.code], status.message)


class TestService(test_pb2_grpc.TestServiceServicer):
    def __init__(self):
        self.begun = 0
        self.cancelled = 0

    async def EmptyCall(self, request, context):
        context.set_trailing_metadata([(BEGUN, str(self.begun)), (CANCELLED, str(self.cancelled))])
        return empty_pb2.Empty()

    async def UnaryCall(self, request, context):
        await echo_metadata(context)
        await echo_status(request, context)
        return messages_pb2.SimpleResponse(payload=zeros(request.response_size))

    async def StreamingOutputCall(self, request, context):
        await echo_metadata(context)
        await echo_status(request, context)
        for parameters in request.response_parameters:
            await asyncio.sleep(parameters.interval_us / 1e6)
            yield messages_pb2.StreamingOutputCallResponse(payload=zeros(parameters.size))

    async def StreamingInputCall(self, requests, context):
        self.begun += 1
        try:
            size = 0
            async for request in requests:
                size += len(request.payload.body)
            # A cancellation ends the requests too; that it was one is known a moment later.
            await asyncio.sleep(0.05)
            return messages_pb2.StreamingInputCallResponse(aggregated_payload_size=size)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def FullDuplexCall(self, requests, context):
        await echo_metadata(context)
        async for request in requests:
            await echo_status(request, context)
            for parameters in request.response_parameters:
                await asyncio.sleep(parameters.interval_us / 1e6)
                yield messages_pb2.StreamingOutputCallResponse(payload=zeros(parameters.size))


async def main():
    server = grpc.aio.server()
    test_pb2_grpc.add_TestServiceServicer_to_server(TestService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


asyncio.run(main())
