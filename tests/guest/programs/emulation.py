"""What the guest programs share: a network with its controller, from the plan in /run/out, and a place for the result."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insitu import processes
from insitu.control import Control
from insitu.controller_service import ControllerService
from insitu.processes import Service
from scenarios import plan as plans
from scenarios.plan import Plan
from topology import openvswitch
from topology.net import Network

OUT = Path("/run/out")


def read_plan() -> Plan:
    return plans.parse((OUT / "plan.json").read_bytes())


@contextmanager
def emulation(plan: Plan, control: Control | None = None) -> Iterator[tuple[Network, Service]]:
    """The network up, every flow installed."""
    for name in ("events", "logs"):
        (OUT / name).mkdir(exist_ok=True)
    network = Network(plan)
    controller = ControllerService(plan, OUT, control or Control()).start()
    network.start()
    processes.wait_until_ready([controller], openvswitch.nudge)
    yield network, controller
    if controller.name not in processes.ended([controller]):
        processes.stop([controller], 5.0)
    network.stop()


def write_result(result: dict[str, Any]) -> None:
    (OUT / "result.json").write_text(json.dumps(result))


def interfaces() -> list[str]:
    return sorted(os.listdir("/sys/class/net"))
