"""Sessions over a kernel and switches in memory: whatever is asked for and whatever is refused, what is set is what lives."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from builders import Notes, planned
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")
from os_ken.lib import hub

from controller.classes import Classes
from controller.numbering import Numbers
from controller.paths import Paths
from controller.policies import slicing
from controller.policies.view import Decision, View, from_json
from controller.session import Ports, Request, Session
from controller.sessions import DELETED, EXPIRED, Refused, Sessions
from controller.slices import Entry, session_entries
from controller.switches import SwitchError
from linux import tree
from linux.netlink import Message
from scenarios import records

PLAN = planned(
    network={"regions": [{"name": "west", "gnbs": [{"name": "a", "radio": {"rate": "100 Mbit/s"}}, {"name": "b"}]}]},
    slices=[{"name": "models", "guarantee": "40 %"}, {"name": "default"}],
    devices=[{"name": "phone", "count": 2, "at": "a"}, {"name": "bus", "at": "a", "route": {"2 s": "b"}}],
)  # fmt: skip
BUS = next(device for device in PLAN.devices if device.host == "bus")
LASTS_NS = 3600 * 10**9


class Kernel:
    """Classes of sessions by interface index, and the default classes' rates; it refuses the `fail`-th message from now on."""

    def __init__(self) -> None:
        self.there: set[tuple[int, int]] = set()
        self.fail = 0

    def request(self, messages: list[Message]) -> None:
        error = None
        for message in messages:
            self.fail -= 1
            if self.fail == 0:
                error = OSError(28, f"{message.what}: no room")
                continue
            _, index, handle, _, _ = tree._TC.unpack_from(message.body)
            number = (handle & 0xFFFF) - 1
            if message.kind == tree.RTM_NEWTCLASS and tree.FIRST_SESSION <= number <= tree.LAST_SESSION:
                self.there.add((index, number))
            elif message.kind == tree.RTM_DELTCLASS:
                if (index, number) not in self.there:
                    error = error or OSError(2, f"{message.what}: no such class")
                self.there.discard((index, number))
        if error:
            raise error


class Table:
    """Switches' entries of sessions; a switch that is `full` takes no more."""

    def __init__(self) -> None:
        self.entries: set[Entry] = set()
        self.full = ""

    def add(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        if any(entry.switch == self.full for entry in entries):
            self.entries |= {entry for entry in entries if entry.switch != self.full}
            raise SwitchError(f"{self.full}: table full")
        self.entries |= set(entries)

    def remove_all(self, names: Iterable[str], cookie: int) -> None:
        gone = set(names)
        self.entries = {e for e in self.entries if e.switch not in gone or e.cookie != cookie}


class Life(RuleBasedStateMachine):
    live = Bundle("live")

    @initialize()
    def begin(self) -> None:
        self.kernel, self.table, self.paths, self.place = Kernel(), Table(), Paths(PLAN), 0
        indices: dict[str, int] = {}
        classes = Classes(PLAN, self.kernel, lambda name: indices.setdefault(name, len(indices) + 1))
        policy, nowhere = slicing("deadline"), Path("/nonexistent")
        self.engine = Sessions(PLAN, self.paths, policy, self.table, classes, Notes(), hub, nowhere)  # type: ignore[arg-type]

    def ask(self, device: str, server: str, rate: int) -> Request:
        ports = (Ports(5000, 5000),)
        id = self.engine.new_id()
        return Request(id, device, server, "models", "", rate, 8_000, LASTS_NS, server_ports=ports)

    @rule(
        target=live,
        device=st.sampled_from(["phone1", "phone2", "bus"]),
        server=st.sampled_from(["west-local", "a-edge", "central"]),
        rate=st.sampled_from([10**5, 10**7, 10**9]),
    )
    def create(self, device: str, server: str, rate: int) -> Any:
        if any((s.request.device, s.request.server) == (device, server) for s in self.engine.sessions.values()):
            return multiple()  # the northbound lets nobody ask for packets that have a session
        try:
            session = self.engine.create(self.ask(device, server, rate))
        except Refused:
            return multiple()
        assert session.status == "AVAILABLE"
        assert session.down_bps <= rate
        return session.request.id

    @rule(which=st.sampled_from(["a-cell", "a", "west"]), device=st.sampled_from(["phone1", "bus"]))
    def create_where_a_switch_refuses(self, which: str, device: str) -> None:
        self.table.full = which
        try:
            self.create(device, "central", 10**5)
        finally:
            self.table.full = ""

    @rule(message=st.integers(1, 40))
    def create_where_the_kernel_refuses(self, message: int) -> None:
        self.kernel.fail = message
        try:
            self.create("phone2", "central", 10**5)
        finally:
            self.kernel.fail = 0

    @rule(id=consumes(live), cause=st.sampled_from([DELETED, EXPIRED]))
    def end(self, id: str, cause: str) -> None:
        was_there = id in self.engine.sessions
        assert (self.engine.end(id, cause) is not None) == was_there
        assert self.engine.end(id, cause) is None

    @rule(id=live)
    def extend(self, id: str) -> None:
        if session := self.engine.sessions.get(id):
            before = session.expires_ns
            self.engine.extend(id, 10**9)
            assert session.expires_ns == before + 10**9

    @rule()
    def move(self) -> None:
        self.place = (self.place + 1) % len(BUS.attachments)
        self.paths.moved("bus", BUS.attachments[self.place])
        self.engine.move("bus")

    @invariant()
    def what_is_set_is_what_lives(self) -> None:
        wanted, ports = set(), set()
        for session in self.engine.sessions.values():
            request, queue = session.request, session.queue
            hops = [
                *self.paths.path(request.server, request.device),
                *self.paths.path(request.device, request.server),
            ]
            names = dict.fromkeys(hop.switch for hop in hops)
            wanted |= set(session_entries(self.paths, request, queue, queue, names))
            ports |= {(direction, queue) for direction in (*session.path, *session.back)}
        assert self.table.entries == wanted
        # A path begins at a host, where there are no classes
        hosts = 2 * len(self.engine.sessions)
        assert len(self.kernel.there) == len(ports) - hosts

    def teardown(self) -> None:
        for id in list(self.engine.sessions):
            self.engine.end(id)
        assert self.table.entries == set()
        assert self.kernel.there == set()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_policy_that_fails_refuses_and_is_recorded_with_the_view(tmp_path: Path) -> None:
    class Failing:
        def decide(self, view: View) -> Decision:
            raise ZeroDivisionError("by zero")

    notes = Notes()
    classes = Classes(PLAN, Kernel(), lambda name: 1)
    engine = Sessions(PLAN, Paths(PLAN), Failing(), Table(), classes, notes, hub, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="policy Failing: raises ZeroDivisionError: by zero"):
        engine.create(Request(engine.new_id(), "phone1", "central", "models", "", 10**5, 8_000, LASTS_NS))
    (failed,) = notes.of(records.PolicyFailed)
    assert (failed.node, failed.why) == ("nef", "policy Failing: raises ZeroDivisionError: by zero")
    (asked,) = from_json((tmp_path / failed.view).read_bytes()).waiting
    assert asked.request.device == "phone1"


def test_ids_come_from_the_plan_and_a_counter() -> None:
    made = []
    for _ in range(2):
        life = Life()
        life.begin()
        made.append([life.engine.new_id() for _ in range(3)])
    assert made[0] == made[1]
    assert len(set(made[0])) == 3


def test_a_number_comes_again_when_it_was_given_back_and_not_before() -> None:
    numbers = Numbers(64, 66)
    assert [numbers.take(), numbers.take(), numbers.take()] == [64, 65, 66]
    with pytest.raises(OverflowError):
        numbers.take()
    numbers.give_back(65)
    assert numbers.take() == 65


def test_what_has_ended_says_why_and_its_listeners_hear_it() -> None:
    life, heard = Life(), []
    life.begin()

    def listen(session: Session, cause: str) -> None:
        heard.append((session.request.id, cause, session.ended))

    life.engine.on_change.append(listen)
    session = life.engine.create(life.ask("phone1", "a-edge", 10**5))
    life.engine.end(session.request.id, EXPIRED)
    id = session.request.id
    assert heard == [(id, "AVAILABLE", ""), (id, EXPIRED, EXPIRED)]
