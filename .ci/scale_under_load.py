"""Scales the gRPC backends from 3 to 5 and back while calls run. No call may fail.

    python .ci/scale_under_load.py docker-compose

The arguments are the compose command. The system must be up, with 3 hellogrpc, on port 8200.
"""

import collections
import http.client
import json
import subprocess
import sys
import threading
import time

CALLERS = 4
SECONDS = 30


class Load:
    """Callers that each repeat GET /hellogrpc on one connection and count the outcomes."""

    def __init__(self):
        self.stopped = False
        self.calls = 0
        self.failures = collections.Counter()
        self.last_answer = {}  # of each hostname: when
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.call_again_and_again) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def call_again_and_again(self):
        connection = http.client.HTTPConnection("localhost", 8200, timeout=10)
        while not self.stopped:
            try:
                connection.request("GET", "/hellogrpc?name=ci")
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    raise RuntimeError(f"{response.status} {body}")
                hostname, failure = json.loads(body)["response"]["hostname"], None
            except Exception as error:  # Every exception counts as a failed call.
                connection.close()
                hostname, failure = None, repr(error)
            with self.lock:
                self.calls += 1
                if failure:
                    self.failures[failure] += 1
                else:
                    self.last_answer[hostname] = time.monotonic()

    def answered_since(self, moment):
        with self.lock:
            return {hostname for hostname, last in self.last_answer.items() if last > moment}

    def wait_for(self, count, what):
        """Waits until exactly `count` hostnames have answered for one second."""
        start = time.monotonic()
        while (now := time.monotonic()) < start + SECONDS:
            if now > start + 1 and len(self.answered_since(now - 1)) == count:
                return
            time.sleep(0.05)
        raise AssertionError(f"{what}: {len(self.answered_since(now - 1))} answer, not {count}")

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()


def main(compose):
    def scale(count):
        """Scales the backends; returns the duration of the command."""
        start = time.monotonic()
        command = [*compose, "up", "-d", "--no-recreate", "--scale", f"hellogrpc={count}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return time.monotonic() - start

    load = Load()
    try:
        load.wait_for(3, "at first")
        for count in [5, 3]:
            took = scale(count)
            load.wait_for(count, f"scaled to {count}")
            print(f"ok  scaled to {count} in {took:.1f} s: {count} answer")
    finally:
        load.stop()
        for failure, times in load.failures.most_common(10):
            print(f"    {times} x {failure}", file=sys.stderr)
    failed = load.failures.total()
    assert failed == 0, f"{failed} of {load.calls} calls failed"
    print(f"ok  {load.calls} calls, 0 failed")


if __name__ == "__main__":
    main(sys.argv[1:])
