"""What libraries pull ahead, and how long everybody waits before trying again: decided in the plan."""

from typing import Any

import pytest
from builders import planned
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import plan as p
from scenarios.planner import Published, decide
from scenarios.prefetching import MARGIN, ROUND_TRIPS
from scenarios.schema import Scenario

SECOND, MS = 10**9, 10**6
MODELS = {"digits": "sha256:" + "a" * 64, "digits@dark": "sha256:" + "b" * 64, "digits@night": "sha256:" + "c" * 64}
CELLS = {"gnbs": [{"name": "quad"}, {"name": "tunnel"}]}
DARK_IN_THE_TUNNEL = [{"location": "tunnel", "model": "digits@dark"}, {"model": "digits"}]


def plan_of(policy: str = "situations", sizes: dict[str, int] | None = None, **scenario: Any) -> p.Plan:
    document = {
        "name": "made",
        "network": CELLS,
        "duration": "60 s",
        "devices": [{"name": "shuttle", "at": "quad", "route": {"20 s": "tunnel"}}],
        "situations": DARK_IN_THE_TUNNEL,
        "policies": {"prefetch": policy},
        **scenario,
    }
    return decide(Scenario.model_validate(document), 7, Published(MODELS, "", sizes or {}))


def test_nothing_is_pulled_ahead_unless_it_is_asked_for() -> None:
    assert plan_of("none").prefetches == []
    assert planned().policies.prefetch == "none"


def test_the_library_of_the_cell_that_is_moved_to_pulls_what_will_fit_there() -> None:
    assert [(entry.library, entry.model) for entry in plan_of().prefetches] == [("tunnel-edge", "digits@dark")]


def test_the_lead_is_what_pulling_takes_and_a_margin() -> None:
    """From the core: 40 Gbit/s, 5 ms; the region: 10 Gbit/s, 5 ms; the gNB: 10 Gbit/s, 1 ms."""
    [without] = plan_of().prefetches
    [with_size] = plan_of(sizes={"digits@dark": 10**9}).prefetches
    assert 20 * SECOND - without.time_ns == MARGIN + ROUND_TRIPS * 22 * MS
    assert without.time_ns - with_size.time_ns == 8 * 10**9 * SECOND // 10**10


def test_a_payload_is_pulled_ahead_each_time_that_it_is_asked_for() -> None:
    """A device that has one as its application starts without it, and keeps nothing."""
    entries = plan_of(
        payloads={"vgg": {"size": "100 MB"}},
        devices=[{"name": "phone", "at": "quad", "application": "vgg"}],
        situations=[{"time": "20 s..40 s", "model": "vgg"}, {"time": "40 s..", "model": "vgg"}],
    ).prefetches
    lead = MARGIN + ROUND_TRIPS * 22 * MS + 80 * MS  # 100 MB at 10 Gbit/s
    assert [(entry.library, entry.model) for entry in entries] == [("quad-edge", "vgg")] * 2
    assert [entry.time_ns for entry in entries] == [20 * SECOND - lead, 40 * SECOND - lead]


def test_only_what_is_guaranteed_to_the_libraries_slice_is_counted_on() -> None:
    slices = [{"name": "models", "guarantee": "25 %"}, {"name": "default"}]
    devices = [{"name": "shuttle", "at": "quad", "slice": "models", "route": {"20 s": "tunnel"}}]
    [alone], [shared] = (
        plan_of(sizes={"digits@dark": 10**9}, **more).prefetches
        for more in ({}, {"slices": slices, "devices": devices})
    )
    assert alone.time_ns - shared.time_ns == 3 * 8 * 10**9 * SECOND // 10**10


def test_a_crowd_that_needs_a_model_at_a_time_causes_one_prefetch_in_each_cell() -> None:
    devices = [{"name": "a", "count": 9, "at": "quad"}, {"name": "b", "count": 9, "at": "tunnel"}]
    night = [{"time": "30 s..", "model": "digits@night"}, {"model": "digits"}]
    made = plan_of(devices=devices, situations=night).prefetches
    assert [(entry.library, entry.model) for entry in made] == [
        ("quad-edge", "digits@night"),
        ("tunnel-edge", "digits@night"),
    ]


def test_a_model_that_fits_from_the_start_is_pulled_at_the_start_but_not_the_one_that_a_device_is_sold_with() -> None:
    devices = [{"name": "sold", "at": "quad"}, {"name": "dark", "at": "tunnel"}]
    assert plan_of(devices=devices).prefetches == [p.Prefetch(time_ns=0, library="tunnel-edge", model="digits@dark")]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"at": st.sampled_from(["quad", "tunnel"])},
            optional={
                "route": st.dictionaries(
                    st.sampled_from(["10 s", "20 s", "20.5 s", "40 s"]), st.sampled_from(["quad", "tunnel"])
                )
            },
        ),
        min_size=1,
        max_size=3,
    )
)
def test_each_need_is_met_ahead_by_one_prefetch_in_time_order(written: list[dict[str, Any]]) -> None:
    made = plan_of(devices=[{"name": f"d{n}", **device} for n, device in enumerate(written)])
    assert made.prefetches == sorted(made.prefetches, key=lambda entry: (entry.time_ns, entry.library, entry.model))
    assert len(set(made.prefetches)) == len(made.prefetches)
    for device in made.devices:
        models = [device.application, *(need.model for need in device.needs)]
        for before, need in zip(models, device.needs, strict=False):
            gnb = [entry.gnb for entry in device.attachments if entry.time_ns <= need.time_ns][-1]
            ahead = [e for e in made.prefetches if (e.library, e.model) == (f"{gnb}-edge", need.model)]
            assert need.model == before or any(entry.time_ns <= max(0, need.time_ns - MARGIN) for entry in ahead)


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_pauses_grow_and_are_nobody_elses(seed: int) -> None:
    document = {
        "name": "made",
        "network": CELLS,
        "devices": [{"name": "ue", "count": 20, "at": "quad", "deadline": "80 ms"}],
    }
    made = decide(Scenario.model_validate(document), seed, Published(MODELS, ""))
    libraries = [library for library in made.libraries if library.upstream]
    for entry, first in [*((library, SECOND // 10) for library in libraries), *((ue, 80 * MS) for ue in made.devices)]:
        assert len(entry.retry_ns) == 3
        assert all(0 < pause <= first << number for number, pause in enumerate(entry.retry_ns))
    assert len({tuple(entry.retry_ns) for entry in [*libraries, *made.devices]}) == len(libraries) + 20
    assert [library.retry_ns for library in made.libraries if not library.upstream] == [[]]


def test_a_devices_deadline_power_and_class_are_in_the_plan() -> None:
    devices = [
        {"name": "plain", "at": "quad"},
        {"name": "own", "at": "quad", "class": "sensor", "deadline": "80 ms", "power": "5 mW"},
    ]
    plain, own = plan_of(devices=devices, requests={"deadline": "400 ms"}).devices
    assert (plain.deadline_ns, plain.power_w) == (400 * MS, None)
    assert (own.deadline_ns, own.power_w, own.energy_per_mac_j) == (80 * MS, 0.005, 1.5e-9)
