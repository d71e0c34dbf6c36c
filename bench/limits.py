#!/usr/bin/env python3
"""Measures the maximum rate of kubetester itself, compared with minimal load generators.

    bench/limits.py                            5 rounds of 3 s; a little over two minutes
    bench/limits.py --rounds 3 --seconds 2 --callers 64
    bench/limits.py --also before=FILE         one more kubetester, such as an earlier build

HTTP: wrk, on hellohttp. gRPC: the loop in kubetester/benches/raw_grpc.rs, which is a tonic channel and a counter, on
hellogrpc. Servers are pinned to one core and the generator to another; only one generator runs at a time. Ratios are
computed in each round, between consecutive turns; the table has the median and the range of the rounds.

Needs wrk, taskset, and two cores. The rate is limited by the busier of the two cores, which may be the server's. CPU
per call is the user and system time of the generator's process.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")


def build():
    """Builds the tool and the loop, both with the bench profile."""
    command = ["cargo", "build", "--profile", "bench", "--locked", "-p", "kubetester", "--bins", "--benches"]
    done = subprocess.run([*command, "--message-format", "json"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    made = [json.loads(line) for line in done.stdout.splitlines()]
    programs = {one["target"]["name"]: one["executable"] for one in made if one.get("executable")}
    return programs["kubetester"], programs["raw_grpc"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(tool, program, core):
    address = f"127.0.0.1:{free_port()}"
    env = os.environ | {"LISTEN_ADDR": address, "ADMIN_ADDR": "", "POD_NAME": "pod-1", "WORKER_THREADS": "1"}
    command = ["taskset", "-c", str(core), tool, "pod", "--until-stdin-closes", program]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(tuple(address.rsplit(":", 1))):
                break
            time.sleep(0.02)
        else:
            sys.exit(f"{program} does not serve")
        try:
            yield address, process.pid
        finally:
            process.kill()


def cpu_of(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def turn(command, core, server_pid):
    """Returns calls per second, the generator's CPU time per call in microseconds, and the server core's load."""
    began, used, served = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN), cpu_of(server_pid)
    done = subprocess.run(["taskset", "-c", str(core), *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr}{done.stdout}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    busy = (cpu_of(server_pid) - served) / (time.monotonic() - began)
    if (wrk := re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)) is not None:
        assert "Non-2xx" not in done.stdout and "Socket errors" not in done.stdout, done.stdout
        calls, seconds = int(wrk[1]), float(wrk[2])
    elif done.stdout.startswith("{"):
        result = json.loads(done.stdout)
        assert result["failed"] == 0 and result["unnamed"] == 0, done.stdout
        calls, seconds = result["calls"], result["elapsed"]
    else:
        calls, seconds = (float(number) for number in done.stdout.split())
    return calls / seconds, cpu / calls * 1e6, busy


def table(title, rounds):
    """Prints all results relative to the first."""
    print(f"\n{title}\n{'':24}{'calls/s':>9}{'ratio':>8}{'range':>14}{'CPU us/call':>13}", end="")
    print(f"{'ratio':>8}{'server busy':>13}")
    first = next(iter(rounds))
    for name, turns in rounds.items():
        rates = [turn[0] / base[0] for turn, base in zip(turns, rounds[first])]
        costs = [turn[1] / base[1] for turn, base in zip(turns, rounds[first])]
        rate, cost, busy = (statistics.median(turn[i] for turn in turns) for i in range(3))
        spread = f"{min(rates):.2f} - {max(rates):.2f}"
        rates, costs = statistics.median(rates), statistics.median(costs)
        print(f"{name:24}{rate:9.0f}{rates:8.2f}{spread:>14}{cost:13.1f}{costs:8.2f}{busy:13.0%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each generator [5]")
    parser.add_argument("--seconds", type=float, default=3, metavar="N", help="how long a turn is [3]")
    parser.add_argument("--callers", type=int, default=16, metavar="N", help="calls in flight [16]")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=FILE", help="one more kubetester")
    parser.add_argument("--no-build", nargs=2, metavar=("KUBETESTER", "RAW_GRPC"), help="takes these programs")
    options = parser.parse_args()
    tool, raw = options.no_build or build()
    tools = {"kubetester": tool} | dict(also.split("=", 1) for also in options.also)
    seconds, callers = options.seconds, options.callers
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("one core for the servers and one for the generator: there is only one")
    generator_core, server_core = cores[:2]

    def load(program, target):
        return [program, "load", target, "-c", callers, "--duration", f"{int(seconds * 1000)}ms", "--json"]

    with contextlib.ExitStack() as servers:
        http, http_pid = servers.enter_context(server(tool, "hellohttp", server_core))
        grpc, grpc_pid = servers.enter_context(server(tool, "hellogrpc", server_core))
        url = f"http://{http}/hellohttp"
        over_http = {f"wrk -t1 -c{callers}": ["wrk", "-t1", f"-c{callers}", f"-d{max(1, round(seconds))}s", url]}
        over_grpc = {"raw tonic loop": [raw, grpc, callers, seconds]}
        for name, program in tools.items():
            over_http[f"{name} http://"] = load(program, url)
            over_grpc[f"{name} grpc://"] = load(program, f"grpc://{grpc}")
            over_grpc[f"{name} ipv4:"] = load(program, f"ipv4:{grpc}")
        for title, generators, pid in [("HTTP/1.1", over_http, http_pid), ("gRPC", over_grpc, grpc_pid)]:
            rounds = {name: [] for name in generators}
            for _ in range(options.rounds):
                for name, command in generators.items():
                    rounds[name].append(turn(command, generator_core, pid))
            table(title, rounds)


if __name__ == "__main__":
    main()
