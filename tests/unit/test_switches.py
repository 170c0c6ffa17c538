"""Changes of one turn go together, and each has its own fate; switches are in memory, and answer as they are told to."""

import os
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("OSKEN_HUB_TYPE", "eventlet")
from os_ken.lib import hub

from controller.slices import Entry
from controller.switches import SwitchError, Switches

_HEADER = struct.Struct("!BBHI")
_FLOW_MOD, _BARRIER, _EXPERIMENTER = 14, 20, 4


class Switch:
    """Takes bundles and flow-mods whole; refuses what has a cookie that it does not `like`. It keeps what it took, and counts."""

    ofproto = SimpleNamespace(MAX_XID=0xFFFFFFFF)

    def __init__(self, name: str, switches: Switches) -> None:
        self.name, self.switches, self.xid = name, switches, 7
        self.dislikes, self.silent = 0, False
        self.cookies: list[int] = []
        self.writes = 0
        switches.connected(name, self)

    def send(self, data: bytes) -> None:
        self.writes += 1
        cookies, number = [], 0
        while data:
            _, kind, length, number = _HEADER.unpack_from(data)
            if kind == _FLOW_MOD or (kind == _EXPERIMENTER and length > 24):
                cookies.append(int.from_bytes(data[8:16] if kind == _FLOW_MOD else data[32:40], "big"))
            data = data[length:]
        assert kind == _BARRIER
        if self.silent:
            return
        if self.dislikes in cookies:
            self.switches.refused(self.name, number, "table full")
        else:
            self.cookies += cookies
        hub.spawn(self.switches.confirmed, self.name, number)


def change(switches: Switches, cookie: int, *names: str) -> Callable[[], Any]:
    return lambda: switches.add([Entry(name, 0, 1, (), queue, cookie=cookie) for name in names for queue in (1, 2)])


def outcomes(changes: list[Callable[[], Any]]) -> list[str]:
    """Made in one turn: "" or why each was refused."""
    said = [""] * len(changes)

    def make(number: int) -> None:
        try:
            changes[number]()
        except SwitchError as error:
            said[number] = str(error)

    hub.joinall([hub.spawn(make, number) for number in range(len(changes))])
    return said


def test_changes_of_one_turn_are_one_write_for_each_switch() -> None:
    switches = Switches(hub)
    a, b = Switch("a", switches), Switch("b", switches)
    several = [change(switches, 1, "a", "b"), change(switches, 2, "a"), lambda: switches.remove_all(["b"], 3)]
    assert outcomes(several) == ["", "", ""]
    assert (a.cookies, a.writes) == ([1, 1, 2, 2], 1)
    assert (b.cookies, b.writes) == ([1, 1, 3], 1)


def test_what_a_switch_refuses_is_that_change_alone() -> None:
    switches = Switches(hub)
    a, b = Switch("a", switches), Switch("b", switches)
    a.dislikes = 2
    said = outcomes([change(switches, cookie, "a", "b") for cookie in (1, 2, 3)])
    assert said == ["", "a: table full", ""]
    assert a.cookies == [1, 1, 3, 3]
    assert b.cookies == [1, 1, 2, 2, 3, 3]


def test_nobody_waits_for_a_switch_that_is_gone() -> None:
    switches = Switches(hub)
    a, b = Switch("a", switches), Switch("b", switches)
    a.silent = True
    hub.spawn_after(0.01, switches.disconnected, "a")
    several = [change(switches, 1, "a", "b"), change(switches, 2, "b")]
    assert outcomes(several) == ["a: the switch has disconnected", ""]
    assert b.cookies == [1, 1, 2, 2]
    with pytest.raises(SwitchError, match="a: the switch is not connected"):
        change(switches, 3, "b", "a")()
    assert 3 not in b.cookies
    switches.remove_all(["a"], 1)


def test_a_switch_that_goes_before_it_is_written_to_refuses() -> None:
    switches = Switches(hub)
    Switch("a", switches)
    assert outcomes([change(switches, 1, "a"), lambda: switches.disconnected("a")])[0].startswith("a: the switch has")
