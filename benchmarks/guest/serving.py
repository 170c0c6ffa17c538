"""The same files from nginx and from an edge library, to the same client, over loopback and over a veth of 10 Gbit/s.

The client reads what comes into memory, or has the kernel drop it, so that next to nothing but the server takes time.

Inside, only the virtual clock can be read: each transfer's begin and end are empty files, whose times the host sees.

`serving.py ROUNDS`; the published library is in /run/out/library, the plan in /run/out/plan.json.
"""

import asyncio
import os
import selectors
import shutil
import socket
import subprocess
import sys
from itertools import product
from pathlib import Path

import msgspec
import servers
from aiohttp import web
from emulation import OUT, read_plan

from edge_nodes import clock, delivery, http11
from edge_nodes.tiers import library, registry, store
from edge_nodes.tiers.downloads import Downloads
from edge_nodes.tiers.sessions import Northbound
from linux import namespace
from scenarios import recording
from scenarios.plan import LIBRARY_PORT, NORTHBOUND_PORT, Plan

FILES = Path("/run/files")  # in memory, for both
WAYS = {"loopback": ("server", "127.0.0.1"), "10 Gbit/s": ("client", "10.0.0.1")}  # the client's namespace, the address
REQUESTS = {1: 32, 16: 64}  # how many, by how many connections there are at once
PIECE = 1 << 20
CLIENTS = {"reads": 0, "drops": socket.MSG_TRUNC}


def main() -> None:
    plan = read_plan()
    for name in ("marks", "events"):
        (OUT / name).mkdir()
    shutil.copytree(OUT / "library", FILES)
    names = sorted(file.name for file in (FILES / "blocks").iterdir())
    two_namespaces()
    processes = [servers.fork("server", serve, plan), servers.nginx("server", FILES / "blocks")]
    ask = msgspec.json.encode(delivery.Ask("benchmark", "payload", 10**9, 10**12, 10**12, 10**12, 10**9, "default", []))
    post = b"POST %s HTTP/1.1\r\nHost: edge\r\nContent-Length: %d\r\n\r\n%s" % (delivery.PATH.encode(), len(ask), ask)
    for number in range(int(sys.argv[1])):
        for way, (host, address) in WAYS.items():
            for connections, count in REQUESTS.items():
                wanted = [names[n % len(names)] for n in range(count)]
                nginx = [get(f"/{name}") for name in wanted]
                blobs = [get(f"/v2/payload/blobs/sha256:{name}") for name in wanted]
                offered = {
                    "nginx": (servers.NGINX_PORT, nginx),
                    "blob": (LIBRARY_PORT, blobs),
                    "stream": (LIBRARY_PORT, [post] * (count // len(names))),
                }
                for (server, (port, requests)), client in product(offered.items(), CLIENTS):
                    name = f"{server},{client},{way.split()[0]},{connections},{number}"
                    with namespace.inside(host):
                        received = transfer(name, (address, port), requests, connections, CLIENTS[client])
                    print(f"{server},{client},{way.split()[0]},{connections}", received, flush=True)
    for process in processes:
        os.kill(process, 15)


def two_namespaces() -> None:
    """Each end of the veth sends at 10 Gbit/s; both keep what the kernel offloads, as a network card does."""
    for line in (
        "ip netns add server",
        "ip netns add client",
        "ip link add name left netns server type veth peer name right netns client",
        "ip -n server addr add 10.0.0.1/24 dev left",
        "ip -n client addr add 10.0.0.2/24 dev right",
        "tc -n server qdisc add dev left root netem rate 10gbit limit 20000",
        "tc -n client qdisc add dev right root netem rate 10gbit limit 20000",
        "ip -n server link set left up",
        "ip -n client link set right up",
        "ip -n server link set lo up",
    ):
        subprocess.run(line.split(), check=True)


def serve(plan: Plan) -> None:
    """An edge library that has everything, as in a run."""

    async def service() -> None:
        edge = next(entry.host for entry in plan.libraries if entry.tier == "edge")
        recorder = recording.Recorder(OUT / "events", edge)
        published = store.Published(FILES, edge, recorder)
        tier = library.Tier(edge, plan.models, published, [], http11.Client(open_socket), recorder)
        app = registry.application(tier)
        northbound = Northbound(library.client(open_socket), "127.0.0.1", NORTHBOUND_PORT)  # where nobody answers
        app.router.add_post(delivery.PATH, Downloads(plan, edge, tier, recorder, northbound).answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", LIBRARY_PORT).start()
        servers.ready()
        await asyncio.Event().wait()

    asyncio.Runner(loop_factory=clock.event_loop).run(service())


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()


def transfer(name: str, address: tuple[str, int], requests: list[bytes], connections: int, flags: int) -> int:
    """Sends all requests, one at a time on each connection; the bytes that came."""
    waiting = list(requests)
    received = 0
    (OUT / "marks" / f"{name},begin").touch()
    with selectors.DefaultSelector() as selector:
        for _ in range(min(connections, len(requests))):
            one = Receiver(socket.create_connection(address), flags)
            one.ask(waiting.pop())
            selector.register(one.socket, selectors.EVENT_READ, one)
        while selector.get_map():
            for key, _ in selector.select():
                one = key.data
                received += one.receive()
                if one.done and waiting:
                    one.ask(waiting.pop())
                elif one.done:
                    selector.unregister(one.socket)
                    one.socket.close()
    (OUT / "marks" / f"{name},end").touch()
    return received


class Receiver:
    """One connection. Knows where a response ends: by its length, or by the last chunk's head."""

    def __init__(self, connected: socket.socket, flags: int) -> None:
        self.socket, self._flags = connected, flags
        self._buffer = bytearray(PIECE)
        self.done = False

    def ask(self, request: bytes) -> None:
        self.done, self._in_head, self._left, self._chunked = False, True, 0, False
        self.socket.sendall(request)

    def receive(self) -> int:
        """What has come of the body, or 0 for a piece of its frame."""
        if self._left:
            got = self.socket.recv_into(self._buffer, min(self._left, PIECE), self._flags)
            if not got:
                raise EOFError("the server has ended the connection")
            self._left -= got
            self.done = not self._left and not self._chunked
            return got
        if self._in_head:
            self._read_head()
        else:
            self._left = int(self._until(b"\r\n").strip() or self._until(b"\r\n"), 16)
            self.done = not self._left
            if self.done:
                self._until(b"\r\n")
        return 0

    def _until(self, end: bytes) -> bytes:
        """What comes up to `end`; the rest stays where it is."""
        while (found := self.socket.recv(4096, socket.MSG_PEEK).find(end)) < 0:
            pass
        return self.socket.recv(found + len(end))

    def _read_head(self) -> None:
        head = self._until(b"\r\n\r\n").decode().lower()
        if not head.startswith("http/1.1 200"):
            raise RuntimeError(head)
        self._in_head, self._chunked = False, "chunked" in head
        if not self._chunked:
            self._left = int(head.split("content-length:")[1].split()[0])


main()
