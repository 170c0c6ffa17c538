"""Guests that measure: each gets an order and gives its answers; as many run at once as there are cores."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.network import SEED, plan_of
from insitu.vm import machine
from insitu.vm.kernel import Kernel
from scenarios import plan as plans

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = (PROJECT / "benchmarks" / "guest", PROJECT / "tests" / "guest" / "programs")
WALL_LIMIT_S = 1200.0
MEMORY_MB = 4096


@dataclass(frozen=True)
class Order:
    """What a program of guest/ shall do in one guest: steps in the network of a scenario's text, or in stock Mininet's."""

    name: str
    steps: list[dict[str, Any]]
    scenario: str | None = None
    stock: dict[str, Any] = field(default_factory=dict)
    program: str = "measure.py"


def run(kernel: Kernel, order: Order) -> list[Any]:
    """The answers to an order's steps. Raises MachineError, and RuntimeError with the program's last words."""
    with tempfile.TemporaryDirectory(prefix="insitu-fidelity-") as folder:
        out = Path(folder)
        wish: dict[str, Any] = {"steps": order.steps}
        if order.scenario is None:
            wish["stock"] = order.stock
        else:
            (out / "plan.json").write_bytes(plans.canonical(plan_of(order.scenario)))
        (out / "order.json").write_text(json.dumps(wish))
        status = machine.run(
            machine.Machine(kernel, SEED, "virtual", MEMORY_MB),
            [sys.executable, str(PROGRAMS[0] / order.program)],
            out,
            wall_limit_s=WALL_LIMIT_S,
            cwd=PROJECT,
            env={"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, *PROGRAMS)))},
        )
        if status:
            raise RuntimeError(f"{order.name}: {(out / 'logs' / 'command.log').read_text()[-3000:]}")
        answers: list[Any] = json.loads((out / "result.json").read_text())["results"]
        return answers


def run_all(kernel: Kernel, orders: Sequence[Order], say: Callable[[str], None]) -> list[list[Any]]:
    """The answers to all orders, in their order. Raises what the first that failed raised; the rest is not begun then."""

    def one(order: Order) -> list[Any]:
        answers = run(kernel, order)
        say(order.name)
        return answers

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            return list(pool.map(one, orders))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
