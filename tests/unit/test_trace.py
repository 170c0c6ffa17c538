"""trace.json: what the Trace Event Format asks of a file, so that Perfetto's viewer draws all of it, and what is in it."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import MS, SECOND, folder_of, made_up, town_plan

from insitu.report import reading, trace
from scenarios import records as r

PLAN = town_plan(4, 2)
Json = dict[str, Any]


def trace_of(events: list[r.AnyEvent], folder: Path) -> list[Json]:
    whole = json.loads(trace.to_json(reading.read(folder_of(PLAN, events, folder))))
    found: list[Json] = whole["traceEvents"]
    return found


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    return trace_of(made_up(PLAN), tmp_path_factory.mktemp("trace") / "run")


def of(events: list[Json], *phases: str) -> list[Json]:
    return [event for event in events if event["ph"] in phases]


def names_of(events: list[Json], what: str) -> dict[tuple[int, int], str]:
    return {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == what}


def assert_well_formed(events: list[Json]) -> None:
    assert {event["ph"] for event in events} <= set("MXsftbeiC")
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert min(times) >= 0
    processes = {pid for pid, _ in names_of(events, "process_name")}
    threads = names_of(events, "thread_name")
    assert len(set(threads.values())) == len(threads)
    for event in of(events, *"Xsftbei"):
        assert (event["pid"], event["tid"]) in threads or event["tid"] == 0
    assert {event["pid"] for event in events} <= processes
    assert all(event["dur"] >= 0 for event in of(events, "X"))
    assert all(isinstance(v, int | float) and v >= 0 for event in of(events, "C") for v in event["args"].values())
    assert_slices_nest(events)
    assert_flows_join_slices(events)
    assert_asynchronous_slices_end(events)


def assert_slices_nest(events: list[Json]) -> None:
    """On one track, a slice that begins within another one ends within it: else the viewer drops it."""
    open_: dict[tuple[int, int], list[float]] = defaultdict(list)
    for event in of(events, "X"):
        ends, until = open_[event["pid"], event["tid"]], round(event["ts"] + event["dur"], 3)
        while ends and ends[-1] <= event["ts"]:
            ends.pop()
        assert not ends or until <= ends[-1], event
        ends.append(until)


def assert_flows_join_slices(events: list[Json]) -> None:
    """Each flow begins once and ends once, in this order, always inside a slice of its track."""
    slices: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in of(events, "X"):
        slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    flows: dict[int, str] = defaultdict(str)
    for event in of(events, *"stf"):
        flows[event["id"]] += event["ph"]
        track = slices[event["pid"], event["tid"]]
        assert any(begins <= event["ts"] <= ends for begins, ends in track), event
    assert set(flows.values()) <= {"stf", "sf"}


def assert_asynchronous_slices_end(events: list[Json]) -> None:
    pairs: dict[str, list[Json]] = defaultdict(list)
    for event in of(events, *"be"):
        pairs[event["id"]].append(event)
    for pair in pairs.values():
        assert [event["ph"] for event in pair] == ["b", "e"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_what_may_happen_in_a_run_makes_a_well_formed_trace(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    assert_well_formed(trace_of(made_up(PLAN, seed), tmp_path_factory.mktemp("trace") / "run"))


def test_every_node_has_a_track_and_every_site_a_process(events: list[Json]) -> None:
    tracks = set(names_of(events, "thread_name").values())
    assert {host.name for host in PLAN.hosts} <= tracks
    assert "controller" in tracks
    sites = {switch.name for switch in PLAN.switches if switch.role != "cell"}
    assert set(names_of(events, "process_name").values()) == sites


def test_every_download_is_a_slice_at_its_device_with_its_phases_inside(events: list[Json]) -> None:
    run = made_up(PLAN)
    asked = {e.download: e for e in run if isinstance(e, r.Requested)}
    done = {e.download: e.t for e in run if isinstance(e, r.Completed | r.Failed)}
    threads = names_of(events, "thread_name")
    slices = {e["args"]["download"]: e for e in of(events, "X") if e["cat"] == "download"}
    assert slices.keys() == asked.keys()
    for download, event in slices.items():
        assert threads[event["pid"], event["tid"]] == asked[download].node
        assert event["ts"] == pytest.approx(asked[download].t / 1000)
        assert event["ts"] + event["dur"] == pytest.approx(done[download] / 1000)
    late = {e.download for e in run if isinstance(e, r.Completed) and not e.on_time}
    assert {download for download, e in slices.items() if e["args"]["outcome"] == "late"} == late


def test_a_flow_leads_from_the_device_to_its_library_and_back(events: list[Json]) -> None:
    threads = names_of(events, "thread_name")
    first = [threads[e["pid"], e["tid"]] for e in of(events, *"stf") if e["id"] == 1]
    assert first[0] == first[2]
    assert first[1].endswith("-edge")


def test_two_downloads_of_a_device_at_once_are_on_two_tracks(tmp_path: Path) -> None:
    device, library = PLAN.devices[0].host, PLAN.libraries[-1].host
    both = [
        event
        for n in (0, 1)
        for event in (
            r.Requested(SECOND + n * MS, device, f"d{n}", "digits", library, SECOND),
            r.Completed(SECOND + 9 * MS + n * MS, device, f"d{n}", "digits", "d1w1b1", 10, 9 * MS, True),
        )
    ]
    events = trace_of([r.Started(0, "machine"), *sorted(both, key=lambda e: e.t)], tmp_path / "run")
    assert_well_formed(events)
    threads = names_of(events, "thread_name")
    used = [threads[e["pid"], e["tid"]] for e in of(events, "X") if e["cat"] == "download"]
    assert used == [device, f"{device} (2)"]


def test_handovers_faults_and_changes_of_situation_are_instants(events: list[Json]) -> None:
    names = {event["name"] for event in of(events, "i")}
    assert {
        "link e0-link fails",
        "link e0-link comes back",
        "situation: digits@rain",
        "situation: digits@night",
    } <= names
    assert any(name.startswith("handover to ") for name in names)


def test_counters_are_what_the_links_carried(events: list[Json]) -> None:
    sent = sum(e.bytes for e in made_up(PLAN) if isinstance(e, r.LinkUse))
    shown = sum(event["args"]["Mbit/s"] for event in of(events, "C"))
    assert shown * 1e6 / 8 * PLAN.sample_interval_ns / SECOND == pytest.approx(sent, rel=1e-3)
