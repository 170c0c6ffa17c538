"""The northbound over the emulated network: when a session is there, what its sink is told, what a link's new rate does to it."""

import json
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
slices: [{name: models, guarantee: 80 %, profiles: [one]}, {name: default, guarantee: 20 %}]
profiles: [{name: one, down: 1 Mbit/s, up: 80 kbit/s}]
devices: [{name: phone, count: 3, at: a, slice: models, link: {rate: 500 Mbit/s}}]
dynamics:
  - {link: a-radio, towards: down, at: 2 s, rate: 40 Mbit/s}
  - {link: a-radio, towards: down, at: 3 s, rate: 100 Mbit/s}
policies: {slicing: deadline}
"""
CAMARA = PROJECT / "tests" / "camara"
HEADERS = 14 + 20 + 20 + 12  # bytes: Ethernet, IP, TCP with its time stamps
# Under the virtual clock each look at the clock takes 256 ns, so that who waits for it in a loop goes on. The kernel and the
# processes look some dozens of times; Open vSwitch some hundreds, for each of its turns
LOOKS_NS, BARRIER_NS = 30_000, 300_000
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


DECISION_NS = Deadline.cost.decision_ns + Deadline.cost.download_ns  # for one that waits, whatever else stands


def life(seen: dict[str, Any], session: str) -> dict[str, dict[str, Any]]:
    """The last record of each kind about a session."""
    return {record["kind"]: record for record in seen["records"] if record.get("session") == session}


def test_a_session_is_available_after_a_round_trip_the_charged_decision_and_the_barriers(
    seen: dict[str, Any], plan: Plan
) -> None:
    for call in seen["available"]:
        found = life(seen, call["answer"]["sessionId"])
        asked, decided, available = (found[kind]["t"] for kind in ("sessionasked", "session", "sessionavailable"))
        assert found["session"]["charged_ns"] == DECISION_NS
        assert 0 <= decided - asked - DECISION_NS <= LOOKS_NS
        assert 0 <= available - decided <= BARRIER_NS
        theory = round_trip_ns(plan, call) + DECISION_NS + available - decided
        assert 0 <= call["took_ns"] - theory <= LOOKS_NS


def test_a_session_is_deleted_after_a_round_trip_and_the_barriers(seen: dict[str, Any], plan: Plan) -> None:
    for call in seen["deleted"]:
        assert call["status"] == 204
        assert 0 <= call["took_ns"] - round_trip_ns(plan, call) <= BARRIER_NS


def test_sessions_that_a_slower_link_cannot_carry_get_less_or_end(seen: dict[str, Any]) -> None:
    """Of 80 % of 40 Mbit/s sessions may have three quarters: the first gets all of it, the second nothing."""
    radio = seen["radio"]
    first, second = radio["sessions"]
    assert sorted(rate for _, rate, _ in radio["before"].values()) == [20 * MBPS, 30 * MBPS]
    ((_, rate, ceiling),) = radio["change 0"]["classes"].values()
    assert (rate, ceiling) == (0.8 * 40 * MBPS * RESERVABLE, 40 * MBPS)
    (_, kept), (_, lost) = radio["change 0"]["status"]
    assert kept["qosStatus"] == "AVAILABLE"
    assert (lost["qosStatus"], lost["statusInfo"]) == ("UNAVAILABLE", "NETWORK_TERMINATED")
    assert life(seen, second)["sessionended"]["cause"] == "NETWORK_TERMINATED"
    changes = [(r["granted_bps"], r["cause"]) for r in seen["records"] if r["kind"] == "sessionchanged"]
    assert changes == [(24 * MBPS, "LINK"), (30 * MBPS, "LINK")]
    assert life(seen, first)["sessionchanged"]["granted_bps"] == 30 * MBPS


def test_one_that_had_less_gets_what_it_asked_for_when_the_link_is_fast_again(seen: dict[str, Any]) -> None:
    ((_, rate, ceiling),) = seen["radio"]["change 1"]["classes"].values()
    assert (rate, ceiling) == (30 * MBPS, 100 * MBPS)
    assert seen["radio"]["after"] == {}


def test_shares_are_those_of_the_links_present_rate(seen: dict[str, Any]) -> None:
    """The session borrows what its slice's default class leaves: all of 80 %; those without one share the other slice's 20 %."""
    with_session, *without = seen["radio"]["arrived"]
    assert with_session == pytest.approx(0.8 * 40 * MBPS, rel=WITHIN)
    assert sum(without) == pytest.approx(0.2 * 40 * MBPS, rel=WITHIN)


def test_a_sink_hears_when_a_session_is_there_expires_or_is_ended_by_the_network(seen: dict[str, Any]) -> None:
    told = [(event["body"]["data"], event["headers"]) for event in seen["events"]["told"]]
    expired, cut = seen["events"]["expired"]["sessionId"], seen["events"]["cut"]["sessionId"]
    assert [data for data, _ in told] == [
        {"sessionId": expired, "qosStatus": "AVAILABLE"},
        {"sessionId": cut, "qosStatus": "AVAILABLE"},
        {"sessionId": expired, "qosStatus": "UNAVAILABLE", "statusInfo": "DURATION_EXPIRED"},
        {"sessionId": cut, "qosStatus": "UNAVAILABLE", "statusInfo": "NETWORK_TERMINATED"},
    ]
    headers = {"path": "/events", "type": "application/cloudevents+json", "token": "Bearer s3cret"}
    assert all(given == headers for _, given in told)
    assert [r["qos_status"] for r in seen["records"] if r["kind"] == "notified"] == [
        data["qosStatus"] for data, _ in told
    ]


def test_what_a_sink_is_told_is_what_camara_defines(seen: dict[str, Any]) -> None:
    validator = jsonschema_rs.Draft4Validator(event_schema())
    ids = set()
    for event in seen["events"]["told"]:
        validator.validate(event["body"])
        assert event["body"]["source"].endswith(f"/sessions/{event['body']['data']['sessionId']}")
        ids.add(event["body"]["id"])
    assert len(ids) == len(seen["events"]["told"])
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate(event["body"] | {"data": {"qosStatus": "AVAILABLE"}})


def event_schema() -> dict[str, Any]:
    """EventQosStatusChanged of CAMARA's definition, with what it refers to in one document."""
    schemas: dict[str, Any] = {}
    for file in (
        "common/CAMARA_common.yaml",
        "common/CAMARA_event_common.yaml",
        "API_definitions/quality-on-demand.yaml",
    ):
        text = (CAMARA / file).read_text()
        for common in ("../common/CAMARA_event_common.yaml", "../common/CAMARA_common.yaml", "CAMARA_common.yaml"):
            text = text.replace(f"{common}#/", "#/")
        schemas |= YAML(typ="safe", pure=True).load(text)["components"]["schemas"]
    whole = {"$ref": "#/components/schemas/EventQosStatusChanged", "components": {"schemas": schemas}}
    return dict(json.loads(json.dumps(whole, default=str)))  # YAML's dates
