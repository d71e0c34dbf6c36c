"""Soaks the system on loopback: makes steady calls while backends restart, and accounts for every call afterwards.

    python bench/soak.py --bin target/dist                     10 minutes at 500 calls a second
    python bench/soak.py --bin target/debug --minutes 1

The system has three hellogrpc, three hellohttp whose addresses share one name, and one gateway. Callers alternate
between /hellogrpc and /hellohttp. One backend after the other gets SIGTERM, drains, and starts again on its address.
Exits with 1 unless

- no call failed, and at least 90 % of the calls were made,
- memory and open files of the gateway are flat: the median of the last third exceeds that of the first third by no
  more than 10 % and 4 MB, and by no more than 20 files,
- the callers' counts equal the gateway's metrics, and the backends served as many calls as the callers made plus the
  gateway's retries.

Ends the processes that it started. Backends listen on 127.0.0.1 to 127.0.0.3.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import struct
import sys
import threading
import time

from programs import Program, fetch, free_port

PER_KIND, CALLERS = 3, 16
RESTART_SECONDS = 5
ADDRESSES = [f"127.0.0.{number}" for number in range(1, PER_KIND + 1)]


class NameServer(threading.Thread):
    """Answers A queries with the addresses of the ready backends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        # Keyed by the first label of the name.
        self.addresses = {"hellogrpc": list(ADDRESSES), "hellohttp": list(ADDRESSES)}

    def run(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            length = query[12]
            name = query[13:13 + length].decode().lower()
            end = query.index(b"\0", 12) + 5
            (kind,) = struct.unpack(">H", query[end - 4:end - 2])
            found = self.addresses.get(name, []) if kind == 1 else []
            answers = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(each) for each in found)
            head = query[:2] + b"\x85\x80" + struct.pack(">HHHH", 1, len(found), 0, 0)
            self.socket.sendto(head + query[12:end] + answers, client)


class Server(Program):
    def counted(self, *patterns):
        """Returns the sums of the series whose lines start with the patterns."""
        lines = fetch(self.admin, "/metrics")[1].splitlines()
        return [sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(pattern, line)) for pattern in patterns]

    def served(self):
        if self.name == "hellogrpc":
            return self.counted(r'grpc_server_handled_total\{.*grpc_method="hello.Hello/SayHello"\}')[0]
        return self.counted(r'http_requests_total\{path="/hellohttp",')[0]

    def resources(self):
        """Returns the resident memory in MB and the number of open files."""
        return self.memory("VmRSS"), len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        """Ends the program as Kubernetes does, and returns the number of calls that it served."""
        self.process.send_signal(signal.SIGTERM)
        served = 0
        # The admin port answers until the end of the process.
        while self.process.poll() is None:
            try:
                served = self.served()
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        return served


class Callers:
    """Callers that make calls at a common fixed rate and count the outcomes by path and status."""

    def __init__(self, address, rate):
        self.address, self.interval = address, CALLERS / rate
        self.done, self.lock, self.outcomes, self.failures = threading.Event(), threading.Lock(), collections.Counter(), []
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        due, path = time.monotonic() + number * self.interval / CALLERS, number
        while not self.done.wait(max(0, due - time.monotonic())):
            # A caller that is behind does not catch up: calls not made are counted at the end.
            due = max(due + self.interval, time.monotonic())
            path += 1
            target = ["/hellogrpc", "/hellohttp"][path % 2]
            try:
                connection.request("GET", f"{target}?name=soak")
                response = connection.getresponse()
                status, body = response.status, response.read()
                json.loads(body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, body = type(error).__name__, str(error)
                connection.close()
            with self.lock:
                self.outcomes[target, status] += 1
                if status != 200:
                    self.failures.append(f"{target}: {status} {body[:300]}")

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()


def soak(options, programs, names):
    folder = options.bin.resolve()
    ports = {"hellogrpc": free_port(), "hellohttp": free_port()}
    drain = {"LOG_FILTER": "warn", "DRAIN_DELAY": f"{options.drain}s", "SHUTDOWN_TIMEOUT": f"{options.drain + 10}s"}
    backends = []
    for host in ADDRESSES:
        for name in ports:
            backends.append(Server(folder, name, (host, ports[name]), POD_NAME=f"{name}-{host[-1]}", **drain))
            programs.append(backends[-1].start())
    gateway = Server(
        folder, "helloserve", ("127.0.0.1", free_port()), UPSTREAM_TIMEOUT="5s", LOG_FILTER="warn",
        GRPC_TARGET=f"dns://127.0.0.1:{names.port}/hellogrpc.test:{ports['hellogrpc']}",
        HTTP_TARGET=f"http://hellohttp.test:{ports['hellohttp']}/hellohttp", HTTP_DNS_SERVER=f"127.0.0.1:{names.port}")
    programs.append(gateway.start())
    served = collections.Counter()
    began = time.monotonic()
    callers = Callers(gateway.address, options.rate)
    samples, restarts, finished = [], 0, threading.Event()

    def restart():
        nonlocal restarts
        while not finished.wait(RESTART_SECONDS):
            backend = backends[restarts % len(backends)]
            host = backend.address[0]
            # The address leaves DNS together with the signal, like that of a terminating pod.
            names.addresses[backend.name].remove(host)
            served[backend.name] += backend.stop()
            backend.start()
            names.addresses[backend.name].append(host)
            restarts += 1

    restarter = threading.Thread(target=restart)
    restarter.start()
    while time.monotonic() < began + options.minutes * 60:
        samples.append(gateway.resources())
        time.sleep(1)
    seconds = time.monotonic() - began
    callers.stop()
    finished.set()
    restarter.join()

    problems = [f"{len(callers.failures)} calls failed: {callers.failures[:3]}"] if callers.failures else []
    made, wanted = sum(callers.outcomes.values()), options.rate * seconds
    if made < 0.9 * wanted:
        problems.append(f"only {made} of {wanted:.0f} calls were made")
    third = len(samples) // 3
    first, last = ([statistics.median(each) for each in zip(*part)] for part in (samples[:third], samples[-third:]))
    if last[0] > first[0] * 1.1 + 4 or last[1] > first[1] + 20:
        problems.append(f"memory and files grew from {first} to {last}")
    counts, resent = {}, {}
    for target in ["/hellogrpc", "/hellohttp"]:
        counts[target] = sum(count for (path, _), count in callers.outcomes.items() if path == target)
        (metric,) = gateway.counted(rf'http_requests_total\{{path="{target}",')
        if metric != counts[target]:
            problems.append(f"callers made {counts[target]} calls of {target}, the gateway counted {metric:.0f}")
    for backend in backends:
        served[backend.name] += backend.served()
    resent["hellogrpc"], resent["hellohttp"] = gateway.counted(r"helloserve_retries_total\{",
                                                               r"helloserve_http_upstream_retries_total ")
    for name in ports:
        least, most = counts[f"/{name}"], counts[f"/{name}"] + resent[name]
        # A retried call was served once or twice.
        if not least <= served[name] <= most:
            problems.append(f"{name} served {served[name]:.0f} calls, {least} to {most:.0f} were sent")
    print(f"{made} calls in {seconds:.0f} s, {len(callers.failures)} failed; {restarts} restarts; "
          f"repeated {resent['hellogrpc']:.0f} and {resent['hellohttp']:.0f}; "
          f"gateway {first[0]:.1f} MB and {first[1]:.0f} files in the first third, {last[0]:.1f} MB and {last[1]:.0f} in the last")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the programs")
    parser.add_argument("--minutes", type=float, default=10, help="(default: 10)")
    parser.add_argument("--rate", type=float, default=500, help="calls per second (default: 500)")
    parser.add_argument("--drain", type=int, default=4, help="seconds that a backend takes calls after SIGTERM (default: 4)")
    options = parser.parse_args()
    names, programs = NameServer(), []
    names.start()
    try:
        problems = soak(options, programs, names)
    finally:
        for program in programs:
            program.kill()
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
