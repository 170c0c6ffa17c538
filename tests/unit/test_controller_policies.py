"""Slicing policies: each keeps its promise, none gives away what is not there, and what is wrong with one is said."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policies import cost, slicing
from controller.policies.admission import max_min
from controller.policies.checking import PolicyError, decide
from controller.policies.view import (
    Decision,
    Flow,
    Grant,
    LinkView,
    Running,
    SliceView,
    View,
    from_json,
    taken,
    to_json,
)
from controller.session import Candidate, Request

BUILT_IN = ["none", "static", "deadline", "fair", "joint"]
MBIT = 1_000_000
BACKBONE, CELLS = ("core-link", 0), [("quad-radio", 1), ("tunnel-radio", 1)]
BACK = [("quad-radio", 0), ("tunnel-radio", 0)]


def flow(number: int, cell: int, candidates: list[tuple[int, float]], down: int = 0, up: int = 0) -> Flow:
    """A download to a cell; each candidate has a rate in Mbit/s and an accuracy, and takes a second at its rate."""
    found = tuple(
        Candidate(f"v{place}", rate * MBIT // 8, accuracy, rate * MBIT)
        for place, (rate, accuracy) in enumerate(candidates)
    )
    wanted = (down or max((rate for rate, _ in candidates), default=0)) * MBIT
    request = Request(
        f"id{number}",
        f"phone{number}",
        "edge",
        "models",
        "QOS_E",
        wanted,
        up * MBIT,
        1_000_000_000,
        download=f"download{number}" if candidates else "",
        deadline_ns=1_000_000_000,
        candidates=found,
    )
    return Flow(request, (BACKBONE, CELLS[cell]), (BACK[cell],))


def view(waiting: list[Flow], running: list[Flow] = [], cells: tuple[int, int] = (10, 10), core: int = 100) -> View:  # noqa: B006
    """What sessions may have of each link, in Mbit/s: three quarters of a guarantee that is half of the link."""
    capacities = {BACKBONE: core, CELLS[0]: cells[0], CELLS[1]: cells[1], BACK[0]: 10, BACK[1]: 10}
    links = {direction: LinkView(rate * MBIT * 8 // 3 + 8) for direction, rate in capacities.items()}
    return View(0, links, {"models": SliceView(0.5)}, tuple(waiting), tuple(running))


def rates(name: str, seen: View) -> dict[str, int]:
    return {id: grant.down_bps // MBIT for id, grant in decide(slicing(name), seen).grants.items()}


@st.composite
def flows(draw: st.DrawFn, most: int = 12) -> list[Flow]:
    offered = st.lists(st.tuples(st.integers(1, 12), st.floats(0.1, 1)), min_size=1, max_size=5)
    kinds = st.tuples(st.integers(0, 1), offered, st.integers(0, 1))
    return [
        flow(number, cell, candidates, up=up)
        for number, (cell, candidates, up) in enumerate(draw(st.lists(kinds, max_size=most)))
    ]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Some wait; those that run have what a policy gave them."""
    everybody, waiting = draw(flows()), []
    capacity = st.integers(1, 40)
    seen = view(everybody, cells=(draw(capacity), draw(capacity)), core=draw(capacity))
    granted = decide(slicing(draw(st.sampled_from(BUILT_IN))), seen).grants
    running = []
    for number, entry in enumerate(everybody):
        grant = granted[entry.request.id]
        if grant.down_bps and number % 2:
            running.append(Flow(entry.request, entry.path, entry.back, grant.down_bps, grant.variant, grant.shared))
        else:
            waiting.append(entry)
    now = draw(st.integers(0, 1_200_000_000))
    return View(now, seen.links, seen.slices, tuple(waiting), tuple(running))


@settings(deadline=None)
@pytest.mark.parametrize("name", BUILT_IN)
@given(seen=views())
def test_no_policy_decides_the_impossible_and_each_decides_the_same_again(name: str, seen: View) -> None:
    decision = decide(slicing(name), seen)
    assert decision == decide(slicing(name), from_json(to_json(seen)))
    assert {entry.request.id for entry in seen.waiting} <= decision.grants.keys()
    after: dict[object, int] = {}
    before: dict[object, int] = {}
    for entry in (*seen.waiting, *seen.running):
        grant = decision.grants.get(entry.request.id, Grant(entry.down_bps, shared=entry.shared))
        for sums, rate in (
            (after, 0 if grant.shared else grant.down_bps),
            (before, 0 if entry.shared else entry.down_bps),
        ):
            for part, takes in taken(entry, rate) if rate else []:
                sums[part] = sums.get(part, 0) + takes
    for part, rate in after.items():
        assert rate <= max(seen.reservable_bps(part), before.get(part, 0))  # type: ignore[arg-type]


def test_none_refuses_everybody() -> None:
    assert rates("none", view([flow(0, 0, [(1, 0.5)])])) == {"id0": 0}


def test_static_tells_everybody_the_whole_guarantee_and_reserves_nothing() -> None:
    decision = decide(slicing("static"), view([flow(n, 0, [(1, 0.5)]) for n in range(3)], cells=(9, 9)))
    assert decision.grants == {f"id{n}": Grant(12 * MBIT + 4, shared=True) for n in range(3)}


@pytest.mark.parametrize("name", ["deadline", "fair", "joint"])
def test_a_quarter_of_a_guarantee_stays_with_those_who_have_no_session_whatever_the_policy(name: str) -> None:
    seen = view([flow(n, 0, [(1, 0.5), (4, 0.9)]) for n in range(40)], cells=(9, 9))
    part = (CELLS[0], "models")
    assert seen.guaranteed_bps(part) == 12 * MBIT + 4
    given = sum(grant.down_bps for grant in decide(slicing(name), seen).grants.values())
    assert 0.95 * 9 * MBIT <= given <= 9 * MBIT + 3


def test_deadline_gives_what_is_asked_for_until_nothing_is_left() -> None:
    assert rates("deadline", view([flow(n, 0, [(4, 0.5)]) for n in range(4)])) == {
        "id0": 4,
        "id1": 4,
        "id2": 2,
        "id3": 0,
    }


def test_deadline_leaves_room_for_what_devices_send() -> None:
    assert rates("deadline", view([flow(n, 0, [(1, 0.5)], up=6) for n in range(2)])) == {"id0": 1, "id1": 0}


def test_fair_shares_what_the_modest_leave_and_what_other_links_do_not_let_through() -> None:
    waiting = [flow(0, 0, [], down=1), flow(1, 0, [], down=9), flow(2, 0, [], down=9), flow(3, 1, [], down=9)]
    assert rates("fair", view(waiting, core=13)) == {"id0": 1, "id1": 4, "id2": 4, "id3": 4}
    assert rates("fair", view(waiting, cells=(5, 10), core=12)) == {"id0": 1, "id1": 2, "id2": 2, "id3": 7}


def test_fair_takes_from_those_that_run() -> None:
    first = flow(0, 0, [], down=9)
    running = Flow(first.request, first.path, first.back, down_bps=9 * MBIT)
    assert rates("fair", view([flow(1, 0, [], down=9)], [running])) == {"id0": 5, "id1": 5}


@settings(deadline=None)
@given(flows())
def test_no_fair_rate_can_grow_without_one_that_is_not_higher_shrinking(waiting: list[Flow]) -> None:
    """The definition of max-min fairness: each flow has all that it asked for, or crosses a full link on which nobody has more."""
    seen = view(waiting, cells=(7, 13), core=11)
    found = max_min(seen, waiting)
    for entry in waiting:
        rate = found[entry.request.id]
        full = []
        for direction in entry.path:
            there = [found[other.request.id] for other in waiting if direction in other.path]
            left = seen.reservable_bps((direction, "models")) - sum(there)
            full.append(left < len(there) and max(there) <= rate + len(there))
        assert rate == entry.request.down_bps or any(full)


def test_joint_gives_everybody_less_rather_than_somebody_everything() -> None:
    offered = [(3, 0.80), (9, 0.95)]
    decision = decide(slicing("joint"), view([flow(n, 0, offered) for n in range(3)]))
    assert sorted(grant.variant for grant in decision.grants.values()) == ["v0", "v0", "v0"]
    assert [grant.variant for grant in decide(slicing("joint"), view([flow(0, 0, offered)])).grants.values()] == ["v1"]


def test_joint_takes_from_one_that_runs_what_is_worth_more_to_others_and_nothing_else() -> None:
    first = flow(0, 0, [(3, 0.80), (9, 0.95)])
    running = Flow(first.request, first.path, first.back, down_bps=9 * MBIT, variant="v1")
    waiting = [flow(1, 0, [(3, 0.80)]), flow(2, 0, [(3, 0.80)])]
    assert rates("joint", view(waiting, [running])) == {"id0": 3, "id1": 3, "id2": 3}
    assert rates("joint", view([flow(1, 1, [(3, 0.80)])], [running])) == {"id1": 3}


def test_joint_counts_what_has_arrived_of_a_download() -> None:
    """Half of the better variant is there after half of the time, and all of the lesser one: that needs nothing any more."""
    first = flow(0, 0, [(3, 0.80), (9, 0.95)])
    running = Flow(first.request, first.path, first.back, down_bps=9 * MBIT, variant="v1")
    for worth, granted in ((0.1, {"id1": 0}), (0.2, {"id0": 0, "id1": 10})):
        seen = view([flow(1, 0, [(10, worth)])], [running])
        halfway = View(500_000_000, seen.links, seen.slices, seen.waiting, seen.running)
        assert rates("joint", halfway) == granted


def test_joint_reserves_for_sessions_that_are_no_downloads_first() -> None:
    waiting = [flow(0, 0, [(9, 0.9)]), flow(1, 0, [], down=5), flow(2, 0, [], down=8)]
    assert rates("joint", view(waiting)) == {"id0": 0, "id1": 5, "id2": 0}


class Deciding:
    """A policy that decides what it is told."""

    def __init__(self, decision: object) -> None:
        self._decision = decision

    def decide(self, view: View) -> Decision:
        if isinstance(self._decision, Exception):
            raise self._decision
        return self._decision  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (ZeroDivisionError("by zero"), "raises ZeroDivisionError: by zero"),
        (None, "decides NoneType, which is no Decision"),
        (Decision({"id7": Grant(1)}), 'grants "id7", which neither waits nor runs'),
        (Decision({"id0": Grant(-1)}), "download0 for phone0: is granted -1 bit/s"),
        (Decision({"id0": Grant(0.5)}), "download0 for phone0: a rate is a whole number of bit/s, not 0.5"),  # type: ignore[arg-type]
        (Decision({"id0": 5}), "download0 for phone0: is given int, which is no Grant"),  # type: ignore[dict-item]
        (
            Decision({"id0": Grant(MBIT, "v9")}),
            'download0 for phone0: is granted the variant "v9", which is not among its candidates (v0)',
        ),
        (
            Decision({"id0": Grant(11 * MBIT)}),
            "grants 11 Mbit/s of slice models on quad-radio (end 1), which has 10 Mbit/s for sessions there",
        ),
        (
            Decision({"id0": Grant(14 * MBIT, shared=True)}),
            "download0 for phone0: is told 14 Mbit/s, where slice models has 13.33 Mbit/s",
        ),
        (Decision({"id1": Grant(0)}), "download1 for phone1: is granted 0 bit/s; one that runs cannot be refused"),
    ],
)
def test_what_cannot_be_is_refused_with_the_view_that_made_it_so(decision: object, why: str, tmp_path: Path) -> None:
    second = flow(1, 1, [(1, 0.5)])
    seen = view([flow(0, 0, [(1, 0.5)])], [Flow(second.request, second.path, second.back, MBIT)])
    with pytest.raises(PolicyError) as caught:
        decide(Deciding(decision), seen)
    assert str(caught.value) == f"policy Deciding: {why}"
    assert from_json(caught.value.save(tmp_path).read_bytes()) == seen


def test_one_that_is_not_named_is_refused_and_a_link_that_became_slower_stays_as_it_is() -> None:
    first = flow(0, 0, [(1, 0.5)])
    seen = view([flow(1, 0, [(1, 0.5)])], [Flow(first.request, first.path, first.back, 20 * MBIT)])
    assert decide(Deciding(Decision()), seen).grants == {"id1": Grant(0)}
    with pytest.raises(PolicyError, match="grants 21 Mbit/s"):
        decide(Deciding(Decision({"id1": Grant(MBIT)})), seen)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_decision_is_charged_by_its_downloads_and_links(name: str) -> None:
    one, two = (view([flow(n, 0, [(1, 0.5)]) for n in range(many)]) for many in (1, 2))
    policy = slicing(name)
    figures = policy.cost  # type: ignore[attr-defined]
    assert cost.decision_ns(policy, two) - cost.decision_ns(policy, one) == figures.download_ns
    assert cost.decision_ns(policy, one) == figures.decision_ns + figures.download_ns + 3 * figures.part_ns


@settings(deadline=None)
@given(many=flows(), draw=st.data())
def test_a_view_of_those_that_run_is_the_one_that_is_counted_anew(many: list[Flow], draw: st.DataObject) -> None:
    running, there = Running(), dict[str, Flow]()
    for entry in many * 3:
        id = entry.request.id
        if id in there and draw.draw(st.booleans()):
            running.remove(id)
            del there[id]
        else:
            rate, shared = draw.draw(st.tuples(st.integers(1, 9), st.booleans()))
            there[id] = Flow(entry.request, entry.path, entry.back, rate, shared=shared)
            running.put(there[id])
    again = tuple(entry for entry in many if draw.draw(st.booleans()))
    links = view([]).links
    seen = running.view(5, links, {"models": SliceView(0.5)}, again)
    left = tuple(entry for id, entry in there.items() if id not in {entry.request.id for entry in again})
    assert seen == (counted := View(5, links, {"models": SliceView(0.5)}, again, left))
    assert seen.taken_bps == counted.taken_bps


def test_what_runs_is_charged_to_policies_that_look_at_it() -> None:
    first = flow(0, 0, [(1, 0.5)])
    alone, beside = (view([flow(1, 0, [(1, 0.5)])], [replace(first, down_bps=1)] * many) for many in (0, 5))
    for name in BUILT_IN:
        policy = slicing(name)
        more = cost.decision_ns(policy, beside) - cost.decision_ns(policy, alone)
        looks_at_it = name in ("fair", "joint")
        assert more == (5 * policy.cost.download_ns if looks_at_it else 0)  # type: ignore[attr-defined]


def test_only_joint_needs_scipy() -> None:
    import subprocess

    program = (
        "import sys; from controller.policies import slicing; [slicing(n) for n in {}]; print('scipy' in sys.modules)"
    )
    for names, needed in ((BUILT_IN[:-1], "False"), (BUILT_IN, "True")):
        ran = subprocess.run([sys.executable, "-c", program.format(names)], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == needed
