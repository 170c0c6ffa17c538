"""The summary: the figures of events that were made by hand, and the same from the table."""

from pathlib import Path
from typing import Any

import pytest
from builders import planned

from insitu import table
from insitu.summary import Summary, summarise
from scenarios import recording
from scenarios import records as r
from scenarios.figures import flat

MS = 1_000_000
SECOND = 1000 * MS
PLAN = planned(
    duration="2 s",
    slices=[{"name": "models", "guarantee": "40 %"}, {"name": "default"}],
    devices=[{"name": "phone", "count": 2, "at": "square", "slice": "models"}],
)
RADIO = next(link for link in PLAN.links if link.name == "square-radio")


ASKED = r.Requested(SECOND, "phone1", "phone1-0", "digits", "square-edge", SECOND)


def completed(number: int, latency_ms: float, on_time: bool, size: int = 1000) -> r.Completed:
    return r.Completed(
        SECOND, "phone1", f"phone1-{number}", "digits", "d1w1b1", size, round(latency_ms * MS), on_time, 0.9
    )


def chosen(number: int, session: str) -> r.Chosen:
    return r.Chosen(SECOND, "square-edge", f"phone1-{number}", "d1w1b1", 1000, session, "")


def session(name: str, decision: Any, slice_name: str = "models") -> r.Session:
    return r.Session(SECOND, "nef", name, slice_name, "phone1", 8000, 4000, decision)


def summary(*events: r.Event) -> Summary:
    return summarise(PLAN, events, None, wall_s=1.239)


EVENTS = [
    r.Started(0, "machine"),
    *(r.Requested(SECOND, "phone1", f"phone1-{n}", "digits", "square-edge", SECOND) for n in range(6)),
    *(completed(n, latency, latency <= 40) for n, latency in enumerate([10, 20, 30, 40, 50.5])),
    r.Failed(SECOND, "phone1", "phone1-5", "digits", "no tier has it"),
    r.Inference(SECOND, "phone1", "digits", "d1w1b1", "digits", True),
    r.Inference(SECOND, "phone1", "digits", "d1w1b1", "digits", True),
    r.Inference(SECOND, "phone1", "digits", "d1w1b1", "digits@night", False),
    r.Swapped(SECOND, "phone1", "phone1-0", "digits@night", "d1w1b1", 0.5, 0.9),
    r.Swapped(SECOND, "phone2", "phone2-0", "digits@night", "d1w1b1", 0.7, 1.0),
]


def test_a_run_in_which_nothing_happened_has_all_its_figures() -> None:
    made = summary()
    assert made["downloads"] == {
        "requested": 0,
        "completed": 0,
        "failed": 0,
        "on_time": 0,
        "on_time_share": None,
        "late": 0,
        "better_on_time": 0,
        "accuracy_on_time": None,
        "cut": 0,
        "resumed": 0,
        "rolled_back": 0,
        "bytes": 0,
        "latency_ms": {"p50": None, "p95": None, "p99": None, "max": None},
    }
    assert made["accuracy"] == {"mean": None, "before": None, "after": None}
    assert set(made["slices"]) == {"models", "default"}


def test_what_identifies_the_run_is_said() -> None:
    made = summary(*EVENTS)
    assert (made["scenario"], made["seed"]) == ("made", 7)
    assert made["time_s"] == {"virtual": 2.0, "wall": 1.24}
    assert made["digest"] == recording.digest(EVENTS)
    assert made["verdict"]["status"] == "INVALID"  # no process has left a trace


def test_a_part_that_was_loaded_in_time_is_a_better_model_in_time_though_the_whole_is_late() -> None:
    parts = [r.Runnable(0, "phone1", "phone1-1", "digits", part, 10, 5, True) for part in ("d1w1b1", "d1w2b1")]
    late = r.Runnable(0, "phone1", "phone1-2", "digits", "d1w1b1", 10, 5, False)
    cut = r.Cut(0, "edge", "phone1-1", "d3w4b3", "d1w2b1", 100, 10, "the channel was slow")
    made = summary(*parts, completed(1, 100, False), cut, late, completed(2, 90, False))["downloads"]
    assert (made["on_time"], made["better_on_time"], made["cut"]) == (0, 1, 1)


def test_downloads_are_counted_and_their_latencies_ordered() -> None:
    assert summary(*EVENTS)["downloads"] == {
        "requested": 6,
        "completed": 5,
        "failed": 1,
        "on_time": 4,
        "on_time_share": 0.6667,
        "late": 2,
        "better_on_time": 4,
        "accuracy_on_time": 0.6,
        "cut": 0,
        "resumed": 0,
        "rolled_back": 0,
        "bytes": 5000,
        "latency_ms": {"p50": 30.0, "p95": 48.4, "p99": 50.08, "max": 50.5},
    }


def test_accuracy_is_that_of_all_inferences_and_of_both_sides_of_the_swaps() -> None:
    assert summary(*EVENTS)["accuracy"] == {"mean": 0.6667, "before": 0.6, "after": 0.95}


def test_sessions_are_counted_by_slice_and_decision() -> None:
    decisions = ["granted", "granted", "reduced", "refused"]
    made = summary(
        *(session(f"s{n}", decision) for n, decision in enumerate(decisions)), session("d", "granted", "default")
    )
    after = {"changed": 0, "lost": 0, "violations": 0}
    assert made["slices"]["models"] == {"sessions": 4, "granted": 2, "reduced": 1, "refused": 1, **after}
    assert made["slices"]["default"] == {"sessions": 1, "granted": 1, "reduced": 0, "refused": 0, **after}


@pytest.mark.parametrize(
    ("decision", "on_time", "violations"),
    [("granted", False, 1), ("granted", True, 0), ("reduced", False, 0), ("refused", False, 0)],
)
def test_a_violation_is_a_late_download_whose_session_was_granted_in_full(
    decision: str, on_time: bool, violations: int
) -> None:
    made = summary(ASKED, session("s0", decision), chosen(0, "s0"), completed(0, 1, on_time))
    assert made["slices"]["models"]["violations"] == violations
    assert made["slices"]["default"]["violations"] == 0


@pytest.mark.parametrize(
    ("granted_bps", "cause", "changed", "violations"),
    [(0, "POLICY", 1, 0), (10**12, "HANDOVER", 1, 1), (10**12, "EXTENDED", 0, 1)],
)
def test_a_session_that_got_less_while_it_lasted_promises_nothing(
    granted_bps: int, cause: str, changed: int, violations: int
) -> None:
    change = r.SessionChanged(1, "nef", "s0", "models", granted_bps, "", cause)
    made = summary(ASKED, session("s0", "granted"), change, chosen(0, "s0"), completed(0, 1, False))["slices"]["models"]
    assert (made["changed"], made["violations"]) == (changed, violations)


@pytest.mark.parametrize(("cause", "lost"), [("NETWORK_TERMINATED", 1), ("DELETE_REQUESTED", 0)])
def test_a_session_that_the_network_ended_is_lost(cause: str, lost: int) -> None:
    ended = r.SessionEnded(2, "nef", "s0", "models", cause)
    made = summary(ASKED, session("s0", "granted"), chosen(0, "s0"), ended, completed(0, 1, False))["slices"]["models"]
    assert (made["lost"], made["violations"]) == (lost, 1 - lost)


def test_a_late_download_without_a_session_violates_nothing() -> None:
    made = summary(
        ASKED, session("s0", "granted"), chosen(0, "s0"), chosen(1, ""), completed(0, 1, True), completed(1, 9, False)
    )
    assert made["slices"]["models"]["violations"] == 0


def test_a_links_use_is_of_its_busier_direction_and_its_drops_are_of_both() -> None:
    down, up = "square", "square-cell"
    made = summary(
        *(r.LinkUse(n, down, RADIO.name, size) for n, size in enumerate([1_000_000, 3_000_000])),
        *(r.LinkUse(n, up, RADIO.name, 1_900_000) for n in range(2)),
        *(r.LinkTotal(9, node, RADIO.name, name, 9, 2) for node in (down, up) for name in ("models", "default")),
    )
    assert made["links"]["square-radio"] == {
        "rate_bps": 1e9,
        "mean_bps": 4_000_000 * 8 / 2,  # in 2 s
        "peak_bps": 3_000_000 * 8 / 0.1,  # in one sample
        "dropped": 8,
    }
    assert made["links"]["square-link"] == {"rate_bps": 1e10, "mean_bps": 0.0, "peak_bps": 0.0, "dropped": 0}


def test_links_are_all_but_the_devices_own() -> None:
    names = {link.name for link in PLAN.links} - {"phone1-link", "phone2-link"}
    assert set(summary()["links"]) == names


def test_captures_are_shown_with_what_they_lack() -> None:
    whole = r.Captured(9, "machine", "square-radio", 1234, 0, -1, 17 * SECOND)
    cut = r.Captured(9, "machine", "central", 50, 3, SECOND + SECOND // 2, 17 * SECOND)
    assert summary(whole, cut)["captures"] == {
        "square-radio": {
            "file": "captures/square-radio.pcap",
            "packets": 1234,
            "dropped": 0,
            "cut_at_s": None,
            "origin_ns": 17 * SECOND,
        },
        "central": {
            "file": "captures/central.pcap",
            "packets": 50,
            "dropped": 3,
            "cut_at_s": 1.5,
            "origin_ns": 17 * SECOND,
        },
    }
    assert summary()["captures"] == {}


def test_fidelity_stands_in_the_summary_as_the_verdict_has_it() -> None:
    events = [r.Lost(9, "square", "s3-eth1", 2), r.Lost(9, "machine", "backlog", 1)]
    assert summary(*events)["fidelity"] == {"unplanned_drops": {"count": 3, "limit": 0}}


def test_every_figure_is_there() -> None:
    without_value = {name for name, value in flat(summary(*EVENTS)).items() if value is None}
    assert without_value == {
        *(f"libraries.{tier}.hit_share" for tier in ("edge", "local", "central")),  # none was asked for anything
        *(f"handovers.interruption_ms.{of}" for of in ("p50", "max")),  # nothing moved
    }


def test_accuracy_on_time_is_that_of_the_best_part_in_time_and_0_where_there_is_none() -> None:
    """One download has two parts in time and the whole late, one the whole in time, one all late, one nothing."""
    asked = [r.Requested(0, "phone1", f"phone1-{n}", "digits", "square-edge", SECOND) for n in range(4)]
    parts = [r.Runnable(0, "phone1", "phone1-0", "digits", "part", 10, 5, True, worth) for worth in (0.5, 0.7)]
    made = summary(*asked, *parts, completed(0, 9, False), completed(1, 5, True), completed(2, 9, False))["downloads"]
    assert made["accuracy_on_time"] == 0.4  # (0.7 + 0.9 + 0 + 0) / 4
    assert (made["late"], made["on_time_share"]) == (3, 0.25)


def test_a_librarys_hits_and_bytes_are_those_of_its_tier() -> None:
    served = [("square-edge", 100, True), ("square-edge", 50, False), ("region-local", 50, True), ("central", 7, True)]
    made = summary(
        *(r.Served(0, host, "sha256:x", size, hit) for host, size, hit in served),
        r.Pulled(0, "square-edge", "sha256:x", 50, "region-local"),
    )["libraries"]
    assert made["edge"] == {"hits": 1, "misses": 1, "hit_share": 0.5, "bytes_served": 150, "bytes_pulled": 50}
    assert made["local"] == {"hits": 1, "misses": 0, "hit_share": 1.0, "bytes_served": 50, "bytes_pulled": 0}
    assert made["central"]["bytes_served"] == 7


def test_the_summary_of_the_tables_events_is_the_same(tmp_path: Path) -> None:
    table.write(EVENTS, tmp_path / "events.parquet")
    assert summary(*table.read(tmp_path / "events.parquet")) == summary(*EVENTS)


def test_an_interruption_ends_when_the_port_is_there_and_packets_are_led_to_it() -> None:
    """One that was prepared; one that was led while the port moved, and one later; one that nobody followed."""
    events = [
        r.Rerouted(SECOND - 2 * MS, "controller", "phone1", "b-cell", 4),
        r.Handover(SECOND, "phone1", "b-cell", True, 1 * MS),
        r.Rerouted(2 * SECOND - 1 * MS, "controller", "phone1", "a-cell", 4),
        r.Handover(2 * SECOND, "phone1", "a-cell", False, 2 * MS),
        r.Handover(2 * SECOND, "phone2", "b-cell", False, 1 * MS),
        r.Rerouted(2 * SECOND + 4 * MS, "controller", "phone2", "b-cell", 4),
        r.Handover(3 * SECOND, "phone2", "a-cell", False, 1 * MS),
        r.Rerouted(4 * SECOND, "controller", "phone2", "b-cell", 4),
        r.Handover(4 * SECOND + 1 * MS, "phone2", "b-cell", True, 1 * MS),
    ]
    made = summary(*events)["handovers"]
    assert made == {"count": 5, "prepared": 2, "unmeasured": 1, "interruption_ms": {"p50": 1.5, "max": 5.0}}
    assert summary()["handovers"]["interruption_ms"] == {"p50": None, "max": None}


def test_a_session_that_was_granted_after_the_deadline_promises_nothing() -> None:
    late = r.Session(2 * SECOND, "nef", "s0", "models", "phone1", 8000, 8000, "granted")
    assert summary(ASKED, late, chosen(0, "s0"), completed(0, 9, False))["slices"]["models"]["violations"] == 0
