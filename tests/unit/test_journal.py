"""The controller's journal: whatever of it is in the file when the process dies, the next one goes on with what is consistent."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from builders import Notes, planned
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.journal import AnyLine, Ended, Forgotten, Journal, JournalError, Known, Line, Numbered, Written, state
from controller.numbering import Numbers
from controller.paths import Paths
from controller.policies.admission import Static
from controller.session import Request, Session
from controller.sessions import Sessions
from linux.tree import FIRST_SESSION
from scenarios import records

SOME = settings(max_examples=60, deadline=None)
PLAN = planned(slices=[{"name": "gold", "guarantee": "50 %"}, {"name": "default"}])
PATH = (("central-link", 1), ("phone-link", 1))


def session(id: str, queue: int, status: Any = "REQUESTED", rate: int = 8000) -> Session:
    request = Request(id, "phone", "central", "gold", "p", rate, rate, 10**9)
    return Session(request, queue, rate, rate, "", status, 5, 5 + 10**9, PATH, PATH)


@st.composite
def lives(draw: st.DrawFn) -> list[AnyLine]:
    """What an engine writes: sessions begin, are set up, change and end; a queue that came back is given out again."""
    lines, open_, numbers, given_out = list[AnyLine](), dict[str, Session](), Numbers(FIRST_SESSION, 1000), 0
    for _ in range(draw(st.integers(0, 25))):
        what = draw(st.sampled_from(["begin", "set up", "change", "end"]))
        if what == "begin":
            given_out += 1
            made = session(f"id{given_out}", numbers.take())
            open_[made.request.id] = made
            lines += [Numbered(given_out), Known(made.request.id, msgspec.Raw(b"{}")), Written(made, ("core",), False)]
        elif open_:
            id = draw(st.sampled_from(sorted(open_)))
            if what == "end":
                numbers.give_back(open_.pop(id).queue)
                lines += [Ended(id), Forgotten(id)]
            else:
                rate = draw(st.integers(1, 9)) * 8000
                open_[id] = replace(open_[id], status="AVAILABLE", down_bps=rate)
                lines.append(Written(open_[id], ("core",), False))
    return lines


def file_of(lines: list[AnyLine]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal"
        journal = Journal(file)
        for line in lines:
            journal.write(line)
        return file.read_bytes()


@SOME
@given(lives(), st.data())
def test_any_beginning_of_the_file_says_what_its_whole_lines_say(lines: list[AnyLine], data: st.DataObject) -> None:
    content = file_of(lines)
    cut = data.draw(st.integers(0, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal"
        file.write_bytes(content[:cut])
        journal = Journal(file)
        whole = lines[: content[:cut].count(b"\n")]
        assert journal.found == state(whole)
        assert journal.is_new == (not whole or state(whole) == state([]))
        journal.write(Numbered(1000))
        assert Journal(file).found == state([*whole, Numbered(1000)]), "a torn line spoils the next"


@SOME
@given(lives(), st.data())
def test_after_any_step_no_session_is_lost_or_doubled_and_numbers_go_on(
    lines: list[AnyLine], data: st.DataObject
) -> None:
    before: list[AnyLine] = lines[: data.draw(st.integers(0, len(lines)))]
    told = dict[str, Session]()  # what clients may have heard of
    for line in before:
        if isinstance(line, Written) and line.session.status == "AVAILABLE":
            told[line.session.request.id] = line.session
        elif isinstance(line, Ended):
            told.pop(line.id, None)
    written, notes = list[Line](), Notes()
    sessions = engine(notes, written)
    kept = sessions.restore(state(before))
    assert sessions.sessions == told
    assert sorted(queue for queue, _, _ in kept) == sorted(one.queue for one in told.values())
    assert len({queue for queue, _, _ in kept}) == len(kept)
    begun = {line.session.request.id for line in before if isinstance(line, Written)}
    ended = {line.id for line in before if isinstance(line, Ended)}
    half = begun - ended - told.keys()
    assert {line.id for line in written if isinstance(line, Ended)} == half
    assert {event.session for event in notes.of(records.SessionEnded)} == half
    other = engine(Notes(), [])
    earlier = {other.new_id() for line in before if isinstance(line, Numbered)}
    assert sessions.new_id() not in earlier
    assert sessions._numbers.take() not in {one.queue for one in told.values()}


@given(st.sets(st.integers(10, 30)))
def test_numbers_that_were_given_out_are_not_given_out_again(taken: set[int]) -> None:
    numbers = Numbers(10, 60)
    numbers.go_on(taken)
    assert sorted([*taken, *(numbers.take() for _ in range(51 - len(taken)))]) == list(range(10, 61))


def test_a_line_that_is_wrong_is_an_error_and_not_left_out(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    file.write_bytes(b'{"step":"numbered","number":1}\n{"step":"numb\n{"step":"numbered","number":2}\n')
    with pytest.raises(JournalError, match="line 2"):
        Journal(file)


def engine(notes: Notes, written: list[Line]) -> Sessions:
    """The engine of sessions with nothing below it: nothing is set."""
    nothing: Any = None
    recorder: Any = notes
    hub = SimpleNamespace(Event=_Nothing, Semaphore=_Nothing, spawn=_nothing, spawn_after=_nothing)
    return Sessions(PLAN, Paths(PLAN), Static(), nothing, nothing, recorder, hub, Path(), written.append)


class _Nothing:
    def __init__(self, *_: Any) -> None: ...


def _nothing(*_: Any) -> Iterator[None]:
    return iter(())
