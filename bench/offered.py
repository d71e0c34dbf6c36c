"""Sends requests at a steady rate, regardless of their outcomes (open loop), and prints a table of the outcomes.

    offered.py HOST:PORT PATH PID SECONDS DELAY CAPACITY METRICS TIMES...

For each of TIMES, requests are sent at that many times CAPACITY per second for SECONDS seconds, each at its due time
on any free connection. A request that finds all connections busy is counted as not sent. A request that is sent more
than 50 ms after its due time is counted as late, which is the fault of this program. PID is the gateway's; its
resident memory and CPU time are read. DELAY is the backends' delay, for the table. METRICS are the backends' admin
addresses, separated by commas, from which the number of backend calls per answered request is computed.
"""

import asyncio
import collections
import os
import sys
import time
import urllib.request

# As many as the gateway takes by default.
CONNECTIONS = 512
TICKS = os.sysconf("SC_CLK_TCK")


class Load:
    def __init__(self, host: str, port: int, path: str) -> None:
        self.host, self.port = host, port
        self.request = f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
        self.free: collections.deque = collections.deque()
        self.seen: collections.Counter = collections.Counter()
        self.latencies: dict[int, list[float]] = {}

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            self.free.append(await asyncio.open_connection(self.host, self.port))

    async def ask(self, connection: tuple, due: float) -> None:
        reader, writer = connection
        sent = time.monotonic()
        if sent - due > 0.05:
            self.seen["late"] += 1
        try:
            writer.write(self.request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            lines = head.decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            await asyncio.wait_for(reader.readexactly(int(fields["content-length"])), 10)
            status = int(lines[0].split()[1])
            self.latencies.setdefault(status, []).append(time.monotonic() - sent)
            self.seen[status] += 1
            if status == 503 and "retry-after" not in fields:
                self.seen["503 without Retry-After"] += 1
            self.free.append(connection)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            self.seen[f"failed: {type(error).__name__}"] += 1
            writer.close()

    async def offer(self, rate: float, seconds: float) -> None:
        self.seen.clear()
        self.latencies.clear()
        running: set = set()
        start = time.monotonic()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif number % 64 == 0:
                await asyncio.sleep(0)
            if not self.free:
                self.seen["not sent"] += 1
                continue
            task = asyncio.create_task(self.ask(self.free.popleft(), due))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)


def at(latencies: list[float], share: float) -> str:
    ordered = sorted(latencies)
    return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3:.0f}" if ordered else "-"


def memory(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def handled(backends: list[str]) -> float:
    total = 0.0
    for backend in backends:
        with urllib.request.urlopen(f"http://{backend}/metrics", timeout=5) as metrics:
            lines = metrics.read().decode().splitlines()
        total += sum(float(line.split()[-1]) for line in lines
                     if line.startswith("grpc_server_handled_total") and "/SayHello\"" in line)
    return total


async def main(address: str, path: str, pid: int, seconds: float, delay: str, capacity: float, backends: list[str],
               times: list[float]) -> None:
    host, port = address.rsplit(":", 1)
    load = Load(host, int(port), path)
    await load.connect()
    await load.offer(capacity / 4, 2)
    for factor in times:
        before, handled_before, start = cpu(pid), handled(backends), time.monotonic()
        await load.offer(capacity * factor, seconds)
        took = time.monotonic() - start
        good, shed = load.latencies.get(200, []), load.latencies.get(503, [])
        others = {what: count for what, count in load.seen.items() if what not in (200, 503)}
        calls = (handled(backends) - handled_before) / max(1, len(good))
        cells = [delay, f"{capacity * factor:.0f}", f"{len(good) / took:.0f}", f"{len(shed) / took:.0f}", at(good, 0.5),
                 at(good, 0.99), at(shed, 0.99), f"{calls:.2f}", f"{memory(pid):.1f}", f"{(cpu(pid) - before) / took * 100:.0f}",
                 ", ".join(f"{count} {what}" for what, count in others.items()) or "none"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    _, address, path, pid, seconds, delay, capacity, backends, *times = sys.argv
    asyncio.run(main(address, path, int(pid), float(seconds), delay, float(capacity), backends.split(","),
                     [float(factor) for factor in times]))
