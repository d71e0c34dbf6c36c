"""The network of the rehearsal: a DNS server that caches its answers, and ClusterIPs that see changes late."""

import asyncio
import contextlib
import random
import struct
import time

# The delay after which kube-proxy sees an endpoint that is added or removed, in seconds.
PROXY_LAG = 2


class Dns(asyncio.DatagramProtocol):
    """Answers A queries, with the same answer until the TTL expires, like a cache."""

    def __init__(self, names, ttl):
        self.names, self.ttl, self.cache = names, ttl, {}

    def connection_made(self, transport):
        self.transport = transport

    def look_up(self, name):
        at, addresses = self.cache.get(name, (float("-inf"), []))
        if time.monotonic() >= at + self.ttl:
            addresses = self.names.get(name, list)()
            self.cache[name] = (time.monotonic(), addresses)
        return addresses

    def datagram_received(self, data, peer):
        labels, place = [], 12
        while data[place]:
            labels.append(data[place + 1:place + 1 + data[place]].decode())
            place += 1 + data[place]
        question = data[12:place + 5]
        a_record = question[-4:-2] == b"\0\1"
        name = ".".join(labels).lower()
        addresses = self.look_up(name) if a_record else []
        # NOERROR, or NXDOMAIN.
        flags = 0x8580 if name in self.names else 0x8583
        head = data[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0)
        record = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", self.ttl, 4)
        self.transport.sendto(head + question + b"".join(
            record + bytes(map(int, address.split("."))) for address in addresses), peer)


def cluster_ip(service, port):
    """Starts a server that forwards each connection to one of the pods that it knows."""
    async def forward(reader, writer):
        try:
            there = await asyncio.open_connection(random.choice(service.addresses(PROXY_LAG)), port)
        except (OSError, IndexError):
            # The pod does not listen, or has stopped.
            return writer.transport.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
    return forward


async def pump(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
