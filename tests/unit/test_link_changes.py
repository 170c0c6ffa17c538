"""Links that get another rate while sessions are on them: what sessions have fits what there is, and comes back when it can."""

import os
from pathlib import Path

import pytest
from builders import Notes, planned
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sessions_engine import LASTS_NS, Kernel, Table

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")
from os_ken.lib import hub

from controller.classes import Classes
from controller.paths import Paths
from controller.policies import slicing
from controller.policies.view import RESERVABLE
from controller.session import Ports, Request, Session
from controller.sessions import NETWORK, Refused, Sessions
from controller.slices import queue_of
from linux import qdisc, tree
from linux.netlink import Message, attributes
from scenarios import records

MBPS = 1_000_000
RATES = [100, 40, 10, 80]  # Mbit/s, at the start and after each change
SHARE = 0.4  # of the slice
PLAN = planned(
    network={"gnbs": [{"name": "a", "radio": {"rate": f"{RATES[0]} Mbit/s"}}]},
    slices=[{"name": "models", "guarantee": f"{100 * SHARE:g} %"}, {"name": "default"}],
    devices=[{"name": "phone", "count": 6, "at": "a"}],
    dynamics=[
        {"link": "a-radio", "towards": "down", "at": f"{number} s", "rate": f"{rate} Mbit/s"}
        for number, rate in enumerate(RATES[1:], 1)
    ],
    duration="5 s",
)  # fmt: skip
RADIO = ("a-radio", PLAN.changes[0].end)


class Rates(Kernel):
    """Keeps classes' rates and ceilings too, by interface index and queue, bit/s."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: dict[tuple[int, int], tuple[int, int]] = {}

    def request(self, messages: list[Message]) -> None:
        super().request(messages)
        for message in messages:
            if message.kind == tree.RTM_NEWTCLASS:
                _, index, handle, _, _ = tree._TC.unpack_from(message.body)
                setting = qdisc.HtbClass.decode(attributes(message.body[tree._TC.size :])[2])
                self.rates[index, (handle & 0xFFFF) - 1] = (8 * setting.rate, 8 * setting.ceiling)


class World:
    """An engine over a kernel in memory."""

    def __init__(self, policy: str = "deadline") -> None:
        self.kernel, self.notes, indices = Rates(), Notes(), dict[str, int]()
        classes = Classes(PLAN, self.kernel, lambda name: indices.setdefault(name, len(indices) + 1))
        paths, made = Paths(PLAN), slicing(policy)
        self.engine = Sessions(PLAN, paths, made, Table(), classes, self.notes, hub, Path("/nonexistent"))  # type: ignore[arg-type]
        end = next(link for link in PLAN.links if link.name == RADIO[0]).ends[RADIO[1]]
        self.radio = indices.setdefault(end.interface, len(indices) + 1)
        self.rate_bps = RATES[0] * MBPS

    def create(self, device: str, rate: int) -> Session:
        id, port = self.engine.new_id(), (Ports(5000, 5000),)
        return self.engine.create(Request(id, device, "a-edge", "models", "", rate, 8_000, LASTS_NS, server_ports=port))

    def change(self, number: int) -> None:
        self.engine.reshape(PLAN.changes[number])
        self.rate_bps = PLAN.changes[number].shape.rate_bps

    @property
    def most_bps(self) -> int:
        return int(int(self.rate_bps * SHARE) * RESERVABLE)


def test_what_cannot_be_carried_is_reduced_or_ends_and_what_can_comes_back() -> None:
    world = World()
    first, second = world.create("phone1", 20 * MBPS), world.create("phone2", 5 * MBPS)
    world.change(0)
    assert (first.down_bps, second.ended) == (12 * MBPS, NETWORK)
    world.change(1)
    assert first.down_bps == 3 * MBPS
    world.change(2)
    assert first.down_bps == 20 * MBPS
    changed = [(event.granted_bps, event.cause) for event in world.notes.of(records.SessionChanged)]
    assert changed == [(rate * MBPS, "LINK") for rate in (12, 3, 20)]


def test_a_session_that_still_fits_hears_nothing() -> None:
    world, heard = World(), list[str]()
    session = world.create("phone1", 2 * MBPS)
    world.engine.on_change.append(lambda session, cause: heard.append(cause))
    for number in range(len(PLAN.changes)):
        world.change(number)
    assert (session.down_bps, heard) == (2 * MBPS, [])


def test_who_asks_after_a_change_gets_of_what_there_is_now() -> None:
    world = World()
    world.change(1)
    assert world.create("phone1", 20 * MBPS).down_bps == 3 * MBPS
    with pytest.raises(Refused):
        world.create("phone2", MBPS)


def test_shared_sessions_are_told_the_guarantee_that_there_is_now() -> None:
    world = World("static")
    sessions = [world.create(device, 50 * MBPS) for device in ("phone1", "phone2")]
    world.change(0)
    assert [session.down_bps for session in sessions] == [16 * MBPS, 16 * MBPS]


@given(st.lists(st.tuples(st.sampled_from(range(1, 7)), st.sampled_from([1, 5, 20, 100])), max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_classes_are_what_sessions_have_and_fit_the_link(wishes: list[tuple[int, int]], data: st.DataObject) -> None:
    world = World(data.draw(st.sampled_from(["deadline", "fair"])))
    for number, (phone, rate) in enumerate(wishes):
        if number % 2:
            world.change(data.draw(st.sampled_from(range(len(PLAN.changes)))))
        try:
            world.create(f"phone{phone}", rate * MBPS)
        except Refused:
            continue
    world.change(data.draw(st.sampled_from(range(len(PLAN.changes)))))
    live = list(world.engine.sessions.values())
    assert sum(session.down_bps for session in live) <= world.most_bps
    guarantee = int(world.rate_bps * SHARE)
    for session in live:
        rate, ceiling = world.kernel.rates[world.radio, session.queue]
        assert rate == max(session.down_bps, tree.LEAST_BPS) // 8 * 8
        assert ceiling == world.rate_bps
    if live:
        default, _ = world.kernel.rates[world.radio, queue_of(PLAN, "models")]
        assert default == tree.left(guarantee, sum(session.down_bps for session in live)) // 8 * 8
