"""The channel between the machine that moves devices and the controller: what is asked and answered, by one that may be gone."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from insitu.control import Control

LIMIT_S = 5.0  # none of these answers is waited for so long


@pytest.fixture
def ends() -> Iterator[tuple[Control, socket.socket]]:
    control = Control()
    theirs = control.controllers_end()
    yield control, theirs
    theirs.close()


def answer(end: socket.socket, what: str, device: str, place: int) -> None:
    end.sendall(json.dumps({what: {"device": device, "place": place}}).encode() + b"\n")


def test_the_controller_reads_what_is_asked_as_lines(ends: tuple[Control, socket.socket]) -> None:
    control, theirs = ends
    control.ask("prepare", "rover", 2)
    control.ask("execute", "rover", 2)
    lines = [json.loads(line) for line in theirs.recv(4096).splitlines()]
    assert lines == [{"prepare": {"device": "rover", "place": 2}}, {"execute": {"device": "rover", "place": 2}}]


def test_the_controller_is_told_of_a_change_by_its_number(ends: tuple[Control, socket.socket]) -> None:
    control, theirs = ends
    control.tell_of_change(3)
    assert json.loads(theirs.recv(4096)) == {"changed": {"number": 3}}


def test_answers_may_come_in_any_order(ends: tuple[Control, socket.socket]) -> None:
    control, theirs = ends
    for device, place in (("b", 1), ("a", 1), ("a", 2)):
        answer(theirs, "prepared", device, place)
    assert control.is_done("prepared", "a", 1)
    assert control.is_done("prepared", "a", 2)
    assert control.is_done("prepared", "b", 1)


def test_what_was_not_answered_is_not_done(ends: tuple[Control, socket.socket]) -> None:
    control, theirs = ends
    answer(theirs, "prepared", "a", 1)
    assert not control.is_done("prepared", "a", 2)
    assert not control.is_done("executed", "a", 1, limit_s=0.01)
    assert control.is_done("prepared", "a", 1)


def test_an_answer_in_pieces_is_waited_for(ends: tuple[Control, socket.socket]) -> None:
    control, theirs = ends
    theirs.sendall(b'{"executed": {"device": ')
    assert not control.is_done("executed", "a", 1)
    threading.Timer(0.05, theirs.sendall, (b'"a", "place": 1}}\n',)).start()
    assert control.is_done("executed", "a", 1, LIMIT_S)


def test_a_controller_that_is_gone_answers_nothing_at_once() -> None:
    control = Control()
    control.controllers_end().close()
    control.ask("prepare", "a", 1)
    assert not control.is_done("prepared", "a", 1, LIMIT_S)


def test_one_that_is_started_again_is_not_taken_for_the_one_before() -> None:
    control = Control()
    with control.controllers_end() as first:
        answer(first, "prepared", "a", 1)
        first.sendall(b'{"prep')
    with control.controllers_end() as second:
        assert not control.is_done("prepared", "a", 1)
        answer(second, "prepared", "a", 2)
        assert control.is_done("prepared", "a", 2)
