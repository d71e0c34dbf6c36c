"""Creates 300 customers a second while ticketing's programs are killed and restarted, and PostgreSQL stops and starts.

    python .ci/ticketing_drill.py target/debug/ticketing

Three programs share one database. Each is killed with SIGKILL and started again, PostgreSQL is stopped while one of
them is away, then each is restarted with SIGTERM, one after the other. Every Create has an idempotency-key and is
repeated with it until it is acknowledged, by the channel's retries and then by the caller. In the end each acknowledged
customer must be there exactly once. .ci/ticketing starts PostgreSQL, and sets TEST_DATABASE_URL and POSTGRES_CTL.
"""

import collections
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "proto" / "proto"))  # grpc looks for .proto files where Python looks for modules.

import grpc  # noqa: E402

ticketing, ticketing_services = grpc.protos_and_services("ticketing.proto")

PODS = 3
RATE = 300  # Creates a second
CALLERS = 48
PAUSE = 1  # seconds between events
CALL_TIMEOUT = 5
PATIENCE = 60  # seconds until everything that is waited for has happened
RETRIES = {
    "methodConfig": [{
        "name": [{"service": "ticketing.CustomerController"}],
        "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.02s", "maxBackoff": "0.2s", "backoffMultiplier": 2,
                        "retryableStatusCodes": ["UNAVAILABLE"]},
    }],
    "loadBalancingConfig": [{"round_robin": {}}],
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def within(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"after {PATIENCE} s {what}"
        time.sleep(0.02)


class Pod:
    """A program, on the same ports after each start."""

    def __init__(self, program, number):
        self.program, self.name = program, f"ticketing-{number}"
        self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process = None

    def start(self):
        environment = os.environ | {"LISTEN_ADDR": self.address, "ADMIN_ADDR": self.admin, "POD_NAME": self.name,
                                    "DATABASE_URL": os.environ["TEST_DATABASE_URL"], "LOG_FILTER": "error"}
        self.process = subprocess.Popen([self.program], env=environment)

    def wait_ready(self):
        within(self.is_ready, f"{self.name} is not ready")

    def is_ready(self):
        assert self.process.poll() is None, f"{self.name} exited with {self.process.returncode}"
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=5) as response:
                return response.status == 200
        return False

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


class Load:
    """Callers that create customer n at the time n / RATE, and repeat the Create until it is acknowledged."""

    def __init__(self, addresses):
        options = [("grpc.service_config", json.dumps(RETRIES)), ("grpc.enable_retries", 1),
                   ("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50),
                   ("grpc.min_reconnect_backoff_ms", 50),
                   # Else it is the list of addresses, whose commas no authority may have.
                   ("grpc.default_authority", "ticketing")]
        self.channel = grpc.insecure_channel("ipv4:" + ",".join(addresses), options=options)
        self.stub = ticketing_services.CustomerControllerStub(self.channel)
        self.lock = threading.Lock()
        self.next, self.stopped = 0, None
        self.acknowledged, self.twice = {}, []
        self.refusals, self.slowest = collections.Counter(), 0
        self.failure = None
        self.began = time.monotonic()
        self.callers = [threading.Thread(target=self.call, daemon=True) for _ in range(CALLERS)]
        for caller in self.callers:
            caller.start()

    def call(self):
        while (number := self.take()) is not None:
            time.sleep(max(0, self.began + number / RATE - time.monotonic()))
            due = time.monotonic()
            try:
                customer = self.create(f"customer-{number}")
            except Exception as error:  # pylint: disable=broad-except
                self.failure = error
                return
            with self.lock:
                self.slowest = max(self.slowest, time.monotonic() - due)
                if customer.id in self.acknowledged:
                    self.twice.append(customer.id)
                self.acknowledged[customer.id] = customer

    def take(self):
        """Returns the next number, unless its time is after the end of the load."""
        with self.lock:
            number = self.next
            if self.stopped is not None and number / RATE > self.stopped - self.began:
                return None
            self.next += 1
            return number

    def create(self, name):
        request = ticketing.CreateCustomerRequest(first_name="Ann", last_name=name)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.stub.CreateCustomer(request, timeout=CALL_TIMEOUT, metadata=[("idempotency-key", name)])
            except grpc.RpcError as error:
                code = error.code()
                with self.lock:
                    self.refusals[code.name] += 1
                # Any other code means that the same Create would be refused again.
                retriable = code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                assert retriable and time.monotonic() < end, f"{name}: {code.name}: {error.details()}"
                time.sleep(0.02)

    def stop(self):
        self.stopped = time.monotonic()
        for caller in self.callers:
            caller.join(timeout=PATIENCE)
        if self.failure:
            raise self.failure
        assert not any(caller.is_alive() for caller in self.callers), f"a Create has no answer after {PATIENCE} s"
        return self.stopped - self.began

    def all(self):
        """Returns the customers of all pages."""
        customers, token = [], ""
        while True:
            request = ticketing.ListCustomersRequest(page_size=1000, page_token=token)
            page = self.stub.ListCustomers(request, timeout=CALL_TIMEOUT)
            customers += page.customers
            token = page.next_page_token
            if not token:
                return customers


def database(action):
    subprocess.run([os.environ["POSTGRES_CTL"], action], check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


def disturb(pods):
    """Kills and restarts every program, and stops the database meanwhile."""
    for pod in pods:
        time.sleep(PAUSE)
        print(f"{pod.name} is killed")
        assert pod.end(signal.SIGKILL) == -signal.SIGKILL
        time.sleep(PAUSE)
        if pod is pods[1]:
            print("PostgreSQL is stopped and started")
            database("stop")
            time.sleep(PAUSE)
            database("start")
        pod.start()
        pod.wait_ready()
    for pod in pods:
        pod.wait_ready()
        print(f"{pod.name} is restarted")
        code = pod.end(signal.SIGTERM)
        assert code == 0, f"after SIGTERM {pod.name} exited with {code}"
        pod.start()
        pod.wait_ready()
        time.sleep(PAUSE)


def main(program):
    pods = [Pod(program, number) for number in range(1, PODS + 1)]
    try:
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.wait_ready()
        load = Load([pod.address for pod in pods])
        disturb(pods)
        seconds = load.stop()
        stored = [customer for customer in load.all() if customer.last_name.startswith("customer-")]
    finally:
        for pod in pods:
            if pod.process and pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()
    by_name = collections.Counter(customer.last_name for customer in stored)
    twice = sorted(name for name, count in by_name.items() if count > 1)
    by_id = {customer.id: customer for customer in stored}
    lost = sorted(id for id, customer in load.acknowledged.items() if by_id.get(id) != customer)
    refused = ", ".join(f"{count} {code}" for code, count in sorted(load.refusals.items())) or "none"
    print(f"{load.next} Creates in {seconds:.0f} s, {load.next / seconds:.0f} a second; acknowledged "
          f"{len(load.acknowledged)}, stored {len(stored)}, lost {len(lost)}, twice {len(twice)}")
    print(f"failures that the channel did not retry, and the caller did: {refused}; slowest {load.slowest:.1f} s")
    assert not lost and not twice and not load.twice, (lost[:10], twice[:10], load.twice[:10])
    assert len(load.acknowledged) == load.next == len(stored)


if __name__ == "__main__":
    main(*sys.argv[1:])
