"""Starts programs of the workspace on loopback, for soak.py and attacks.py."""

import contextlib
import http.client
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time

READY_SECONDS = 30


def free_port(host="127.0.0.1"):
    with socket.socket() as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


def fetch(address, path, timeout=10):
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Program:
    """A process, started anew by each `start`, on one address and with an admin port of its own each time."""

    def __init__(self, folder, name, address=None, **settings):
        self.folder, self.name, self.settings = folder, name, settings
        self.address = address or ("127.0.0.1", free_port())

    def start(self):
        """Returns once the program is ready."""
        self.admin = "127.0.0.1", free_port()
        environment = os.environ | self.settings | {
            "LISTEN_ADDR": "{}:{}".format(*self.address), "ADMIN_ADDR": "{}:{}".format(*self.admin), "LOG_FORMAT": "json",
            # As in the images.
            "MIMALLOC_PURGE_DELAY": "1"}
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([self.folder / self.name], env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        self.started()
        end = time.monotonic() + READY_SECONDS
        while self.alive() and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if fetch(self.admin, "/readyz")[0] == 200:
                    return self
            time.sleep(0.05)
        log = self.tail()
        self.kill()
        raise RuntimeError(f"{self.name} is not ready: {log}")

    def started(self):
        """Called between the start of the process and the wait for its readiness."""

    def alive(self):
        return self.process.poll() is None

    def tail(self):
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    def memory(self, field):
        """A field of the process's status, such as VmRSS, in MB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(rf"{field}:\s+(\d+)", status).group(1)) / 1024

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.log.close()
