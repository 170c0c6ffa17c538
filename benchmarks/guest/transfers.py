"""Transfers over the network of the plan in /run/out, by our delivery, plain sockets and aiohttp.

Inside, only the virtual clock can be read: each transfer's begin and end are empty files, whose times the host sees.

`transfers.py ROUNDS`; the published library is in /run/out/library.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import servers
from aiohttp import web
from emulation import OUT, emulation, read_plan

from edge_nodes import clock, delivery, http11
from edge_nodes.devices.receiver import Receiver, Tier
from edge_nodes.tiers import library, registry, store
from edge_nodes.tiers.downloads import Downloads
from edge_nodes.tiers.sessions import Northbound
from linux import namespace
from scenarios import recording
from scenarios.plan import LIBRARY_PORT, NORTHBOUND_PORT, Plan

PATHS = {"2": ("central", "nef"), "4": ("west-local", "phone")}  # by the links between
AIOHTTP_PORT, PLAIN_PORT = 5001, 5002
PIECE = 1 << 20


def main() -> None:
    plan = read_plan()
    (OUT / "marks").mkdir()
    blocks = [file.read_bytes() for file in sorted((OUT / "library" / "blocks").iterdir())]
    loops = {"ours": by_delivery, "aiohttp": by_aiohttp}
    with emulation(plan):
        started = []
        for source, _ in PATHS.values():
            started += [servers.fork(source, serve, plan, source, blocks), servers.fork(source, send_plainly, blocks)]
        for number in range(int(sys.argv[1])):
            for links, (source, sink) in PATHS.items():
                for name, transfer in loops.items():
                    run = asyncio.Runner(loop_factory=clock.event_loop).run
                    took = run(measured(f"{name},{links},{number}", transfer, address(plan, source), sink, len(blocks)))
                    print(f"{name} {links} {took:.6f}", flush=True)
                plainly(f"plain,{links},{number}", address(plan, source), sink)
        for server in started:
            os.kill(server, 9)
            os.waitpid(server, 0)


def serve(plan: Plan, host: str, blocks: list[bytes]) -> None:
    """A tier that has everything, as in a run, and a server as aiohttp's documentation has it."""

    async def block(request: web.Request) -> web.Response:
        return web.Response(body=blocks[int(request.match_info["number"])])

    async def services() -> None:
        recorder = recording.Recorder(OUT / "events", host)
        published = store.Published(OUT / "library", host, recorder)
        tier = library.Tier(host, plan.models, published, (), http11.Client(open_socket), recorder)
        nef = next(entry.ip for entry in plan.hosts if entry.role == "nef")
        northbound = Northbound(library.client(open_socket), nef, NORTHBOUND_PORT)
        app = registry.application(tier)
        app.router.add_post(delivery.PATH, Downloads(plan, host, tier, recorder, northbound).answer)
        plain = web.Application()
        plain.router.add_get("/{number}", block)
        for served, port in ((app, LIBRARY_PORT), (plain, AIOHTTP_PORT)):
            runner = web.AppRunner(served, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", port).start()
        servers.ready()
        await asyncio.Event().wait()

    asyncio.Runner(loop_factory=clock.event_loop).run(services())


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def send_plainly(blocks: list[bytes]) -> None:
    listening = socket.create_server(("0.0.0.0", PLAIN_PORT))
    servers.ready()
    while True:
        connection, _ = listening.accept()
        for block in blocks:
            connection.sendall(block)
        connection.close()


async def measured(
    name: str, transfer: Callable[[str, str, int], Awaitable[None]], source: str, sink: str, blocks: int
) -> float:
    mark(f"{name},begin")
    began = asyncio.get_running_loop().time()
    await transfer(source, sink, blocks)
    took = asyncio.get_running_loop().time() - began
    mark(f"{name},end")
    return took


async def by_delivery(source: str, sink: str, blocks: int) -> None:
    """As a device downloads: every block verified and kept."""
    plan = read_plan()
    rate = max(end.shape.rate_bps for link in plan.links for end in link.ends if link.name.endswith("radio"))

    def ask() -> delivery.Ask:
        return delivery.Ask("benchmark", "payload", 10**12, rate, 10**12, 10**12, 10**9, "default", [])

    def note(*_: Any) -> None:
        pass

    client = http11.Client(lambda: namespace.tcp_socket(sink))
    tiers = [Tier("source", (source, LIBRARY_PORT))]
    receiver = Receiver(client, tiers, (), plan.models["payload"], {}, ask, note)
    await receiver.receive()
    await client.close()
    assert len(receiver.objects) == blocks + 1  # and the manifest


async def by_aiohttp(source: str, sink: str, blocks: int) -> None:
    async with library.client(lambda: namespace.tcp_socket(sink)) as client:
        for number in range(blocks):
            async with client.get(f"http://{source}:{AIOHTTP_PORT}/{number}") as answer:
                await answer.read()


def plainly(name: str, source: str, sink: str) -> None:
    place = bytearray(PIECE)
    with namespace.tcp_socket(sink) as receiving:
        receiving.setblocking(True)
        mark(f"{name},begin")
        receiving.connect((source, PLAIN_PORT))
        while receiving.recv_into(place):
            pass
        mark(f"{name},end")


def address(plan: Plan, name: str) -> str:
    return next(host.ip for host in plan.hosts if host.name == name)


def mark(name: str) -> None:
    Path(OUT / "marks" / name).touch()


main()
