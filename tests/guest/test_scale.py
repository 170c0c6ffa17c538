"""A hundred devices, four gNBs and twenty slices come up, as they were planned, with hardly a process, and go without a trace.

How fast is measured by benchmarks/startup.py: no test looks at a clock.
"""

from typing import Any

import pytest

from benchmarks.network import plan_of
from scenarios.plan import Plan
from tests.conftest import GuestProgram

CELLS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def plan() -> Plan:
    regions = "".join(f"    - {{name: {r}, gnbs: [{{name: {g}}}, {{name: {h}}}]}}\n" for r, g, h in ("wab", "ecd"))
    slices = "".join(f"  - {{name: slice{n}, guarantee: 5 %}}\n" for n in range(19)) + "  - {name: default}\n"
    devices = "".join(
        f"  - {{name: phone-{cell}, count: 25, at: {cell}, slice: slice{n}}}\n" for n, cell in enumerate(CELLS)
    )
    return plan_of(f"name: scale\nnetwork:\n  regions:\n{regions}slices:\n{slices}devices:\n{devices}", seed=3)


@pytest.fixture(scope="module")
def measured(guest_program: GuestProgram, plan: Plan) -> dict[str, Any]:
    return guest_program("scale", plan)


def test_every_setting_of_every_interface_is_read_back_as_planned(measured: dict[str, Any], plan: Plan) -> None:
    assert measured["settings"]["interfaces"] == 2 * len(plan.links)
    assert measured["settings"]["slices"] == 20
    assert measured["settings"]["wrong"] == []


def test_every_device_reaches_the_central_site(measured: dict[str, Any], plan: Plan) -> None:
    assert measured["reached"] == [device.host for device in plan.devices]
    assert len(measured["reached"]) == 100


def test_the_network_takes_no_process_but_the_controller(measured: dict[str, Any]) -> None:
    assert measured["processes"] == measured["processes_before"] + 1


def test_a_host_gets_its_shell_when_it_is_first_used(measured: dict[str, Any]) -> None:
    assert measured["said"] == "a shell"
    assert measured["processes_with_shell"] == measured["processes"] + 1


def test_it_goes_without_a_trace(measured: dict[str, Any]) -> None:
    assert measured["interfaces_after"] == measured["interfaces_before"]
    assert measured["processes_after"] == measured["processes_before"]
    assert measured["namespaces_after"] == []
    assert measured["bridges_after"] == []
