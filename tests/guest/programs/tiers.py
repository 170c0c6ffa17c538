"""Reads blobs through the three tiers in a network: cold and warm, by a hundred devices at once, with a tier down."""

import asyncio
import os
import signal
import time
from typing import Any

import numpy as np
from emulation import OUT, emulation, read_plan, write_result

from edge_nodes import clock, http11
from edge_nodes.delivery import digest_of
from insitu import processes
from insitu.guest import Run
from insitu.processes import Service
from linux import namespace
from scenarios.plan import LIBRARY_PORT, Plan

EDGE = "square-edge"


async def get(client: http11.Client, plan: Plan, digest: str) -> dict[str, Any]:
    """When the first bytes of a blob and the last ones came, in ms since it was asked for."""
    address = next(host.ip for host in plan.hosts if host.name == EDGE), LIBRARY_PORT
    began = time.monotonic_ns()
    async with client.request("GET", address, f"/v2/digits/blobs/{digest}") as answer:
        place = np.empty(1 << 22, np.uint8).data
        got = await answer.receive(place)
        first = time.monotonic_ns() - began
        rest = bytes(await answer.read())
    right = digest_of(bytes(place[:got]) + rest) == digest
    return {"first_ms": first / 1e6, "last_ms": (time.monotonic_ns() - began) / 1e6, "right": right}


async def measure(plan: Plan, digests: list[str], local: Service) -> dict[str, Any]:
    clients = [http11.Client(lambda host=device.host: namespace.tcp_socket(host)) for device in plan.devices]  # type: ignore[misc]
    connecting, *alone, crowds, while_stopped, while_shunned, while_dead = digests
    await get(clients[0], plan, connecting)  # so that the device's connection is there
    result: dict[str, Any] = {"cold": [], "warm": []}
    for digest in alone:
        for kind in ("cold", "warm"):
            await asyncio.sleep(1)
            result[kind].append(await get(clients[0], plan, digest))
    result["crowd"] = [r["right"] for r in await asyncio.gather(*(get(one, plan, crowds) for one in clients))]
    os.kill(local.pid, signal.SIGSTOP)  # it takes connections, and never answers
    result["stopped"] = await get(clients[0], plan, while_stopped)
    result["shunned"] = await get(clients[0], plan, while_shunned)
    os.kill(local.pid, signal.SIGKILL)
    await asyncio.sleep(6)  # until the edge asks it first again
    result["dead"] = await get(clients[0], plan, while_dead)
    for client in clients:
        await client.close()
    return result


def main() -> None:
    plan, library = read_plan(), OUT / "library"
    digests = (OUT / "library" / "digests").read_text().split()
    with emulation(plan) as (network, _):
        network.trust_controller()
        run = Run(OUT, library)
        tiers = [run._spawn(entry.host, entry) for entry in plan.libraries]
        processes.wait_until_ready(tiers)
        processes.start(tiers, time.monotonic_ns())
        time.sleep(1)
        with asyncio.Runner(loop_factory=clock.event_loop) as runner:
            result = runner.run(measure(plan, digests, next(tier for tier in tiers if tier.name == "west-local")))
        processes.stop(tiers, 5.0)
        run.close()
    write_result(result)


if __name__ == "__main__":
    main()
