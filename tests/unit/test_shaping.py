"""What links become in the kernel's terms, and how dynamics change them."""

from fractions import Fraction
from typing import Any

import pytest
from builders import planned
from hypothesis import given
from hypothesis import strategies as st

from scenarios import shaping
from scenarios.links import Dynamics, LinkSpec
from scenarios.plan import End, Plan
from scenarios.tables import SECOND

MS = 10**6


def spec(**fields: Any) -> LinkSpec:
    return LinkSpec.model_validate({"rate": "100 Mbit/s", "delay": "10 ms", **fields})


def changes(*dynamics: dict[str, Any], **fields: Any) -> list[tuple[int, LinkSpec]]:
    read = [Dynamics.model_validate({"link": "any", **change}) for change in dynamics]
    return shaping.timeline(read, spec(**fields), 60 * SECOND)


@pytest.mark.parametrize(
    "extra",
    [
        {"bursts": {"enter": "1 %", "leave": "10 %"}},
        {"corrupt": "1 %"},
        {"duplicate": "1 %"},
        {"reorder": "1 %"},
        {"queue": "100 kB"},
        {"aqm": "fq_codel"},
        {"jitter": "1 ms", "distribution": "normal"},
    ],
)
def test_what_a_netem_alone_cannot_do_well_has_a_wire(extra: dict[str, Any]) -> None:
    assert shaping.needs_wire(spec(**extra))
    assert not shaping.needs_wire(spec(loss="1 %", jitter="1 ms"))


@given(st.integers(1, 10**6).map(lambda k: k * 8000), st.integers(1, 1000))
def test_a_queue_of_time_holds_that_time_at_the_rate(rate: int, ms: int) -> None:
    shape = shaping.shape(spec(rate=f"{rate} bit/s", queue=f"{ms} ms"), "virtual", wired=True)
    assert shape.queue is not None
    assert shape.queue.bytes == rate * ms // 8000


def test_a_queue_of_bytes_is_what_is_written() -> None:
    shape = shaping.shape(spec(queue="64 KiB"), "virtual", wired=True)
    assert shape.queue is not None
    assert (shape.queue.discipline, shape.queue.bytes) == ("fifo", 65536)


def test_without_a_word_a_queue_holds_50_ms() -> None:
    plain = shaping.shape(spec(delay="0 ms"), "virtual", wired=False)
    assert plain.limit == -(-100_000_000 * 50 // 1000 // (1514 * 8))
    wired = shaping.shape(spec(), "virtual", wired=True)
    assert wired.queue is not None
    assert wired.queue.bytes == 100_000_000 // 8 * 50 // 1000


def test_a_wire_holds_all_that_travels_in_the_smallest_frames() -> None:
    shape = shaping.shape(spec(jitter="2 ms", distribution="normal"), "virtual", wired=True)
    assert shape.limit >= 100_000_000 * 0.010 / (60 * 8)


def test_a_step_holds_from_its_time_on() -> None:
    assert [(t, s.rate, s.loss) for t, s in changes({"at": "3 s", "rate": "1 Mbit/s", "loss": "5 %"})] == [
        (3 * SECOND, 1_000_000, Fraction(1, 20))
    ]


@given(st.integers(0, 20), st.integers(1, 20), st.integers(20, 500), st.integers(0, 1000))
def test_a_ramp_rises_evenly_and_ends_where_it_was_told(start: int, length: int, every: int, target: int) -> None:
    points = changes({"during": f"{start} s..{start + length} s", "delay": f"{target} ms", "every": f"{every} ms"})
    assert points[-1][0] == (start + length) * SECOND
    assert points[-1][1].delay == target * MS
    for time, state in points:
        share = (time - start * SECOND) / (length * SECOND)
        assert abs(state.delay - (10 + (target - 10) * share) * MS) <= 2


def test_changes_of_several_values_go_side_by_side() -> None:
    points = changes(
        {"at": "1 s", "rate": "10 Mbit/s"},
        {"during": "0 s..2 s", "delay": "30 ms", "every": "1 s"},
        {"at": "5 s", "rate": "1 Gbit/s"},
    )
    assert [(t // SECOND, s.rate // 10**6, s.delay // MS) for t, s in points] == [
        (1, 10, 20),
        (2, 10, 30),
        (5, 1000, 30),
    ]


def test_a_ramp_begins_at_what_an_earlier_change_left() -> None:
    points = changes({"at": "1 s", "delay": "100 ms"}, {"during": "2 s..4 s", "delay": "0 ms", "every": "1 s"})
    assert [(t // SECOND, s.delay // MS) for t, s in points] == [(1, 100), (3, 50), (4, 0)]


def _ends(plan: Plan, name: str) -> tuple[End, End]:
    return next(link for link in plan.links if link.name == name).ends


def test_a_links_directions_are_those_towards_the_core_and_from_it() -> None:
    radio = {"rate": "100 Mbit/s", "up": {"rate": "10 Mbit/s"}, "down": {"delay": "7 ms"}}
    core = {"rate": "1 Gbit/s", "up": {"delay": "1 ms"}, "down": {"delay": "2 ms"}}
    plan = planned(network={"core": core, "gnbs": [{"name": "square", "radio": radio}]})
    cell, gnb = _ends(plan, "square-radio")
    assert (cell.node, cell.shape.rate_bps, cell.shape.delay_ns) == ("square-cell", 10_000_000, 0)
    assert (gnb.node, gnb.shape.rate_bps, gnb.shape.delay_ns) == ("square", 100_000_000, 7 * MS)
    central, core_end = _ends(plan, "central-link")
    assert (central.shape.delay_ns, core_end.shape.delay_ns) == (2 * MS, 1 * MS)


def test_a_link_that_changes_has_wires_and_its_changes_are_in_order() -> None:
    dynamics = [
        {"link": "square-radio", "during": "1 s..2 s", "delay": "9 ms"},
        {"link": "region-link", "at": "1.5 s", "loss": "1 %"},
    ]
    plan = planned(dynamics=dynamics)
    assert {link.name for link in plan.links if link.ends[0].wire} == {"square-radio", "region-link"}
    times = [change.time_ns for change in plan.changes]
    assert times == sorted(times)
    assert len([change for change in plan.changes if change.link == "region-link"]) == 2
    wires = [end.wire for link in plan.links for end in link.ends if end.wire]
    assert len(set(wires)) == 4


def test_the_queues_length_stays_when_the_rate_changes_and_the_shares_follow() -> None:
    plan = planned(
        dynamics=[{"link": "square-radio", "at": "1 s", "rate": "10 Mbit/s"}],
        slices=[{"name": "gold", "guarantee": "60 %"}],
    )
    before = _ends(plan, "square-radio")[0]
    after = plan.changes[0]
    assert after.shape.queue == before.shape.queue
    assert [queue.rate_bps for queue in after.queues] == [4_000_000, 6_000_000]


def test_a_mahimahi_trace_becomes_changes(tmp_path: Any) -> None:
    from scenarios.load import load
    from scenarios.planner import Published, decide

    (tmp_path / "cell.mahi").write_text("\n".join(str(n) for n in range(1, 101)))
    (tmp_path / "traced.yaml").write_text(
        "name: traced\nduration: 1 s\nnetwork: {gnbs: [{name: square}]}\ndevices: [{name: phone, at: square}]\n"
        "dynamics: [{link: square-radio, towards: down, trace: cell.mahi}]\n"
    )
    plan = decide(load(tmp_path / "traced.yaml"), 1, Published({"digits": "sha256:" + "0" * 64}, "0"))
    assert [(change.time_ns, change.end, change.shape.rate_bps) for change in plan.changes] == [
        (n * 100 * MS, 1, 1514 * 8 * 1000) for n in range(10)
    ]


def test_congestion_control_is_the_networks_or_a_nodes_own() -> None:
    plan = planned(
        network={"tcp": "reno", "gnbs": [{"name": "square"}]},
        libraries={"edge": {"cache": "1 MB", "tcp": "dctcp"}},
        devices=[{"name": "phone", "at": "square", "tcp": "bbr"}],
    )
    controls = {host.name: host.congestion_control for host in plan.hosts}
    assert controls["central"] == controls["region-local"] == "reno"
    assert (controls["square-edge"], controls["phone"]) == ("dctcp", "bbr")


def test_hosts_ask_for_marks_where_a_queue_gives_them() -> None:
    marking = {"rate": "10 Mbit/s", "aqm": "fq_codel"}
    assert all(host.ecn for host in planned(network={"gnbs": [{"name": "square", "radio": marking}]}).hosts)
    dropping = marking | {"ecn": "false"}
    assert not any(host.ecn for host in planned(network={"gnbs": [{"name": "square", "radio": dropping}]}).hosts)
