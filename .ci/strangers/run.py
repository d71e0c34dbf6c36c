"""kubetester against servers that share no code with it: greeters on gRPC's Python runtime, and nginx.

    python .ci/strangers/run.py target/release/kubetester
"""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PODS = ["pod-a", "pod-b", "pod-c"]
HELLO = ["--method", "helloworld.Greeter/SayHello", "--data", '{"name": "Ann"}']
# One call at a time, so that each pod's turn comes as often as the others'.
LOAD = ["-n", "300", "-c", "1", "--max-errors", "0", "--json"]
EVENLY = ["--expect-pods", "3", "--max-skew", "1.02"]
SECONDS = 60


def run(tool, *arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stdout, done.stderr


def spread(tool, *arguments):
    """Each of the three pods took a third of the calls, and none failed."""
    code, out, err = run(tool, "load", *arguments, *LOAD, *EVENLY)
    assert code == 0, f"{arguments}: exit {code}: {out}{err}"
    taken = {pod["name"]: pod["calls"] for pod in json.loads(out)["pods"]}
    assert taken == dict.fromkeys(PODS, 100), f"{arguments}: {taken}"


def refused(tool, expected, words, *arguments):
    """It says so in one line, and makes no call."""
    code, out, err = run(tool, "load", *arguments, *LOAD)
    assert (code, out, err.count("\n")) == (expected, "", 1) and words in err, f"{arguments}: exit {code}: {out}{err}"


def by_reflection(tool, told, untold):
    """A method of grpcio's is learned by its reflection (v1alpha); three processes take a third each."""
    spread(tool, told, *HELLO, "--pod-from", "header:x-pod")
    spread(tool, told, *HELLO, "--pod-from", 'regex:from ([^"]*)"')
    stream = ["--method", "helloworld.Greeter/SayHelloStreamReply", "--data", '{"name": "Ann"}']
    spread(tool, told, *stream, "--pod-from", "header:x-pod")


def by_files(tool, told, untold):
    """Without reflection the .proto file says it, and of the gRPC project's greeter the tool knows it."""
    spread(tool, untold, *HELLO, "--pod-from", "header:x-pod")
    spread(tool, untold, *HELLO, "--proto", str(HERE / "helloworld.proto"), "--pod-from", "header:x-pod")
    spread(tool, untold, *HELLO, "--proto", "helloworld.proto", "-I", str(HERE), "--pod-from", "header:x-pod")


def sentences(tool, told, untold):
    """What cannot be called is said: no reflection, another name, a request that does not fit."""
    for method in ["other.Service/Do", "helloworld.Greeter/SayHelloStreamReply"]:
        words = "the server has no reflection; say what its methods are with --proto"
        refused(tool, 3, words, untold, "--method", method)
    refused(tool, 2, "did you mean SayHello?", told, "--method", "helloworld.Greeter/SayHi")
    refused(tool, 2, "did you mean helloworld.Greeter?", told, "--method", "hello.Greeter/SayHello")
    refused(tool, 2, "HelloRequest has the fields name", told, *HELLO[:3], '{"nome": "Ann"}')


def a_call(tool, told, untold):
    """`call` prints what was answered, by whom and over which connection."""
    code, out, err = run(tool, "call", told, *HELLO, "-n", "1", "--pod-from", "header:x-pod")
    assert code == 0 and '\n{"message":"Hello Ann from pod-' in out, f"exit {code}: {out}{err}"
    assert " via 127.0.0.1:" in out, out


def nginx(tool, front):
    """JSON of nginx, which spreads it over three servers of its own; the pod is found by a JSON pointer."""
    spread(tool, front, "--pod-from", "/server/pod")
    spread(tool, front, "--pod-from", "header:x-pod")


@contextlib.contextmanager
def greeters(*options):
    """A greeter for each pod, as one target."""
    with contextlib.ExitStack() as running:
        started = []
        for pod in PODS:
            command = [sys.executable, str(HERE / "greeter.py"), pod, *options]
            process = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            running.callback(process.kill)
            started.append(process)
        addresses = [f"127.0.0.1:{int(process.stdout.readline())}" for process in started]
        yield "ipv4:" + ",".join(addresses)


@contextlib.contextmanager
def front_of_nginx():
    """nginx before three servers, which are on sockets that have no port to be taken."""
    with contextlib.ExitStack() as running:
        folder = pathlib.Path(running.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # Where root starts nginx, its workers are someone else.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        backend = """
            server {{
                listen unix:{folder}/{pod};
                location / {{
                    default_type application/json;
                    add_header X-Pod {pod};
                    return 200 '{{"server": {{"kind": "nginx", "pod": "{pod}"}}}}';
                }}
            }}"""
        config = f"""
            daemon off; worker_processes 1; error_log stderr error; pid {folder}/pid;
            events {{}}
            http {{
                access_log off;
                {"".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])}
                upstream pods {{ {"".join(f"server unix:{folder}/{pod}; " for pod in PODS)} }}
                server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://pods; }} }}
                {"".join(backend.format(folder=folder, pod=pod) for pod in PODS)}
            }}"""
        (folder / "nginx.conf").write_text(config)
        # Where there is no sbin in the path, it is there all the same.
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        process = running.enter_context(subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf"]))
        running.callback(process.terminate)
        end = time.monotonic() + SECONDS
        while not listening(port):
            assert process.poll() is None and time.monotonic() < end, "nginx does not serve"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main(tool):
    with greeters("--reflection") as told, greeters() as untold:
        for check in [by_reflection, by_files, sentences, a_call]:
            check(tool, told, untold)
            print(f"ok  {check.__name__}: {check.__doc__}")
    with front_of_nginx() as front:
        nginx(tool, front)
        print(f"ok  nginx: {nginx.__doc__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
