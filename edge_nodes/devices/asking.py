"""What a device asks for, and which libraries: the edge library of its cell first, then those that this one asks itself."""

from edge_nodes import delivery
from edge_nodes.devices.receiver import Tier
from scenarios import channel
from scenarios.plan import LIBRARY_PORT, Device, Plan


def tiers(plan: Plan, gnb: str) -> list[Tier]:
    """Nearest first."""
    edge = next(library for library in plan.libraries if library.host == f"{gnb}-edge")
    # Looked up when they are needed: a table of all nodes for each device would fill the memory
    addresses = {host.name: host.ip for host in plan.hosts if host.name in (edge.host, *edge.upstream)}
    return [Tier(host, (addresses[host], LIBRARY_PORT)) for host in (edge.host, *edge.upstream)]


def ask(
    plan: Plan,
    device: Device,
    gnb: str,
    download: str,
    model: str,
    *,
    since_ns: int,
    time_left_ns: int,
    memory_bytes: int,
    power_w: float | None,
) -> delivery.Ask:
    """With what is true `since_ns` after the run's start. It asks the library of `gnb`, and may be in another cell by now."""
    here = max(
        (entry for entry in device.attachments if entry.time_ns <= since_ns), key=lambda entry: entry.time_ns
    ).gnb
    round_trip = channel.round_trip_ns(plan, device, here, since_ns) + channel.between_ns(plan, here, gnb)
    return delivery.Ask(
        download=download,
        model=model,
        time_left_ns=time_left_ns,
        channel_bps=channel.rate_bps(plan, device, here, since_ns),
        memory_bytes=memory_bytes,
        macs_per_s=device.macs_per_s,
        infer_interval_ns=device.infer_interval_ns,
        slice=device.slice,
        have=[],
        round_trip_ns=round_trip,
        load_bytes_per_s=device.load_bytes_per_s,
        energy_per_mac_j=device.energy_per_mac_j,
        power_w=power_w,
    )
