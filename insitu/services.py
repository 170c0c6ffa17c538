"""What each process of a run does: the tiers, the devices, the background traffic."""

import asyncio
import contextlib
import signal
import socket
from pathlib import Path
from typing import Protocol

from edge_nodes import delivery, http11, traffic
from edge_nodes.devices import eager_torch
from edge_nodes.tiers import library, registry, store
from edge_nodes.tiers.caching import CACHING
from edge_nodes.tiers.downloads import Downloads
from edge_nodes.tiers.payloads import WithPayloads
from edge_nodes.tiers.pulls import Upstream
from edge_nodes.tiers.sessions import Northbound
from insitu.processes import Channel
from linux import namespace
from scenarios import plan as plans
from scenarios import recording
from scenarios.plan import Library, Plan

STORES = Path("/run/stores")  # in the machine's memory, never on the host's disk


class Run(Protocol):
    """Of one run in this machine, what its processes need."""

    folder: Path
    published: Path
    plan: Plan

    def payloads(self) -> list[Path]:
        """The manifests of payload models."""


async def serve_library(run: Run, entry: Library, channel: Channel) -> None:
    """One tier, in this process's namespace, until it is told to end."""
    from aiohttp import web

    def open_socket() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    plan = run.plan
    addresses = {host.name: host.ip for host in plan.hosts}
    recorder = recording.Recorder(run.folder / "events", entry.host)
    http, bulk = library.client(open_socket), http11.Client(open_socket)
    published = store.Published(run.published, entry.host, recorder)
    objects: store.Objects = WithPayloads(published, run.payloads()) if plan.payloads else published
    if entry.upstream:
        policy = CACHING[plan.policies.caching](entry.cache_bytes)
        objects = store.Store(STORES / entry.host, policy, entry.host, recorder)
    upstream = [Upstream(name, (addresses[name], plans.LIBRARY_PORT)) for name in entry.upstream]
    tier = library.Tier(entry.host, plan.models, objects, upstream, bulk, recorder, entry.retry_ns)
    app = registry.application(tier)
    northbound = Northbound(http, addresses["nef"], plans.NORTHBOUND_PORT)
    own = run.folder / plans.OWN_POLICIES
    app.router.add_post(delivery.PATH, Downloads(plan, entry.host, tier, recorder, northbound, own).answer)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=library.KEEP_ALIVE_S)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", plans.LIBRARY_PORT).start()
    told_to_end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_end.set)
    channel.ready()
    working = asyncio.create_task(work_by_itself(plan, tier, channel))
    await told_to_end.wait()
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    await http.close()
    await bulk.close()
    recorder.close()


async def work_by_itself(plan: Plan, tier: library.Tier, channel: Channel) -> None:
    """What a tier does without being asked, from when all tiers are up."""
    origin = await channel.started()
    await tier.warm_up()
    mine = [entry for entry in plan.prefetches if entry.library == tier.host]
    plain = plan.policies.compression in ("file", "fixed:file")
    await asyncio.gather(*(tier.prefetch(entry.model, origin + entry.time_ns, plain) for entry in mine))


async def run_devices(run: Run, channel: Channel) -> None:
    """All devices, each with sockets of its own namespace."""
    eager_torch.load()
    import torch

    from edge_nodes.devices.device import HeldOut, UserEquipment
    from edge_nodes.devices.factory import Factory
    from edge_nodes.devices.payload_device import PayloadDevice

    torch.set_num_threads(1)
    recorder = recording.Recorder(run.folder / "events", "devices")
    held_out = HeldOut(run.published / "held_out.safetensors")
    clients = {d.host: http11.Client(lambda host=d.host: namespace.tcp_socket(host)) for d in run.plan.devices}  # type: ignore[misc]
    factory = Factory(run.published)
    devices = [
        PayloadDevice(run.plan, d, recorder, clients[d.host])
        if d.application in run.plan.payloads
        else UserEquipment(run.plan, d, factory, held_out, recorder, clients[d.host])
        for d in run.plan.devices
    ]
    channel.ready()
    origin = channel.wait_for_start()
    async with asyncio.TaskGroup() as group:
        for device in devices:
            group.create_task(device.run(origin))
    for http in clients.values():
        await http.close()
    recorder.close()


def run_traffic(run: Run, channel: Channel) -> None:
    """All background flows."""
    recorder = recording.Recorder(run.folder / "events", "traffic")
    addresses = {host.name: host.ip for host in run.plan.hosts}

    def open_socket(host: str, kind: int) -> socket.socket:
        with namespace.inside(host):
            made = socket.socket(socket.AF_INET, kind)
        made.setblocking(False)
        return made

    def udp_sockets(host: str) -> str:
        with namespace.inside(host):
            return Path("/proc/thread-self/net/udp").read_text()

    def wait() -> int:
        channel.ready()
        return channel.wait_for_start()

    traffic.run(run.plan.flows, addresses, open_socket, udp_sockets, recorder, wait)
    recorder.close()
