"""The network as its users measure it, compared with theory."""

from typing import Any

import pytest
from scipy import stats

from benchmarks.network import plan_of
from tests.conftest import GuestProgram

SCENARIO = """
name: measured
network:
  core: {rate: 1 Gbit/s, delay: 5 ms}
  regions:
    - name: west
      link: {rate: 1 Gbit/s, delay: 3 ms}
      gnbs:
        - {name: a, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: 2 ms}}
        - {name: b, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 50 Mbit/s, delay: 10 ms}}
        - {name: c, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: 2 ms, loss: 5 %}}
        - {name: d, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 1 Gbit/s, delay: 10 ms, jitter: 5 ms}}
slices: [{name: gold, guarantee: 50 %}, {name: silver, guarantee: 30 %}, {name: default}]
devices:
  - {name: phone, count: 3, at: a, slice: gold}
  - {name: rover, at: a, route: {5 s: b}}
  - {name: lossy, count: 1, at: c}
  - {name: jitter, count: 1, at: d}
traffic:
  - {from: central, to: phone1, rate: 1 Gbit/s, transport: tcp, slice: gold}
  - {from: central, to: phone2, rate: 1 Gbit/s, transport: tcp, slice: silver}
  - {from: central, to: phone3, rate: 1 Gbit/s, transport: tcp}
"""
FRAMING = 1448 / 1514  # TCP payload of a full frame, with time stamps
GBIT, RADIO = 1e9, 100e6


@pytest.fixture(scope="module")
def measured(guest_program: GuestProgram) -> dict[str, Any]:
    return guest_program("network", plan_of(SCENARIO, seed=3))


def round_trip_ms(frame_bytes: int) -> float:
    """central-link, west-link, a-link, a-radio and the device's own link (at the radio's rate), there and back.

    The first hop of each direction is a host's, of the same rate; every hop sends the whole frame anew.
    """
    bits = frame_bytes * 8
    return 2e3 * (0.005 + 0.003 + 0.001 + 0.002 + 3 * bits / GBIT + 2 * bits / RADIO)


def test_every_setting_is_read_back_as_planned(measured: dict[str, Any]) -> None:
    assert len(measured["settings"]) > 100
    assert [s for s in measured["settings"] if s[2] != s[3]] == []


def test_a_setting_that_somebody_changed_is_noticed(measured: dict[str, Any]) -> None:
    assert len(measured["tampered"]) == 1
    planned, read = measured["tampered"][0]
    assert "delay_ns 5000000 " in planned
    assert "delay_ns 9000000 " in read


def test_every_host_reaches_every_other(measured: dict[str, Any]) -> None:
    assert measured["ping_all_loss"] <= 2  # one host's radio loses packets


@pytest.mark.parametrize(("kind", "frame_bytes"), [("small", 98), ("full", 1514)])
def test_round_trip_is_what_theory_says(measured: dict[str, Any], kind: str, frame_bytes: int) -> None:
    assert measured[kind]["received"] == 20
    assert measured[kind]["least_ms"] == pytest.approx(round_trip_ms(frame_bytes), abs=0.010)
    assert measured[kind]["mean_ms"] == pytest.approx(round_trip_ms(frame_bytes), abs=0.010)


def test_loss_is_within_the_99_percent_interval(measured: dict[str, Any]) -> None:
    sent, received = measured["lossy"]["sent"], measured["lossy"]["received"]
    both_ways = 1 - 0.95**2
    low, high = stats.binom.interval(0.99, sent, both_ways)
    assert low <= sent - received <= high


def test_jitter_is_uniform_within_what_was_set(measured: dict[str, Any]) -> None:
    """Two independent uniform delays of 10 ± 5 ms: their sum is triangular."""
    least = 2e3 * (0.005 + 0.003 + 0.001 + 0.005)
    times = [time - least for time in measured["jittery"]["rtt_ms"]]
    assert stats.kstest(times, stats.triang(0.5, 0, 20).cdf).pvalue > 0.01


def test_one_flow_fills_the_radio(measured: dict[str, Any]) -> None:
    assert measured["alone"]["phone1"] == pytest.approx(100 * FRAMING, rel=0.01)


def test_saturated_slices_get_their_guarantees(measured: dict[str, Any]) -> None:
    shares = measured["shares"]
    expected = {"phone1": 50 * FRAMING, "phone2": 30 * FRAMING, "phone3": 20 * FRAMING}
    assert shares == pytest.approx(expected, rel=0.05)


def test_a_transfer_survives_a_handover_and_takes_the_new_cell(measured: dict[str, Any]) -> None:
    handover = measured["handover"]
    assert handover["error"] == ""
    assert handover["bytes"] >= 0.9 * 20 * 2**20  # iperf3 does not count what is on its way when the sender is done
    in_cell_b = 2e3 * (0.005 + 0.003 + 0.001 + 0.010)
    assert handover["least_ms"] == pytest.approx(in_cell_b, abs=0.2)
    assert handover["from_old_cell"] == 5
    assert all(planned == read for _, planned, read in handover["readings"])


def test_a_session_is_set_in_the_switches_and_leaves_nothing(measured: dict[str, Any]) -> None:
    northbound = measured["northbound"]
    assert northbound["status"] == "201"
    assert northbound["created"]["rate"] == 10_000_000
    assert northbound["got"]["sessionId"] == northbound["created"]["sessionId"]
    assert northbound["got"]["qosStatus"] == "AVAILABLE"
    assert (northbound["before"], northbound["during"]) == (0, 4)  # both directions, TCP and UDP
    assert northbound["deleted"] == "204"
    assert northbound["reduced"]["rate"] == 37_500_000  # what sessions may have of half of the radio's 100 Mbit/s
    assert northbound["bad"] == "400"


def test_asking_the_nef_costs_two_round_trips_and_what_switches_take(measured: dict[str, Any]) -> None:
    """curl connects, then asks; edge and NEF are 1 ms + 3 ms apart, their own links 10 us each."""
    round_trips = 4 * (0.001 + 0.003 + 2 * 10e-6)
    assert round_trips < measured["northbound"]["seconds"] < round_trips + 0.002


def test_nobody_asks_for_a_mac_address(measured: dict[str, Any]) -> None:
    assert measured["arp_bytes"] == 24  # a pcap file's header, no packet


def test_a_nodes_popen_runs_in_its_namespace(measured: dict[str, Any]) -> None:
    assert "10.0.0." in measured["popen"]


def test_the_network_goes_without_a_trace(measured: dict[str, Any]) -> None:
    assert measured["interfaces_after"] == measured["interfaces_before"]
    assert measured["namespaces_after"] == []
