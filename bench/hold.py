"""Holds idle connections, each after one request, and prints the server's resident memory in MB.

    hold.py HOST PORT COUNT PID
"""

import socket
import sys


def main(host: str, port: str, count: str, pid: str) -> None:
    request = f"GET /hellogrpc?name=x HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()
    held = []
    for _ in range(int(count)):
        connection = socket.create_connection((host, int(port)), timeout=10)
        held.append(connection)
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200"), "the gateway does not answer 200"
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    print(f"{resident / 1024:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
