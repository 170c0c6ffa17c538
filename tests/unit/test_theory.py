"""Theory and statistics of the fidelity tables: known answers, and properties that any line and any sample has."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import theory
from benchmarks.theory import Gilbert, Line

LINE = Line(10_000_000, 5_000_000)
lines = st.builds(Line, st.integers(100_000, 40_000_000_000), st.integers(0, 500_000_000))
shares = st.floats(0.001, 0.999)


def chain_sample(chain: Gilbert, packets: int, seed: int) -> list[bool]:
    draw = random.Random(seed).random
    bad = draw() < chain.bad
    lost = []
    for _ in range(packets):
        bad = draw() >= chain.leave if bad else draw() < chain.enter
        lost.append(draw() < (chain.loss_bad if bad else chain.loss_good))
    return lost


def test_goodput_is_payload_of_frame() -> None:
    assert theory.tcp_goodput(1e9) == pytest.approx(956.407e6, rel=1e-6)
    assert theory.udp_goodput(1e9, 1472) == pytest.approx(972.259e6, rel=1e-6)


def test_a_datagram_in_one_frame_is_no_fragment() -> None:
    assert theory.udp_goodput_in_fragments(1e9, 1472, 1) == theory.udp_goodput(1e9, 1472)


def test_forty_full_fragments_fill_their_frames() -> None:
    assert 59192 + 8 + 40 * 34 == 40 * 1514
    assert theory.udp_goodput_in_fragments(40 * 1514.0, 59192, 40) == pytest.approx(59192)


def test_a_full_frame_takes_1211_us_at_10_mbit_per_s() -> None:
    assert theory.serialisation(10e6, 1514) == pytest.approx(1_211_200)


def test_every_hop_sends_the_frame_anew() -> None:
    assert theory.one_way([LINE, LINE], 1250) == pytest.approx(2 * (5_000_000 + 1_000_000))


def test_a_packet_waits_for_one_full_frame_a_hop() -> None:
    assert theory.longest_wait([LINE] * 3) == pytest.approx(3 * 1_211_200)


def test_a_burst_into_a_queue_of_three() -> None:
    """1250 bytes take 1 ms; five at once: three have room, and leave 1 ms apart."""
    passed = theory.fifo([0.0] * 5, [1250] * 5, LINE, 3)
    assert [p.left_ns for p in passed] == [6e6, 7e6, 8e6, None, None]


def test_what_travels_takes_room_if_it_is_counted() -> None:
    """At 4.5 ms four packets have been sent, and are under way for 5 ms."""
    arrivals = [0.0, 0.0, 0.0, 0.0, 4.5e6]
    assert theory.fifo(arrivals, [1250] * 5, LINE, 4, until="arrived")[-1].left_ns is None
    assert theory.fifo(arrivals, [1250] * 5, LINE, 4)[-1].left_ns == 10.5e6


def test_a_queue_in_bytes_holds_what_fits() -> None:
    passed = theory.fifo([0.0] * 4, [1000, 600, 500, 400], LINE, 2000, in_bytes=True)
    assert [p.accepted for p in passed] == [True, True, False, True]


def test_in_a_queue_apart_from_the_line_the_packet_being_sent_takes_no_room() -> None:
    """Three at once: one is being sent, one waits in the room for one, the third is dropped."""
    passed = theory.fifo([0.0] * 3, [1250] * 3, LINE, 1250, in_bytes=True, until="begun")
    assert [p.accepted for p in passed] == [True, True, False]


@given(lines, st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 20))
def test_a_fifo_keeps_order_and_never_beats_the_line(line: Line, times: list[int], limit: int) -> None:
    times.sort()
    passed = theory.fifo([float(t) for t in times], [1514] * len(times), line, limit)
    left = [p.left_ns for p in passed if p.left_ns is not None]
    one = theory.serialisation(line.rate_bps, 1514)
    assert all(b - a >= one * (1 - 1e-6) for a, b in itertools.pairwise(left))
    for time, passage in zip(times, passed, strict=True):
        assert passage.left_ns is None or passage.left_ns - time <= line.delay_ns + limit * one * (1 + 1e-6) + 1


@given(lines, st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(1, 20))
def test_more_room_never_drops_more(line: Line, times: list[int], limit: int) -> None:
    arrivals = [float(t) for t in sorted(times)]

    def accepted(room: int) -> int:
        return sum(p.accepted for p in theory.fifo(arrivals, [1514] * len(arrivals), line, room, until="arrived"))

    assert accepted(limit) <= accepted(limit + 1) <= accepted(len(arrivals)) == len(arrivals)


def test_known_answer_of_gilbert_elliott() -> None:
    chain = Gilbert(0.01, 0.25)
    assert chain.bad == pytest.approx(1 / 26)
    assert chain.loss == pytest.approx(1 / 26)
    assert Gilbert(0.02, 0.10, 0.7, 0.01).loss == pytest.approx(0.125)


@given(shares, shares)
def test_a_chain_that_forgets_is_binomial(enter: float, loss: float) -> None:
    """enter + leave = 1: the next state does not depend on this one."""
    chain = Gilbert(enter, 1 - enter, loss_bad=loss)
    p = enter * loss
    assert chain.deviation(1000) == pytest.approx(math.sqrt(1000 * p * (1 - p)), rel=1e-6)


@given(shares, st.integers(1, 100_000))
def test_the_count_interval_holds_the_mean(share: float, packets: int) -> None:
    low, high = theory.count_interval(share, packets)
    assert low - 1 <= share * packets <= high + 1


def test_losses_of_a_chain_are_within_their_interval() -> None:
    """In 99 of 100 samples, give or take: 6 or more misses of 200 have a chance under 2 %."""
    chain = Gilbert(0.02, 0.2, 0.8, 0.01)
    low, high = chain.interval(2000)
    misses = sum(not low <= sum(chain_sample(chain, 2000, seed)) <= high for seed in range(200))
    assert misses < 6


def test_run_lengths_leaves_out_what_may_be_cut() -> None:
    lost = [bool(int(c)) for c in "1100100111011"]
    assert theory.run_lengths(lost) == [1, 3]
    assert theory.run_lengths([False, True, True]) == []
    assert theory.run_lengths([]) == []


@given(st.lists(st.booleans(), max_size=60))
def test_run_lengths_counts_inner_bursts(lost: list[bool]) -> None:
    text = "".join("1" if gone else "0" for gone in lost)
    inner = text[text.find("0") : text.rfind("0") + 1] if "0" in text else ""
    assert theory.run_lengths(lost) == [len(run) for run in inner.split("0") if run]


def test_chi_square_accepts_its_own_and_refuses_another() -> None:
    bursts = theory.run_lengths(chain_sample(Gilbert(0.01, 0.25), 50_000, 3))
    assert theory.geometric_fits(bursts, 0.25).fits
    assert not theory.geometric_fits(bursts, 0.35).fits


def test_chi_square_is_wrong_as_often_as_it_says() -> None:
    """1 % of 500 samples that fit are refused: more than 13 have a chance under 0.1 %."""
    draw = random.Random(5)
    refused = 0
    for _ in range(500):
        lengths = [next(n for n in itertools.count(1) if draw.random() < 0.4) for _ in range(300)]
        refused += not theory.geometric_fits(lengths, 0.4).fits
    assert refused <= 13


@pytest.mark.parametrize("kind", [theory.uniform, theory.normal, theory.pareto])
def test_distributions_accept_their_own_and_refuse_a_shifted_one(kind: "type[theory.Distribution]") -> None:
    draw = random.Random(7)
    pareto = [min(4 / 3 * (draw.paretovariate(3) - 1.5), 4.0) for _ in range(4000)]
    samples = {
        theory.uniform: [draw.uniform(40e6, 60e6) for _ in range(4000)],
        theory.normal: [draw.gauss(50e6, 10e6) for _ in range(4000)],
        theory.pareto: [50e6 + 10e6 * value for value in pareto],
    }
    assert theory.distribution_fits(samples[kind], kind(50e6, 10e6)).fits
    assert not theory.distribution_fits(samples[kind], kind(51e6, 10e6)).fits


def test_each_entry_of_a_table_is_as_likely() -> None:
    entries = (-8192, 0, 0, 8192)
    cdf = theory.table(50e6, 5e6, entries)
    assert [float(cdf(value)) for value in (44e6, 45e6, 50e6, 54e6, 55e6)] == [0, 0.25, 0.75, 0.75, 1]
