"""Downloads of one file by plain HTTP, from nginx at the edge: each device of the plan asks for it once.

`plain.py TOGETHER`: so many devices ask at once, then the next ones. /run/out/file is what they ask for; /run/out/result.json gets
the ns that each took, by device.
"""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import servers
from emulation import OUT, emulation, read_plan, write_result

from edge_nodes import clock, http11
from linux import namespace
from scenarios.plan import Plan


def main() -> None:
    plan = read_plan()
    files = Path("/run/files")
    files.mkdir()
    (files / "file").write_bytes((OUT / "file").read_bytes())
    with emulation(plan):
        edge = next(host for host in plan.hosts if host.role == "edge")
        server = servers.nginx(edge.name, files)
        took = asyncio.Runner(loop_factory=clock.event_loop).run(download(plan, edge.ip))
        os.kill(server, 15)
        os.waitpid(server, 0)
    write_result(took)


async def download(plan: Plan, address: str) -> dict[str, int]:
    """As curl does: connects, asks, reads to the end."""

    async def one(host: str) -> tuple[str, int]:
        client = http11.Client(lambda: namespace.tcp_socket(host))
        began = time.monotonic_ns()
        async with client.request("GET", (address, servers.NGINX_PORT), "/file") as answer:
            await answer.read()
        took = time.monotonic_ns() - began
        await client.close()
        return host, took

    took: dict[str, int] = {}
    hosts, together = [device.host for device in plan.devices], int(sys.argv[1])
    for start in range(0, len(hosts), together):
        took |= await asyncio.gather(*map(one, hosts[start : start + together]))
    return took


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    main()
