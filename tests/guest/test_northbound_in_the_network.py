"""The northbound over the emulated network: when a session is there, what its sink is told, what a link's new rate does to it."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from controller.paths import Paths
from controller.policies.admission import Deadline
from controller.policies.view import RESERVABLE
from scenarios import planner
from scenarios.channel import shape_at
from scenarios.load import load
from scenarios.plan import Plan
from tests.conftest import PROJECT, GuestProgram

SCENARIO = """
name: northbound
network:
  core: {rate: 100 Mbit/s, delay: 5 ms}
  regions: [{name: west, link: {rate: 1 Gbit/s, delay: 3 ms}, gnbs: [{name: a, radio: {rate: 100 Mbit/s, delay: 2 ms}}]}]
slices: [{name: models, guarantee: 80 %, profiles: [one]}, {name: default}]
profiles: [{name: one, down: 1 Mbit/s, up: 80 kbit/s}]
devices: [{name: phone, count: 3, at: a, slice: models, link: {rate: 500 Mbit/s}}]
dynamics:
  - {link: a-radio, towards: down, at: 2 s, rate: 40 Mbit/s}
  - {link: a-radio, towards: down, at: 3 s, rate: 100 Mbit/s}
policies: {slicing: deadline}
"""
CAMARA = PROJECT / "tests" / "camara"
HEADERS = 14 + 20 + 20 + 12  # bytes: Ethernet, IP, TCP with its time stamps
EXACT_NS = 5_000  # the machine's clock moves in steps of 256 ns, once at each hop or so
WITHIN = 0.03  # of a guarantee: docs/slices.md
MBPS = 1_000_000


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    file = tmp_path_factory.mktemp("scenario") / "northbound.yaml"
    file.write_text(SCENARIO)
    return planner.decide(load(file), 3, planner.Published({"digits": "sha256:" + "0" * 64}, "sha256:" + "0" * 64))


@pytest.fixture(scope="module")
def seen(guest_program: GuestProgram, plan: Plan) -> dict[str, Any]:
    return guest_program("northbound", plan)


def one_way_ns(plan: Plan, source: str, target: str, size: int) -> float:
    """What one segment with so many bytes takes on an idle network."""
    shapes = [shape_at(plan, link, end, 0) for link, end in Paths(plan).ends_between(source, target)]
    return sum(shape.delay_ns + (size + HEADERS) * 8e9 / shape.rate_bps for shape in shapes)


def round_trip_ns(plan: Plan, call: dict[str, Any]) -> float:
    return one_way_ns(plan, "central", "nef", call["sent"]) + one_way_ns(plan, "nef", "central", call["received"])


def decision_ns(standing: int) -> int:
    return Deadline.cost.decision_ns + Deadline.cost.download_ns * (standing + 1)


def test_a_session_is_available_after_a_round_trip_and_the_charged_decision(seen: dict[str, Any], plan: Plan) -> None:
    """The switches' barriers take no time: the controller is beside them."""
    for standing, call in enumerate(seen["available"]):
        assert call["status"] == 201
        assert call["took_ns"] == pytest.approx(round_trip_ns(plan, call) + decision_ns(standing), abs=EXACT_NS)


def test_a_session_is_deleted_after_a_round_trip(seen: dict[str, Any], plan: Plan) -> None:
    for call in seen["deleted"]:
        assert call["took_ns"] == pytest.approx(round_trip_ns(plan, call), abs=EXACT_NS)
