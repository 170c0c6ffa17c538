"""Segments on the links and at the hosts: exact on the wire, merged where nobody on the wire can see it."""

from typing import Any

import pytest

from benchmarks.network import plan_of
from tests.conftest import GuestProgram

SCENARIO = """
name: datapath
network:
  segments: {segments}
  core: {{rate: {rate}, delay: 100 us}}
  regions:
    - {{name: west, link: {{rate: {rate}, delay: 100 us}}, gnbs: [
        {{name: quad, link: {{rate: {rate}, delay: 100 us}}, radio: {{rate: {rate}, delay: 100 us}}}}]}}
devices: [{{name: phone, at: quad}}]
"""
FULL = 1514
FRAMING = 1448 / FULL
RATES = {"100 Mbit/s": 10**8, "1 Gbit/s": 10**9, "10 Gbit/s": 10**10}


@pytest.fixture(scope="module", params=[("exact", rate) for rate in RATES] + [("bulk", "1 Gbit/s")], ids=" ".join)
def measured(request: pytest.FixtureRequest, guest_program: GuestProgram) -> dict[str, Any]:
    segments, rate = request.param
    result = guest_program("datapath", plan_of(SCENARIO.format(segments=segments, rate=rate), seed=3))
    return {"segments": segments, "rate_bps": RATES[rate], **result}


def test_a_packet_on_a_link_is_one_segment_unless_bulk_is_asked_for(measured: dict[str, Any]) -> None:
    assert max(measured["link"]) == FULL if measured["segments"] == "exact" else max(measured["link"]) > 10 * FULL


def test_a_host_is_given_many_at_once_where_that_saves_time(measured: dict[str, Any]) -> None:
    many = measured["segments"] == "bulk" or measured["rate_bps"] >= 10**9
    assert max(measured["host"]) > 2 * FULL if many else max(measured["host"]) == FULL


def test_one_flow_has_the_framing_limit(measured: dict[str, Any]) -> None:
    assert measured["goodput_bps"] == pytest.approx(measured["rate_bps"] * FRAMING, rel=0.01)


def test_a_single_packet_is_not_held(measured: dict[str, Any]) -> None:
    """Five links of 98-byte frames each way, four of 100 us."""
    theory = 2 * (4 * 0.1 + 5 * 98 * 8 / measured["rate_bps"] * 1e3)
    least, most = measured["rtt_ms"]
    assert least == pytest.approx(theory, abs=0.010)
    assert most == pytest.approx(theory, abs=0.030)  # the first one is not yet in the switches' caches
