"""Runs the programs with one address family, with one family unreachable, and without /etc/resolv.conf. Needs root.

    python3 .ci/address_families.py target/debug

- In a network namespace with IPv6 only, and in one with IPv4 only, with default flags except for the targets: the
  programs become ready and answer, by address and by name.
- With both families, if one of the two addresses of the HTTP backend's name has no server: calls succeed.
- Without /etc/resolv.conf: the gateway reports the missing file by name for each of its backends, and recovers once it
  exists.
"""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time

LOOPBACK = {"4": "127.0.0.1", "6": "::1"}


class Namespace:
    """A network namespace with loopback addresses of the given families and its own /etc, kept alive by a process."""

    def __init__(self, families, name_server=False):
        script = ["mount -t tmpfs none /etc", "ip link set lo up"]
        hosts = "".join(f"{LOOPBACK[family]} both.test\n" for family in families)
        script += [f"printf '{hosts}' > /etc/hosts"]
        if name_server:
            # Names come from /etc/hosts; nothing listens at the name server.
            script += ["echo nameserver 127.0.0.1 > /etc/resolv.conf"]
        if "6" not in families:
            script += ["echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]
        if "4" not in families:
            script += ["ip address del 127.0.0.1/8 dev lo"]
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-ec",
                                        "; ".join(script) + "; echo ready; exec sleep 600"], stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"ready\n":
            raise RuntimeError("the namespace could not be set up")
        self.programs = []

    def command(self, *words):
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", *map(str, words)]

    def start(self, program, **settings):
        log = tempfile.TemporaryFile()
        process = subprocess.Popen(self.command(program), env=settings | {"LOG_FORMAT": "json"}, stdin=subprocess.DEVNULL,
                                   stderr=log, stdout=log)
        self.programs.append((process, log))
        return log

    def curl(self, url):
        """Returns the status and body of a response; the status is 0 if there is none."""
        done = subprocess.run(self.command("curl", "-s", "-g", "-m", "5", "-w", "\\n%{http_code}", url), stdout=subprocess.PIPE)
        body, _, status = done.stdout.decode().rpartition("\n")
        return int(status), body

    def end(self):
        for process, log in self.programs:
            process.terminate()
            process.wait()
            log.close()
        self.holder.kill()
        self.holder.wait()


@contextlib.contextmanager
def namespace(*arguments, **options):
    space = Namespace(*arguments, **options)
    try:
        yield space
    finally:
        space.end()


def within(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def lines(log):
    log.seek(0)
    return [json.loads(line) for line in log.read().splitlines() if line.startswith(b"{")]


def check_answers(space, host):
    for path in ["/hellogrpc?name=x", "/hellohttp?name=x"]:
        for _ in range(10):
            status, body = space.curl(f"http://{host}:8200{path}")
            assert status == 200, f"{path}: {status} {body}"


def one_family(folder, family):
    """Default ports and listening addresses; each program has its own admin port on the default address."""
    host = LOOPBACK[family] if family == "4" else f"[{LOOPBACK[family]}]"
    everywhere = "0.0.0.0" if family == "4" else "[::]"
    target = f"ipv4:{LOOPBACK['4']}:8000" if family == "4" else f"ipv6:[{LOOPBACK['6']}]:8000"
    for grpc, http_host in [(target, host), ("dns:///both.test:8000", "both.test")]:
        with namespace(family, name_server=True) as space:
            space.start(folder / "hellogrpc", ADMIN_ADDR=f"{everywhere}:8081")
            space.start(folder / "hellohttp", ADMIN_ADDR=f"{everywhere}:8082")
            # The gateway's admin port is the default: every address.
            space.start(folder / "helloserve", GRPC_TARGET=grpc, HTTP_TARGET=f"http://{http_host}:8100/hellohttp")
            for port in [8081, 8082, 8080]:
                within(20, f"readiness on {host}:{port}", lambda port=port: space.curl(f"http://{host}:{port}/readyz")[0] == 200)
            check_answers(space, host)


def one_family_dead(folder, living):
    """The name has an address of each family; only one has servers."""
    grpc = "dns:///both.test:8000"
    host = LOOPBACK[living] if living == "4" else f"[{LOOPBACK[living]}]"
    with namespace("46", name_server=True) as space:
        space.start(folder / "hellogrpc", LISTEN_ADDR=f"{host}:8000", ADMIN_ADDR="")
        space.start(folder / "hellohttp", LISTEN_ADDR=f"{host}:8100", ADMIN_ADDR="")
        space.start(folder / "helloserve", GRPC_TARGET=grpc, HTTP_TARGET="http://both.test:8100/hellohttp")
        within(20, "readiness", lambda: space.curl("http://127.0.0.1:8080/readyz")[0] == 200)
        check_answers(space, host)


def without_resolv_conf(folder):
    with namespace("46") as space:
        space.start(folder / "hellogrpc", ADMIN_ADDR="[::]:8081")
        space.start(folder / "hellohttp", ADMIN_ADDR="[::]:8082")
        targets = {"GRPC_TARGET": "dns:///both.test:8000", "HTTP_TARGET": "http://both.test:8100/hellohttp"}
        log = space.start(folder / "helloserve", **targets)

        def logged(message):
            return {line.get("target") or line["span"]["target"]: line for line in lines(log)
                    if line["message"].startswith(message)}

        within(20, "a warning for each target", lambda: set(logged("name resolution fails")) == set(targets.values()))
        for warning in logged("name resolution fails").values():
            assert "/etc/resolv.conf" in warning["error"] and warning["level"] == "WARN", warning
        subprocess.run(space.command("sh", "-c", "echo nameserver 127.0.0.1 > /etc/resolv.conf"), check=True)
        for path in ["/hellogrpc", "/hellohttp"]:
            within(20, f"a response of {path} after the file is there",
                   lambda path=path: space.curl(f"http://127.0.0.1:8200{path}")[0] == 200)
        assert set(logged("name resolution works again")) == set(targets.values()), lines(log)
        assert len([line for line in lines(log) if line["message"].startswith("name resolution")]) == 4, lines(log)


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    checks = [("IPv6 only", one_family, "6"), ("IPv4 only", one_family, "4"), ("IPv6 dead", one_family_dead, "4"),
              ("IPv4 dead", one_family_dead, "6"), ("no /etc/resolv.conf", without_resolv_conf)]
    for title, check, *arguments in checks:
        check(folder, *arguments)
        print(f"ok  {title}", flush=True)


if __name__ == "__main__":
    main()
