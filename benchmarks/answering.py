"""What a library takes to answer a device beyond sending bytes: `python -m benchmarks.answering [REQUESTS]`.

On loopback, one request after the other on one connection: a device that has all or nearly all blocks asks for a model;
beside it an aiohttp handler that answers nothing at all. The controller grants at once. Each side has a process.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from aiohttp import web

from edge_nodes import clock, delivery, http11
from edge_nodes.models.manifest import Manifest
from edge_nodes.tiers import library, registry
from edge_nodes.tiers.downloads import Downloads
from edge_nodes.tiers.sessions import Grant, Northbound, Wish
from edge_nodes.tiers.store import Published
from insitu import experiment
from scenarios import recording
from scenarios.load import load
from scenarios.plan import Plan
from scenarios.planner import decide

PROJECT = Path(__file__).resolve().parent.parent


class Granting(Northbound):
    """A controller that grants what is asked for, at once."""

    def __init__(self) -> None:
        pass

    async def create(self, wish: Wish) -> Grant:
        return Grant("session", wish.rate_bps)

    async def delete(self, session: str) -> None:
        pass


def serve(plan: Plan, published: Path, folder: Path, told: int) -> None:
    async def empty(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def services() -> None:
        recorder = recording.Recorder(folder, "central")
        store = Published(published, "central", recorder)
        tier = library.Tier("central", plan.models, store, (), http11.Client(open_socket), recorder)
        app = registry.application(tier)
        app.router.add_post(delivery.PATH, Downloads(plan, "central", tier, recorder, Granting()).answer)
        app.router.add_post("/empty", empty)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        os.write(told, b"%d" % runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.Runner(loop_factory=clock.event_loop).run(services())


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


async def ask_often(port: int, path: str, body: bytes, count: int) -> None:
    client = http11.Client(open_socket)
    for _ in range(count):
        async with client.request("POST", ("127.0.0.1", port), path, body) as answer:
            assert answer.status == 200
            await answer.read()
    await client.close()


def measure(server: int, port: int, path: str, body: bytes, count: int) -> tuple[float, float]:
    """ms of the server's CPU and of wall time for a request, after some that warm up."""
    run = asyncio.Runner(loop_factory=clock.event_loop).run
    run(ask_often(port, path, body, count // 10))
    cpu, wall = cpu_s(server), time.perf_counter()
    asyncio.Runner(loop_factory=clock.event_loop).run(ask_often(port, path, body, count))
    return (cpu_s(server) - cpu) / count * 1000, (time.perf_counter() - wall) / count * 1000


def cpu_s(process: int) -> float:
    """What a process has used, in user and system time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    published = experiment.model_library(lambda line: print(line, file=sys.stderr))
    model = "digits@night"
    manifest = Manifest.load(published / "manifests" / f"{model}.json")
    with tempfile.TemporaryDirectory() as folder:
        plan = decide(load(PROJECT / "scenarios" / "hello.yaml"), 7, experiment.published_models(published))
        ready, told = os.pipe()
        if (server := os.fork()) == 0:
            serve(plan, published, Path(folder), told)
        try:
            port = int(os.read(ready, 10))
            have = [plan.models[model], *(block.digest for block in manifest.blocks)]
            ask = delivery.Ask("d", model, 10**9, 10**8, 10**8, 10**10, 10**8, "default", have)
            smallest = min(manifest.blocks, key=lambda block: block.bytes)
            one = msgspec.structs.replace(ask, have=[digest for digest in have if digest != smallest.digest])
            new = msgspec.structs.replace(ask, have=have[:1])
            for name, path, body in (
                ("nothing, by an empty aiohttp handler", "/empty", msgspec.json.encode(ask)),
                ("a model of which the device has all blocks", delivery.PATH, msgspec.json.encode(ask)),
                (
                    f"a model of which it lacks a block of {smallest.bytes} bytes",
                    delivery.PATH,
                    msgspec.json.encode(one),
                ),
                ("a model with all its blocks", delivery.PATH, msgspec.json.encode(new)),
            ):
                cpu, wall = measure(server, port, path, body, count)
                print(f"{name}: {cpu:.2f} ms of the server's CPU, {wall:.2f} ms until all is there")
        finally:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)


if __name__ == "__main__":
    main()
