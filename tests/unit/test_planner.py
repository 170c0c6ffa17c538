"""The plan: complete, consistent, repeatable; and whatever loads can be planned."""

import importlib.util
import json
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios import plan as p
from scenarios.checks import problems
from scenarios.load import ScenarioError, load
from scenarios.planner import Published, decide
from scenarios.schema import Scenario
from scenarios.situations import matching

SOME = settings(max_examples=50, deadline=None)
PUBLISHED = Published({"digits@dark": "b" * 64, "digits": "a" * 64}, held_out="c" * 64)
VARIANTS = dict.fromkeys(PUBLISHED.models, ("d1w1b1", "d3w4b4"))
SECOND = 10**9

LINK = st.fixed_dictionaries(
    {"rate": st.sampled_from(["10 Mbit/s", "9999992 bit/s", "1 Gbit/s", "1000 Gbit/s"])},
    optional={
        "delay": st.sampled_from(["1 ms", "30 ms", "50 s"]),
        "loss": st.sampled_from(["0 %", "0.01 %", "99.9 %"]),
    },
)
SLICE_LISTS = st.sampled_from(
    [
        [],
        [{"name": "video", "guarantee": "30 %", "ceiling": "60 %"}],
        [{"name": "video"}, {"name": "default", "ceiling": "10 %"}],
        [{"name": "video", "guarantee": "33 %"}, {"name": "other"}, {"name": "third", "guarantee": "66 %"}],
        [{"name": "video", "guarantee": "70 %"}, {"name": "default", "guarantee": "30 %"}],
    ]
)
WINDOW = st.sampled_from(["3 s..", "..5 s", "2 s..9 s", "100 s.."])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Scenarios as they are written, all of them right."""
    part = st.fixed_dictionaries({}, optional={"link": LINK})
    cell = st.fixed_dictionaries({}, optional={"link": LINK, "radio": LINK})
    regions, gnbs = [], []
    for r in range(draw(st.integers(1, 3))):
        cells = [{"name": f"g{r}{g}", **draw(cell)} for g in range(draw(st.integers(1, 3)))]
        gnbs += [str(entry["name"]) for entry in cells]
        regions.append({"name": f"r{r}", **draw(part), "gnbs": cells})
    slices = draw(SLICE_LISTS)
    gnb = st.sampled_from(gnbs)
    in_slice = st.sampled_from(["default", *(entry["name"] for entry in slices)])
    group = st.fixed_dictionaries(
        {"at": gnb, "slice": in_slice},
        optional={
            "count": st.integers(1, 4),
            "infer": st.sampled_from(["1000000/s", "3/s", "1/min"]),
            "class": st.sampled_from(["phone", "sensor"]),
            "route": st.dictionaries(st.sampled_from(["7 s", "1 ms", "3 s", "4 s"]), gnb),
        },
    )
    devices = [{"name": f"d{i}", **entry} for i, entry in enumerate(draw(st.lists(group, min_size=1, max_size=4)))]
    some = st.fixed_dictionaries({"model": st.just("digits@dark")}, optional={"location": gnb, "time": WINDOW})
    singles = [d["name"] + "1" if "count" in d else d["name"] for d in devices]
    hosts = ["central", "r0-local", "g00-edge"]
    stream = st.fixed_dictionaries(
        {"from": st.sampled_from([*hosts, *singles]), "to": st.sampled_from([*hosts, *(d["name"] for d in devices)])},
        optional={"during": st.sampled_from(["..5 s", "2 s..", "9 s..90 s"]), "slice": in_slice},
    ).map(lambda entry: {"rate": "8 Mbit/s", **entry})
    return {
        "name": "made",
        "duration": "10 s",
        "network": {"core": draw(LINK), "regions": regions},
        "slices": slices or [{"name": "default"}],
        "devices": devices,
        "situations": [*draw(st.lists(some, max_size=3)), {"model": "digits"}],
        "traffic": [entry for entry in draw(st.lists(stream, max_size=3)) if not to_itself(entry)],
    }


def to_itself(traffic: dict[str, Any]) -> bool:
    return bool(traffic["from"] in (traffic["to"], traffic["to"] + "1"))


def planned(document: dict[str, Any], seed: int = 7) -> p.Plan:
    scenario = Scenario.model_validate(document)
    assert problems(scenario, VARIANTS) == []
    return decide(scenario, seed, PUBLISHED)


PLANS = st.builds(planned, documents(), st.integers(0, 2**63 - 1))


def unique(values: Iterable[Any]) -> bool:
    listed = list(values)
    return len(set(listed)) == len(listed)


def ends(plan: p.Plan) -> list[p.End]:
    return [end for link in plan.links for end in link.ends]


@SOME
@given(documents(), st.integers(0, 2**63 - 1))
def test_same_scenario_and_seed_give_the_same_bytes(document: dict[str, Any], seed: int) -> None:
    assert p.canonical(planned(document, seed)) == p.canonical(planned(deepcopy(document), seed))
    assert p.digest(planned(document, seed)) == p.digest(planned(document, seed))


@SOME
@given(documents(), st.lists(st.integers(0, 2**63 - 1), min_size=2, max_size=2, unique=True))
def test_another_seed_draws_other_numbers(document: dict[str, Any], seeds: list[int]) -> None:
    one, other = (planned(document, seed) for seed in seeds)
    assert p.digest(one) != p.digest(other)
    assert {device.image_seed for device in one.devices}.isdisjoint(device.image_seed for device in other.devices)
    assert {end.seed for end in ends(one)}.isdisjoint(end.seed for end in ends(other))


@SOME
@given(documents())
def test_a_device_group_at_the_end_changes_nothing_before_it(document: dict[str, Any]) -> None:
    more = {**document, "devices": [*document["devices"], {"name": "late", "count": 3, "at": "g00"}]}
    before, after = planned(document), planned(more)
    assert after.devices[: len(before.devices)] == before.devices
    assert after.hosts[: len(before.hosts)] == before.hosts
    assert after.links[: len(before.links)] == before.links
    assert after.flows == before.flows


@SOME
@given(documents())
def test_a_device_group_anywhere_leaves_the_draws_of_the_others(document: dict[str, Any]) -> None:
    more = {**document, "devices": [{"name": "early", "count": 3, "at": "g00"}, *document["devices"]]}
    drawn = [
        {device.host: (device.phase_ns, device.image_seed) for device in planned(written).devices}
        for written in (document, more)
    ]
    assert drawn[0].items() <= drawn[1].items()


@SOME
@given(PLANS)
def test_draws_of_all_entities_differ(plan: p.Plan) -> None:
    assert unique(device.image_seed for device in plan.devices)
    assert unique(end.seed for end in ends(plan))
    assert all(0 <= device.phase_ns < device.infer_interval_ns for device in plan.devices)


@SOME
@given(PLANS)
def test_nodes_links_and_addresses_are_unique(plan: p.Plan) -> None:
    assert unique([*(host.name for host in plan.hosts), *(switch.name for switch in plan.switches)])
    assert unique(link.name for link in plan.links)
    assert unique([*(host.ip for host in plan.hosts), p.GATEWAY[0]])
    assert unique([*(host.mac for host in plan.hosts), p.GATEWAY[1]])
    assert unique(switch.dpid for switch in plan.switches) and all(switch.dpid > 0 for switch in plan.switches)


@SOME
@given(PLANS)
def test_interfaces_fit_the_kernel_and_are_unique_where_they_are(plan: p.Plan) -> None:
    switches = [switch.name for switch in plan.switches]
    shared = [end.interface for end in ends(plan) if end.node in switches]  # switches share one namespace
    assert unique([*switches, *shared, "lo", "ovs-system"])
    assert all(len(name) <= 15 for name in [*switches, *shared])
    assert unique((end.node, end.interface) for end in ends(plan) if end.node not in switches)


@SOME
@given(PLANS)
def test_links_end_at_nodes_and_ports_are_unique_at_a_switch(plan: p.Plan) -> None:
    switches, hosts = {switch.name for switch in plan.switches}, {host.name for host in plan.hosts}
    assert all(end.node in (switches if end.port else hosts) for end in ends(plan))
    first = {(device.attachments[0].cell, device.attachments[0].port) for device in plan.devices}
    fixed = [(end.node, end.port) for end in ends(plan) if end.port]
    assert first <= set(fixed)
    later = [(entry.cell, entry.port) for device in plan.devices for entry in device.attachments[1:]]
    assert unique([*fixed, *later])
    assert all(1 <= port < 0xFF00 for _, port in [*fixed, *later])


@SOME
@given(PLANS)
def test_slices_share_each_link_and_leave_none_out(plan: p.Plan) -> None:
    assert plan.slices[0].name == "default"
    assert [entry.queue for entry in plan.slices] == list(range(len(plan.slices)))
    assert all(0 < entry.guarantee <= entry.ceiling <= 1 for entry in plan.slices)
    assert sum(entry.guarantee for entry in plan.slices) <= 1 + 1e-12
    for end in ends(plan):
        shared = end.port and (len(plan.slices) > 1 or plan.slices[0].ceiling < 1 or plan.policies.slicing != "none")
        every = [(entry.queue, entry.name) for entry in plan.slices]
        assert [(queue.number, queue.slice) for queue in end.queues] == (every if shared else [])
        assert sum(queue.rate_bps for queue in end.queues) <= end.shape.rate_bps
        assert all(0 < queue.rate_bps <= queue.ceiling_bps <= end.shape.rate_bps for queue in end.queues)
        assert all(queue.rate_bps % 8 == queue.ceiling_bps % 8 == 0 for queue in end.queues)


@SOME
@given(documents())
def test_needs_and_attachments_follow_what_was_written(document: dict[str, Any]) -> None:
    scenario, plan = Scenario.model_validate(document), planned(document)
    specs = [spec for spec in scenario.devices for _ in spec.names]
    assert [device.host for device in plan.devices] == [name for spec in scenario.devices for name in spec.names]
    for spec, device in zip(specs, plan.devices, strict=True):
        for changes in (device.needs, device.attachments):
            times = [change.time_ns for change in changes]
            assert times[0] == 0 and times == sorted(set(times)) and times[-1] < plan.duration_ns
        for time in range(0, 10 * SECOND, SECOND // 2):
            gnb = [entry.gnb for entry in device.attachments if entry.time_ns <= time][-1]
            assert gnb == [name for when, name in sorted({0: spec.at, **spec.route}.items()) if when <= time][-1]
            fitting = matching(scenario.situations, spec.application, gnb, time)
            assert fitting and fitting.model == [need.model for need in device.needs if need.time_ns <= time][-1]
        assert all(a.model != b.model for a, b in zip(device.needs, device.needs[1:], strict=False))


@SOME
@given(PLANS)
def test_flows_have_ends_a_time_and_a_port_of_their_own(plan: p.Plan) -> None:
    hosts = {host.name for host in plan.hosts}
    assert unique(flow.port for flow in plan.flows) and unique(flow.name for flow in plan.flows)
    for flow in plan.flows:
        assert {flow.source, flow.destination} <= hosts and flow.source != flow.destination
        assert 0 <= flow.start_ns < flow.end_ns <= plan.duration_ns
        assert flow.queue < len(plan.slices) and 1024 < flow.port < 2**16


def test_a_flow_ends_with_the_run() -> None:
    stream = {"from": "central", "to": "ue", "rate": "8 Mbit/s", "during": "9 s..90 s"}
    assert [(flow.start_ns, flow.end_ns) for flow in hello(traffic=[stream]).flows] == [(9 * SECOND, 10 * SECOND)]


@SOME
@given(PLANS)
def test_libraries_stand_at_hosts_and_pull_from_above(plan: p.Plan) -> None:
    roles = {host.name: host.role for host in plan.hosts}
    tiers = {library.host: library.tier for library in plan.libraries}
    assert tiers == {name: role for name, role in roles.items() if role in ("central", "local", "edge")}
    for library in plan.libraries:
        above = {"edge": ["local", "central"], "local": ["central"], "central": []}[library.tier]
        assert [tiers[host] for host in library.upstream] == above


@SOME
@given(PLANS)
def test_a_plan_reads_back(plan: p.Plan) -> None:
    assert p.parse(p.canonical(plan)) == plan


def hello(**changes: Any) -> p.Plan:
    document = {"name": "hello", "network": {"gnbs": [{"name": "g00"}]}, "devices": [{"name": "ue", "at": "g00"}]}
    return planned(document | changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data | {"format": p.FORMAT + 1},
        lambda data: data | {"surprise": 1},
        lambda data: {key: part for key, part in data.items() if key != "seed"},
        lambda data: data | {"seed": "7"},
    ],
)
def test_what_is_no_plan_is_refused(spoil: Any) -> None:
    data = json.loads(p.canonical(hello()))
    with pytest.raises(msgspec.ValidationError):
        p.parse(json.dumps(spoil(data)).encode())


def test_schema_is_one_and_says_what_a_plan_has() -> None:
    schema = p.schema()
    assert schema["$ref"] == "#/$defs/Plan"
    assert set(schema["$defs"]["Plan"]["required"]) == set(json.loads(p.canonical(hello())))


@pytest.mark.skipif(importlib.util.find_spec("jsonschema") is None, reason="jsonschema is not installed")
@SOME
@given(plan=PLANS)
def test_a_plan_satisfies_its_schema(plan: p.Plan) -> None:
    jsonschema = importlib.import_module("jsonschema")
    validator = jsonschema.Draft202012Validator(p.schema())
    data = json.loads(p.canonical(plan))
    jsonschema.Draft202012Validator.check_schema(p.schema())
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors(data | {"seed": "7"}))


def test_the_most_devices_that_are_allowed_are_planned() -> None:
    plan = hello(devices=[{"name": "ue", "count": 2000, "at": "g00"}])
    assert len(plan.devices) == 2000
    assert unique(host.ip for host in plan.hosts) and unique(end.interface for end in ends(plan) if end.port)
    assert max(len(end.interface) for end in ends(plan)) <= 15


def test_the_smallest_and_largest_that_is_allowed_is_planned() -> None:
    slowest, longest = {"rate": "8 kbit/s"}, {"rate": "1000 Gbit/s", "delay": "50 s"}
    gnbs = [{"name": "a", "link": longest, "radio": longest}, {"name": "b", "link": slowest, "radio": slowest}]
    network = {"core": longest, "regions": [{"name": "r", "link": longest, "gnbs": gnbs}]}
    devices = [{"name": "x", "at": "a", "infer": "1000000/s"}, {"name": "y", "at": "b", "infer": "0.01/min"}]
    plan = hello(duration="1000 h", network=network, devices=devices)
    assert [device.infer_interval_ns for device in plan.devices] == [1000, 6000 * SECOND]
    assert p.parse(p.canonical(plan)) == plan


# What a file can hold in the place of anything else.
JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 10**20),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["5 s", "0 s", "40 %", "1 Gbit/s", "10/s", "1 MB", "3 s..", "g00", "digits", "default"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "rate", "at", "5 s"]), inner),
    max_leaves=5,
)


def places(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A right scenario of which some things were deleted, replaced, added, repeated or exchanged."""
    document = deepcopy(draw(documents()))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from([place for place in places(document) if place] or [("name",)]))
        part: Any = document
        for step in path:
            part = part[step]
        slip = draw(st.sampled_from(["delete", "replace", "add", "repeat", "exchange"]))
        if slip == "delete":
            part.pop(last, None) if isinstance(part, dict) else part.pop(last)
        elif slip == "replace":
            part[last] = draw(JUNK)
        elif slip == "exchange":
            other = draw(st.sampled_from(places(document)))
            value: Any = document
            for step in other:
                value = value[step]
            part[last] = deepcopy(value)
        elif isinstance(part, list):
            part.append(draw(JUNK) if slip == "add" else deepcopy(part[last]))
        else:
            part[draw(st.text(max_size=4))] = draw(JUNK)
    return document


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(), st.booleans())
def test_whatever_loads_can_be_planned(tmp_path: Path, document: dict[str, Any], known: bool) -> None:
    file = tmp_path / "it.yaml"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    try:
        scenario = load(file, models=VARIANTS if known else None)
    except ScenarioError as error:
        assert error.problems
        assert all(str(problem).isprintable() and str(problem).startswith(f"{file}") for problem in error.problems)
    else:
        plan = decide(scenario, 7, PUBLISHED)
        assert p.parse(p.canonical(plan)) == plan
        assert all(0 < queue.rate_bps <= queue.ceiling_bps for end in ends(plan) for queue in end.queues)
        assert unique(host.name for host in plan.hosts)
