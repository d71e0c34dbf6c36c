"""Runs each program under the memory limit of its manifest while clients misbehave, beside one that behaves.

    python bench/attacks.py --bin target/dist                   1 000 connections per attack, 10 s each
    python bench/attacks.py --bin target/debug --connections 200 --seconds 2 --call-timeout 10
    python bench/attacks.py --program hellogrpc --attack silent

During each attack, a caller makes 50 calls a second and a prober requests /healthz on the admin port. The table has
the caller's failures, the slowest health check, the peak and final memory of the program, and the connections that the
program closed or refused. Exits with 1 if a program died, the caller lost a call, or memory was not released.

Runs on loopback only, bounded in time, and ends the processes that it started. As root, with a memory cgroup (v1 or
v2), the limit is enforced by the kernel; otherwise the peak of the resident set is compared with it.
Needs the packages of bench/requirements.txt.
"""

import argparse
import contextlib
import http.client
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading
import time

from attackers import ATTACKS, GET_CUSTOMER, HELLO, Attackers
from programs import Program

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALLS_PER_SECOND = 50
# The memory that may remain above the idle figure after an attack, and the time to release it.
LEFT_OVER_MB, RECOVERY_SECONDS = 24, 20


def attack_from_another_process(program, name, options):
    """Runs an attack and returns the number of connections that the program closed. It runs in a separate process, so
    that the measured caller does not wait for the attackers' interpreter."""
    command = [sys.executable, __file__, "--connections", str(options.connections), "--seconds", str(options.seconds),
               "--attack-only", program.name, name, str(program.address[1])]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def attack_only(program, name, port, options):
    attack = ATTACKS[program][name]
    attackers = Attackers(("127.0.0.1", int(port)), attack, options.connections)
    attackers.run(options.seconds)
    print(attackers.ended)


# === the well-behaved caller and the prober ===


class Repeated(threading.Thread):
    """Repeats an action at a fixed rate until it is stopped, and records failures and the slowest time."""

    def __init__(self, rate, action):
        super().__init__(daemon=True)
        self.rate, self.action = rate, action
        self.done = threading.Event()
        self.made, self.failures, self.slowest = 0, [], 0.0

    def run(self):
        due = time.monotonic()
        while not self.done.is_set():
            began = time.monotonic()
            self.made += 1
            try:
                self.action()
            except Exception as error:  # Every kind of failure counts.
                self.failures.append(f"{type(error).__name__}: {error}")
            self.slowest = max(self.slowest, time.monotonic() - began)
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            self.done.wait(max(0, due - time.monotonic()))

    def stop(self):
        self.done.set()
        self.join()


def http_call(address, path, timeout):
    """Calls over one kept-alive connection, which is reopened if the program closed it before the request."""
    kept = []

    def call():
        connection = kept.pop() if kept else http.client.HTTPConnection(*address, timeout=timeout)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, f"{response.status} {body[:200]}"
        if not response.will_close:
            kept.append(connection)
    return call


def grpc_call(address, timeout, path=HELLO):
    import grpc  # Only here: the process of the attackers does not need it.

    channel = grpc.insecure_channel("{}:{}".format(*address))
    method = channel.unary_unary(path.decode())
    return lambda: method(b"", timeout=timeout, wait_for_ready=True)


def probe(address, timeout=2):
    def ask():
        connection = http.client.HTTPConnection(*address, timeout=timeout)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
    return ask


# === the programs ===


def memory_limit(program):
    """Returns the memory limit of the program's manifest, in bytes."""
    folder = ROOT / "kubeyamls" / ("optional" if program == "ticketing" else "")
    manifest = (folder / f"{program}.yaml").read_text(encoding="utf-8")
    return int(re.search(r"limits:.*?memory: (\d+)Mi", manifest, re.S).group(1)) << 20


class Cgroup:
    """A memory cgroup, if the machine allows one."""

    def __init__(self, name, limit):
        self.path = None
        for parent, file in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]:
            path = pathlib.Path(parent, f"{name}-{os.getpid()}")
            try:
                path.mkdir()
                (path / file).write_text(str(limit), encoding="ascii")
                self.path = path
                return
            except OSError:
                with contextlib.suppress(OSError):
                    path.rmdir()

    def enter(self, pid):
        if self.path:
            (self.path / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def remove(self):
        for _ in range(50):
            if not self.path or not self.path.exists():
                return
            with contextlib.suppress(OSError):
                self.path.rmdir()
            time.sleep(0.1)


class Limited(Program):
    """A program in a memory cgroup of its own."""

    def __init__(self, folder, name, limit=None, **settings):
        super().__init__(folder, name, **settings)
        self.cgroup = Cgroup(f"kubetester-{name}", limit) if limit else None

    def started(self):
        if self.cgroup:
            self.cgroup.enter(self.process.pid)

    def reset_peak(self):
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", encoding="ascii")

    def kill(self):
        super().kill()
        if self.cgroup:
            self.cgroup.remove()


def attacked(program, name, call, options):
    """Returns one row of the table, and True if its figures are acceptable."""
    program.reset_peak()
    idle = program.memory("VmRSS")
    caller, prober = Repeated(CALLS_PER_SECOND, call), Repeated(5, probe(program.admin, options.call_timeout))
    caller.start(), prober.start()
    ended = attack_from_another_process(program, name, options)
    caller.stop(), prober.stop()
    problems = []
    if not program.alive():
        return [program.name, name, "died", "", "", "", "", ""], [f"it died: {program.tail()}"]
    left = program.memory("VmRSS")
    for _ in range(RECOVERY_SECONDS * 4):
        if left <= idle + LEFT_OVER_MB:
            break
        time.sleep(0.25)
        left = program.memory("VmRSS")
    peak = program.memory("VmHWM")
    if left > idle + LEFT_OVER_MB:
        problems.append(f"{left:.0f} MB are left, {idle:.0f} MB were there before")
    if peak > memory_limit(program.name) / (1 << 20):
        problems.append(f"the peak of {peak:.0f} MB is above the limit of the manifest")
    if caller.failures:
        problems.append(f"the caller lost {len(caller.failures)} of {caller.made}, first {caller.failures[0]}")
    if prober.failures:
        problems.append(f"{len(prober.failures)} health checks failed, first {prober.failures[0]}")
    row = [program.name, name, f"{caller.made}", f"{len(caller.failures)}", f"{caller.slowest * 1000:.0f}",
           f"{prober.slowest * 1000:.0f}", f"{idle:.0f} {peak:.0f} {left:.0f}", f"{ended}"]
    return row, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target" / "dist", help="folder of the programs")
    parser.add_argument("--connections", type=int, default=1000, help="connections per attack (default: 1000)")
    parser.add_argument("--seconds", type=float, default=10, help="length of an attack in seconds (default: 10)")
    parser.add_argument("--call-timeout", type=int, default=2, metavar="SECONDS",
                        help="time that a call and a health check may take (default: 2); more for a debug program on a "
                             "shared machine")
    parser.add_argument("--program", help="only this program")
    parser.add_argument("--attack", help="only this attack")
    parser.add_argument("--attack-only", nargs=3, metavar=("PROGRAM", "ATTACK", "PORT"),
                        help="only attack a program that already runs, and print how many connections it ended")
    options = parser.parse_args()
    folder = options.bin.resolve()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.attack_only:
        attack_only(*options.attack_only, options)
        return

    backends = [Limited(folder, name) for name in ["hellogrpc", "hellohttp"]]
    to_backends = {"GRPC_TARGET": "ipv4:{}:{}".format(*backends[0].address),
                   "HTTP_TARGET": "http://{}:{}/hellohttp".format(*backends[1].address),
                   "UPSTREAM_TIMEOUT": f"{options.call_timeout}s"}
    plans = {
        "hellogrpc": ({}, grpc_call),
        "hellohttp": ({}, lambda address, timeout: http_call(address, "/hellohttp?name=x", timeout)),
        "helloserve": (to_backends, lambda address, timeout: http_call(address, "/hellogrpc?name=x", timeout)),
        "ticketing": ({}, lambda address, timeout: grpc_call(address, timeout, GET_CUSTOMER)),
    }
    print("| program | attack | calls | failed | slowest ms | slowest health check ms | MB idle, peak, after | closed |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    wrong, running = [], []
    try:
        running += [backend.start() for backend in backends]
        for name, (settings, make_call) in plans.items():
            if options.program not in (None, name):
                continue
            for title in ATTACKS[name]:
                if options.attack not in (None, title):
                    continue
                # Each attack gets a fresh program, so that leftovers of one attack are not counted against the next.
                program = Limited(folder, name, memory_limit(name), **settings)
                running.append(program.start())
                call = make_call(program.address, options.call_timeout)
                for _ in range(20):
                    with contextlib.suppress(Exception):
                        call()
                        break
                    time.sleep(0.1)
                row, problems = attacked(program, title, call, options)
                print("| " + " | ".join(row) + " |", flush=True)
                wrong += [f"{name}, {title}: {problem}" for problem in problems]
                running.remove(program)
                program.kill()
    finally:
        for program in running:
            program.kill()
    for problem in wrong:
        print(problem, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
