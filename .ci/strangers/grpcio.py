"""Greeters on gRPC's Python runtime, with and without reflection."""

import contextlib
import pathlib

from greeter import REFUSALS
from processes import printing_ports
from tool import HELLO, even, load, only_error, refused, run, verdict

HERE = pathlib.Path(__file__).resolve().parent
PODS = ["pod-a", "pod-b", "pod-c"]


def greeters(kind, *names):
    return printing_ports(*[[HERE / "greeter.py", kind, name] for name in names])


def ipv4(addresses):
    return "ipv4:" + ",".join(addresses)


def described_by_reflection(tool, reflected, plain):
    """A method is described by reflection (v1alpha); three balanced pods: even."""
    target = ipv4(reflected)
    even(tool, PODS, target, *HELLO, "--pod-from", "header:x-pod")
    even(tool, PODS, target, *HELLO, "--pod-from", 'regex:from ([^"]*)"')
    stream = ["--method", "helloworld.Greeter/SayHelloStreamReply", "--data", '{"name": "Ann"}']
    even(tool, PODS, target, *stream, "--pod-from", "header:x-pod")


def described_by_files(tool, reflected, plain):
    """Without reflection a .proto file describes the method; the gRPC project's greeter is known anyway."""
    target = ipv4(plain)
    even(tool, PODS, target, *HELLO, "--pod-from", "header:x-pod")
    even(tool, PODS, target, *HELLO, "--proto", str(HERE / "helloworld.proto"), "--pod-from", "header:x-pod")
    even(tool, PODS, target, *HELLO, "--proto", "helloworld.proto", "-I", str(HERE), "--pod-from", "header:x-pod")


def without_pod_names(tool, reflected, plain):
    """Answers that name no pod: balanced, the peers' addresses are the pods; plain, one connection."""
    even(tool, sorted(plain), ipv4(plain), *HELLO)
    verdict(tool, ["one-connection"], f"grpc://{plain[0]}", *HELLO, "--pod-from", "header:x-pod")
    verdict(tool, ["one-endpoint"], f"ipv4:{plain[0]}", *HELLO, "--pod-from", "header:x-pod")


def requests_that_do_not_fit(tool, reflected, plain):
    """What cannot be called is refused: no description of the method, a wrong name, a wrong field."""
    for method in ["other.Service/Do", "helloworld.Greeter/SayHelloStreamReply"]:
        words = "the server has no reflection; say what its methods are with --proto"
        refused(tool, 3, words, ipv4(plain), "--method", method)
    target = ipv4(reflected)
    refused(tool, 2, "did you mean SayHello?", target, "--method", "helloworld.Greeter/SayHi")
    refused(tool, 2, "did you mean helloworld.Greeter?", target, "--method", "hello.Greeter/SayHello")
    refused(tool, 2, "HelloRequest has the fields name", target, *HELLO[:3], '{"nome": "Ann"}')


def one_call(tool, reflected, plain):
    """`call` prints the response, the pod and the connection."""
    code, out, err = run(tool, "call", ipv4(reflected), *HELLO, "-n", "1", "--pod-from", "header:x-pod")
    assert code == 0 and '{"message":"Hello Ann from pod-' in out, f"exit {code}: {out}{err}"
    assert " via 127.0.0.1:" in out, out


def reflection_v1_refused(tool, addresses):
    """A proxy refuses reflection v1, with any status: v1alpha is used."""
    for status, address in zip(REFUSALS, addresses, strict=True):
        code, out, err = run(tool, "describe", f"grpc://{address}", "helloworld.Greeter/SayHello")
        assert code == 0 and "name" in out, f"{status}: exit {code}: {out}{err}"
        verdict(tool, ["one-connection"], f"grpc://{address}", *HELLO, "--pod-from", "header:x-pod")


def large_trailers(tool, addresses):
    """30 kB of trailers are read; below a limit of 16 KiB the error names the flag that raises it."""
    for target in [f"grpc://{addresses[0]}", f"ipv4:{addresses[0]}"]:
        for expected, limit in [("FAILED_PRECONDITION", "262144"), ("--max-header-list-size", "16384")]:
            flags = [*HELLO, "--max-header-list-size", limit]
            cause = only_error(verdict(tool, ["nothing-succeeded"], target, *flags, code=3))
            assert expected in cause, f"{target}: {cause}"


def compressed(tool, addresses):
    """Responses compressed by gzip are decoded: a message, a stream, and the descriptions by reflection."""
    stream = ["--method", "helloworld.Greeter/SayHelloStreamReply", "--data", '{"name": "Ann"}']
    for target in [f"grpc://{addresses[0]}", ipv4(addresses)]:
        for method in [HELLO, stream]:
            document = load(tool, target, *method, "--pod-from", 'regex:from ([^",]*)[",]', "--max-errors", "0")
            assert [pod["name"] for pod in document["pods"]] == ["pod-a"], document["pods"]


def check(tool, report):
    with contextlib.ExitStack() as running:
        reflected = running.enter_context(greeters("reflection", *PODS))
        plain = running.enter_context(greeters("plain", *PODS))
        for each in [described_by_reflection, described_by_files, without_pod_names, requests_that_do_not_fit, one_call]:
            report(each, tool, reflected, plain)
    kinds = [(reflection_v1_refused, "v1-refused"), (large_trailers, "large-trailers"), (compressed, "gzip")]
    for each, kind in kinds:
        with greeters(kind, "pod-a") as addresses:
            report(each, tool, addresses)
