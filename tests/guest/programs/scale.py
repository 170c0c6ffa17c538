"""A network of a hundred devices and twenty slices: what is there while it is up, and what is left of it."""

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from emulation import emulation, interfaces, read_plan, write_result

from linux import namespace
from scenarios.plan import Plan
from topology.net import Network

PORT = 9000


def processes() -> int:
    """Processes of the machine, without the kernel's threads."""
    return sum(bool(_command(process)) for process in Path("/proc").glob("[0-9]*"))


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except FileNotFoundError:
        return b""  # it has just ended


def reach_central(plan: Plan) -> list[str]:
    """Devices that can connect to the central site."""
    listening = namespace.listening_socket("central", PORT)
    address = next(host.ip for host in plan.hosts if host.name == "central")
    reached = []
    for device in plan.devices:
        with namespace.tcp_socket(device.host) as client:
            client.settimeout(2)
            client.connect((address, PORT))
            reached.append(device.host)
    listening.close()
    return reached


def settings(network: Network) -> dict[str, Any]:
    readings = list(network.read_back())
    return {
        "interfaces": len(Counter((end.node, end.interface) for end, _ in readings)),
        "slices": len(
            {reading.setting for end, reading in readings if end.port and reading.setting.startswith("queue ")}
        ),
        "wrong": [(end.interface, *reading) for end, reading in readings if reading.planned != reading.read],
    }


def main() -> None:
    plan = read_plan()
    result: dict[str, Any] = {"interfaces_before": interfaces(), "processes_before": processes()}
    with emulation(plan) as (network, _):
        result["processes"] = processes()
        result["settings"] = settings(network)
        result["reached"] = reach_central(plan)
        result["said"] = network.get(plan.devices[0].host).cmd("echo a shell").strip()
        result["processes_with_shell"] = processes()
    result["processes_after"] = processes()
    result["interfaces_after"] = interfaces()
    result["namespaces_after"] = sorted(path.name for path in namespace.FOLDER.iterdir())
    result["bridges_after"] = subprocess.run(["ovs-vsctl", "list-br"], capture_output=True, text=True).stdout.split()
    write_result(result)


main()
