"""Guests that measure: each gets an order and gives its answers; as many run at once as there are cores."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.network import SEED, plan_of
from insitu.vm import machine
from insitu.vm.kernel import Kernel
from scenarios import plan as plans

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = PROJECT / "benchmarks" / "guest"
TESTS_PROGRAMS = PROJECT / "tests" / "guest" / "programs"
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
    wish = {"steps": order.steps} | ({"stock": order.stock} if order.scenario is None else {})
    files = {"order.json": json.dumps(wish).encode()}
    if order.scenario is not None:
        files["plan.json"] = plans.canonical(plan_of(order.scenario))
    try:
        answers: list[Any] = result(kernel, [PROGRAMS / order.program], files)["results"]
    except RuntimeError as error:
        raise RuntimeError(f"{order.name}: {error}") from None
    return answers


def result(kernel: Kernel, command: Sequence[object], files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a program writes to result.json in a guest; `command` is its file and arguments, `files` are in its folder.

    Raises MachineError, and RuntimeError with the program's last words.
    """
    with tempfile.TemporaryDirectory(prefix="insitu-measuring-") as folder:
        out = Path(folder)
        for name, content in files.items():
            (out / name).write_bytes(content)
        status = machine.run(
            machine.Machine(kernel, SEED, "virtual", MEMORY_MB),
            [sys.executable, *map(str, command)],
            out,
            wall_limit_s=WALL_LIMIT_S,
            cwd=PROJECT,
            env={"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, PROGRAMS, TESTS_PROGRAMS)))},
        )
        if status:
            raise RuntimeError((out / "logs" / "command.log").read_text()[-3000:])
        written: dict[str, Any] = json.loads((out / "result.json").read_text())
        return written


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
