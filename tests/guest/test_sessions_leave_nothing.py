"""Nothing of a session is left, however it ends: flows, classes and qdiscs of real switches before and after random operations."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from insitu.vm import machine
from insitu.vm.kernel import Kernel
from scenarios import plan as plans
from scenarios import planner
from scenarios.load import load
from tests.conftest import PROGRAMS, PROJECT

OPERATIONS, CLIENTS = 10_000, 16
CELLS = "a" + 20 * "ba"  # which the bus visits, one after the other
SCENARIO = f"""
name: churn
duration: 60 s
network:
  core: {{rate: 1 Gbit/s, delay: 1 ms}}
  gnbs: [{{name: a}}, {{name: b}}]
slices: [{{name: models, guarantee: 50 %}}, {{name: video, guarantee: 20 %}}, {{name: default}}]
devices:
  - {{name: phone, count: 100, at: b, slice: models}}
  - {{name: bus, at: a, slice: models, route: {{{", ".join(f"{n} s: {cell}" for n, cell in enumerate(CELLS) if n)}}}}}
policies: {{slicing: deadline}}
"""


@pytest.fixture(scope="module")
def seen(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("sessions")
    file = out / "churn.yaml"
    file.write_text(SCENARIO)
    plan = planner.decide(load(file), 3, planner.Published({"digits": "sha256:" + "0" * 64}, "sha256:" + "0" * 64))
    (out / "plan.json").write_bytes(plans.canonical(plan))
    (out / "order.json").write_text(json.dumps({"operations": OPERATIONS, "clients": CLIENTS}))
    command = [sys.executable, str(PROGRAMS / "sessions.py")]
    guest = machine.Machine(kernel, plan.seed, "virtual", plan.machine.memory_mb)
    status = machine.run(
        guest, command, out, wall_limit_s=600, cwd=PROJECT, env={"PYTHONPATH": f"{PROJECT}:{PROGRAMS}"}
    )
    assert status == 0, Path(out / "logs" / "command.log").read_text()[-3000:]
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return result


def test_flows_classes_and_qdiscs_are_as_before(seen: dict[str, Any]) -> None:
    assert seen["during"] > 20, "there were sessions"
    assert seen["changed"] == {}


def test_sessions_were_made_refused_extended_moved_and_ended(seen: dict[str, Any]) -> None:
    outcomes = seen["outcomes"]
    for kind in ("create 201", "create 409", "expire 201", "delete 204", "extend 200", "move"):
        assert outcomes.get(kind, 0) >= 100 or kind == "move", outcomes
