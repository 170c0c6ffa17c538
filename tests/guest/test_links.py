"""Each thing that a link can be asked for does to single packets what theory says."""

from collections import Counter
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from scipy import stats

from scenarios import planner, tables
from scenarios.load import load
from tests.conftest import GuestProgram

TABLE = [-8192, 0, 0, 16384]  # in 1/8192 of the jitter: -1, 0 twice, +2
SCENARIO = """
name: links
duration: 5 s
network:
  core: {rate: 10 Gbit/s, delay: 1 ms}
  regions:
    - name: west
      link: {rate: 10 Gbit/s, delay: 1 ms}
      gnbs:
        - {name: a, radio: {rate: 1 Gbit/s, delay: 10 ms, down: {jitter: 2 ms, distribution: normal}}}
        - {name: b, radio: {rate: 1 Gbit/s, delay: 10 ms, down: {jitter: 2 ms, distribution: pareto}}}
        - {name: c, radio: {rate: 1 Gbit/s, delay: 10 ms, down: {jitter: 2 ms, distribution: ./four.dist}}}
        - {name: d, radio: {rate: 1 Gbit/s, down: {bursts: {enter: 2 %, leave: 25 %}}}}
        - {name: e, radio: {rate: 1 Gbit/s, delay: 5 ms, down: {corrupt: 2 %, duplicate: 3 %, reorder: 4 %}}}
        - {name: f, radio: {rate: 10 Mbit/s, delay: 10 ms, queue: 60 kB}}
        - {name: g, radio: {rate: 10 Mbit/s, delay: 10 ms, queue: 1 s, aqm: fq_codel}}
        - {name: h, radio: {rate: 100 Mbit/s, delay: 10 ms}}
slices: [{name: gold, guarantee: 50 %}, {name: default}]
libraries: {central: {tcp: bbr}}
devices:
  - {name: normal, at: a}
  - {name: pareto, at: b}
  - {name: table, at: c}
  - {name: bursts, at: d}
  - {name: mangled, at: e}
  - {name: queue, at: f}
  - {name: codel, at: g}
  - {name: still, at: h}
  - {name: own, at: h, link: {rate: 5 Mbit/s, delay: 3 ms}, tcp: dctcp}
dynamics:
  - {link: h-radio, at: 1 s, rate: 20 Mbit/s, towards: down}
  - {link: h-radio, during: 2 s..4 s, delay: 50 ms, every: 10 ms}
"""
PARETO = np.array(tables.distribution("pareto").table) / tables.SCALE
NS_PER_MS = 1_000_000
FRAME_BITS = (100 + 42) * 8  # a datagram of 100 bytes
WIRED_NS = 3 * NS_PER_MS  # core, region and gNB: 1 ms each
SLACK_NS = 15_000


@pytest.fixture(scope="module")
def measured(guest_program: GuestProgram, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("scenario")
    (folder / "four.dist").write_text("# a table\n" + " ".join(map(str, TABLE)))
    (folder / "links.yaml").write_text(SCENARIO)
    published = planner.Published({"digits": "sha256:" + "0" * 64}, "sha256:" + "0" * 64)
    return guest_program("links", planner.decide(load(folder / "links.yaml"), 5, published))


def test_every_setting_is_read_back_as_planned(measured: dict[str, Any]) -> None:
    assert measured["differing"] == []
    assert measured["kinds"] == ["bfifo", "fq_codel", "htb", "netem"]


def way_ns(sample: dict[str, Any]) -> list[int]:
    """One-way delays without that of the fixed links and the time that a small packet takes to be sent."""
    serialisation = FRAME_BITS * (3 / 10e9 + 2 / 1e9) * 1e9
    return [delay - WIRED_NS - serialisation for delay in sample["delay_ns"]]


def test_normal_jitter_is_normal(measured: dict[str, Any]) -> None:
    assert measured["normal"]["order"] == list(range(4000))
    normal = stats.norm(10 * NS_PER_MS, 2 * NS_PER_MS)
    assert stats.kstest(way_ns(measured["normal"]), normal.cdf).pvalue > 0.01


def test_pareto_jitter_has_paretos_quantiles_and_the_asked_mean_and_deviation(measured: dict[str, Any]) -> None:
    delays = [delay / NS_PER_MS for delay in way_ns(measured["pareto"])]
    mean, deviation = sum(delays) / len(delays), stats.tstd(delays)
    assert mean == pytest.approx(10, abs=2.58 * 2 / len(delays) ** 0.5 + 0.01)
    assert deviation == pytest.approx(2, rel=0.1)
    expected = 10 + 2 * PARETO
    assert stats.kstest(delays, expected, method="asymp").pvalue > 0.01


def test_a_users_table_gives_its_values_as_often_as_they_stand_there(measured: dict[str, Any]) -> None:
    around = Counter(round(delay / NS_PER_MS) for delay in way_ns(measured["table"]))
    assert set(around) == {8, 10, 14}
    assert stats.chisquare([around[8], around[10], around[14]], [500, 1000, 500]).pvalue > 0.01


def test_burst_losses_are_as_many_and_as_long_as_gilbert_and_elliott_say(measured: dict[str, Any]) -> None:
    """p/(p+r) of the packets are in the bad state, a geometric number each time (Gilbert 1960); a Markov chain's deviation."""
    enter, leave = 0.02, 0.25
    arrived, sent = set(measured["bursts"]["order"]), measured["bursts"]["sent"]
    lost = [number not in arrived for number in range(sent)]
    share, memory = enter / (enter + leave), 1 - enter - leave
    deviation = (share * (1 - share) / sent * (1 + memory) / (1 - memory)) ** 0.5
    assert sum(lost) / sent == pytest.approx(share, abs=2.58 * deviation)
    lengths = Counter(min(len(list(run)), 10) for is_lost, run in groupby(lost) if is_lost)
    bursts = sum(lengths.values())
    expected = [bursts * leave * (1 - leave) ** (n - 1) for n in range(1, 10)] + [bursts * (1 - leave) ** 9]
    assert stats.chisquare([lengths[n] for n in range(1, 11)], expected).pvalue > 0.01


def test_each_direction_is_its_own(measured: dict[str, Any]) -> None:
    assert measured["up"]["order"] == list(range(2000))


def test_duplicates_corruption_and_reordering_are_as_often_as_asked(measured: dict[str, Any]) -> None:
    sample, sent = measured["mangled"], measured["mangled"]["sent"]
    copies = Counter(sample["order"])
    low, high = stats.binom.interval(0.99, sent, 0.03)
    assert low <= sum(count - 1 for count in copies.values()) <= high
    low, high = stats.binom.interval(0.99, sent, 0.02)  # what a bit's flip breaks, checksums refuse
    assert low * 0.85 <= sent - len(copies) <= high  # but for bits of the sender's MAC address, which nobody reads
    low, high = stats.binom.interval(0.99, len(sample["order"]), 0.04)
    assert low * 0.85 <= sum(delay < WIRED_NS + NS_PER_MS for delay in sample["delay_ns"]) <= high
    assert sample["order"] != sorted(sample["order"])


def test_a_fifo_of_bytes_drops_by_its_length(measured: dict[str, Any]) -> None:
    """100 full frames at once: one is being sent, and as many wait as fit into 60 kB."""
    fit = 1 + 60_000 // 1514
    assert measured["queue"]["order"] == list(range(fit))
    frame_ns = 1514 * 8 * 100  # at 10 Mbit/s
    fixed = WIRED_NS + 3 * 1514 * 8 / 10 + 10 * NS_PER_MS
    expected = [
        fixed + n * frame_ns + frame_ns for n in range(1, fit + 1)
    ]  # the device's own link has the radio's rate
    assert measured["queue"]["since_first_ns"] == pytest.approx(expected, abs=SLACK_NS)


def test_a_device_can_have_a_link_of_its_own_below_its_cell(measured: dict[str, Any]) -> None:
    frame_bits = 1514 * 8
    fixed = WIRED_NS + 3 * frame_bits / 10 + 10 * NS_PER_MS + frame_bits * 10 + 3 * NS_PER_MS
    expected = [fixed + n * frame_bits * 200 for n in range(1, 21)]  # at 5 Mbit/s
    assert measured["own"]["since_first_ns"] == pytest.approx(expected, abs=SLACK_NS)


def test_codel_keeps_a_tcp_flows_queue_short(measured: dict[str, Any]) -> None:
    """A queue of 1 s under fq_codel: the ping beside the flow waits for a packet or two; in the FIFO it waits for what is in it."""
    base_ms = 2 * 13
    for name in ("fifo", "codel"):
        assert measured[name]["mbps"] == pytest.approx(10 * 1448 / 1514, rel=0.02)
    assert measured["codel"]["rtt_ms"] < base_ms + 10
    assert measured["fifo"]["rtt_ms"] > measured["codel"]["rtt_ms"]
    assert "ecn_mark 0" not in measured["codel_qdisc"].split("fq_codel 11:")[0]
    assert measured["codel"]["retransmits"] == 0  # marked, not dropped


def test_hosts_have_their_own_congestion_control(measured: dict[str, Any]) -> None:
    assert measured["control"] == {"central": "bbr", "own": "dctcp", "still": "cubic", "west-local": "cubic"}


def test_changes_of_a_link_lose_no_packet_and_hold_at_once(measured: dict[str, Any]) -> None:
    sample = measured["changes"]
    assert sample["order"] == list(range(sample["sent"]))
    assert [reading for reading in sample["readings"] if reading[1] != reading[2]] == []
    assert len(sample["readings"]) > 1000
    frame_bits = 1042 * 8
    for sent_ns, delay_ns in zip(sample["sent_ns"], sample["delay_ns"], strict=True):
        second = (sent_ns - sample["begin_ns"]) / 1e9
        if min(abs(second - edge) for edge in (1.0, 2.0, 4.0)) < 0.02:
            continue  # while a step holds for what is on its way already
        rate = 100e6 if second < 1 else 20e6
        radio_ms = 10 + 40 * min(1.0, max(0.0, (second - 2) / 2))
        fixed = WIRED_NS + frame_bits * (3 / 10e9 + 1 / rate + 1 / 100e6) * 1e9
        step = 0.25 * NS_PER_MS if 2 < second < 4 else SLACK_NS  # a ramp goes up 0.2 ms each 10 ms
        assert delay_ns == pytest.approx(fixed + radio_ms * NS_PER_MS, abs=step), f"at {second:.3f} s"
