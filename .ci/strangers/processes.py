"""Starts servers on free ports of the loopback interface, and ends them."""

import contextlib
import os
import socket
import subprocess
import sys
import time

SECONDS = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def started(command, environment=None, **options):
    """A process, for as long as the block runs."""
    environment = os.environ | (environment or {})
    with subprocess.Popen([str(part) for part in command], env=environment, **options) as process:
        try:
            yield process
        finally:
            # nginx ends its workers at SIGTERM only.
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def server(port, *command, environment=None, **options):
    """A process that listens on `port`; entered once it does."""
    with started(command, environment, **options) as process:
        end = time.monotonic() + SECONDS
        while not listening(port):
            assert process.poll() is None and time.monotonic() < end, f"{command[0]} does not listen on {port}"
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def printing_ports(*commands, python=True, environment=None):
    """The addresses of servers that print one port per line and then an empty line; all start at the same time."""
    with contextlib.ExitStack() as running:
        program = [sys.executable] if python else []
        processes = [running.enter_context(started([*program, *command], environment, stdout=subprocess.PIPE, text=True))
                     for command in commands]
        ports = [int(line) for process in processes for line in iter(process.stdout.readline, "\n")]
        yield [f"127.0.0.1:{port}" for port in ports]
