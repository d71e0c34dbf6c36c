"""The API server of the rehearsal, as a pod sees it: over TLS, with a token, for one namespace, and limited to listing
and watching EndpointSlices."""

import asyncio
import contextlib
import json
import os
import pathlib
import ssl
import subprocess
import urllib.parse

# The path of a pod's account. kube-rs uses no other path, so it is created in a separate mount namespace.
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = "hello"
USER = f"system:serviceaccount:{NAMESPACE}:helloserve"
COLLECTION = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
LABEL = "kubernetes.io/service-name"


class Account:
    """The folder that the kubelet mounts into a pod: a token that it renews, the CA certificate, and the namespace."""

    def __init__(self, folder, authority):
        self.folder, self.authority, self.generation = folder, authority, 0

    def mount(self, token):
        """Replaces all files like the kubelet: writes a new folder and atomically moves a symbolic link to it."""
        self.generation += 1
        data = self.folder / f"..{self.generation}"
        data.mkdir(parents=True)
        for name, text in {"token": token, "ca.crt": self.authority.read_text(), "namespace": NAMESPACE}.items():
            (data / name).write_text(text)
            with contextlib.suppress(FileExistsError):
                (self.folder / name).symlink_to(f"..data/{name}")
        moved = self.folder / "..data_tmp"
        moved.symlink_to(data.name)
        os.rename(moved, self.folder / "..data")


class ApiServer:
    """Serves the EndpointSlices of some Services to clients with the token."""

    def __init__(self, address, scratch):
        self.address, self.scratch = address, scratch
        self.authority, self.collection = scratch / "ca.crt", COLLECTION
        self.version, self.slices, self.token = 1000, {}, None
        self.allowed, self.server = True, None
        # The status of each response, with the path and token of its request.
        self.answered = []
        self.watches = set()

    def prove(self):
        """Creates a CA, and a certificate for this address."""
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        here = lambda name: str(self.scratch / name)
        for command in [
            [*new, "-keyout", here("ca.key"), "-out", here("ca.crt"), "-subj", "/CN=kubernetes",
             "-addext", "keyUsage=critical,keyCertSign"],
            [*new, "-CA", here("ca.crt"), "-CAkey", here("ca.key"), "-keyout", here("key"), "-out", here("crt"),
             "-subj", "/CN=kube-apiserver", "-addext", f"subjectAltName=IP:{self.address}",
             "-addext", "basicConstraints=critical,CA:FALSE"],
        ]:
            subprocess.run(command, check=True, capture_output=True)
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.tls.load_cert_chain(here("crt"), here("key"))

    async def start(self):
        self.server = await asyncio.start_server(self.serve, self.address, 443, ssl=self.tls)

    def stop(self):
        """Simulates a killed process: new connections are refused, and existing connections are reset."""
        self.server.close()
        self.cut()

    def cut(self):
        """Breaks every watch, like a restart or a timeout of the API server."""
        for writer, _ in list(self.watches):
            writer.transport.abort()

    def put(self, service, port, pods):
        """Sets the pods in the slice of a Service: their addresses, names, and whether each is terminating."""
        self.version += 1
        known = service in self.slices
        self.slices[service] = {
            "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": f"{service}-7xk2p", "namespace": NAMESPACE, "resourceVersion": str(self.version),
                         "labels": {LABEL: service}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [address], "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": name},
                 "conditions": {"ready": not stopping, "serving": True, "terminating": stopping}}
                for address, name, stopping in pods] or None,
            "ports": [{"name": "grpc", "protocol": "TCP", "port": port}]}
        kind = "MODIFIED" if known else "ADDED"
        for writer, watched in list(self.watches):
            if watched == service:
                self.send(writer, {"type": kind, "object": self.slices[service]})

    def refusal(self, path, token):
        """Returns the status and message of an error if the request is rejected."""
        if token != self.token:
            return 401, "Unauthorized"
        if not self.allowed or path != COLLECTION:
            return 403, (f"endpointslices.discovery.k8s.io is forbidden: User \"{USER}\" cannot list resource "
                         f"\"endpointslices\" in API group \"discovery.k8s.io\" at {path}")
        return None

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while request := (await reader.readuntil(b"\r\n\r\n")).decode():
                line, *fields = request.split("\r\n")
                url = urllib.parse.urlsplit(line.split()[1])
                query = dict(urllib.parse.parse_qsl(url.query))
                headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
                token = headers.get("authorization", "").removeprefix("Bearer ")
                refused = self.refusal(url.path, token)
                self.answered.append((refused[0] if refused else 200, url.path, token))
                if refused:
                    code, message = refused
                    self.answer(writer, code, {"kind": "Status", "status": "Failure", "code": code, "message": message})
                elif "watch" in query:
                    await self.watch(reader, writer, query)
                    break
                else:
                    items = [self.slices[each] for each in self.slices if f"{LABEL}={each}" == query["labelSelector"]]
                    self.answer(writer, 200, {"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
                                              "metadata": {"resourceVersion": str(self.version)}, "items": items})
        writer.close()

    def answer(self, writer, code, document):
        body = json.dumps(document).encode() + b"\n"
        head = f"HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async def watch(self, reader, writer, query):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        service = query["labelSelector"].removeprefix(f"{LABEL}=")
        # Each Service has one slice, so its last change is the only one that matters.
        missed = self.slices.get(service)
        if missed and int(missed["metadata"]["resourceVersion"]) > int(query["resourceVersion"]):
            self.send(writer, {"type": "MODIFIED", "object": missed})
        watch = (writer, service)
        self.watches.add(watch)
        try:
            # A watching client sends nothing until it disconnects.
            await asyncio.wait_for(reader.read(), int(query["timeoutSeconds"]))
        finally:
            self.watches.discard(watch)

    def send(self, writer, event):
        """Sends one line in two chunks, split at a random position."""
        line = json.dumps(event).encode() + b"\n"
        for part in [line[:len(line) // 3], line[len(line) // 3:]]:
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
