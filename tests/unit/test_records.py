"""Records: what was written is read back, and what was lost is missed."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenarios import recording
from scenarios import records as r

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = [kind for kind in get_args(r.AnyEvent) if kind not in (r.Started, r.Ended)]
VALUES = {
    int: st.integers(0, 2**62),
    str: st.text(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(kind)) if get_origin(kind) is Literal else VALUES[kind]


def events_of(kind: Any) -> st.SearchStrategy[r.Event]:
    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


EVENTS = st.lists(st.sampled_from(KINDS).flatmap(events_of), max_size=5)
NEED = r.Need(100, "ue1", "digits@night")


def write(folder: Path, **processes: list[r.Event]) -> None:
    for file in folder.glob("*.jsonl"):
        file.unlink()
    for name, events in processes.items():
        recorder = recording.Recorder(folder, name)
        for event in events:
            recorder.write(event)
        recorder.close()


def happened(folder: Path) -> list[r.Event]:
    return [event for event in recording.read(folder) if not isinstance(event, r.Ended)]


def refusal(folder: Path) -> str:
    with pytest.raises(recording.RecordsError) as caught:
        recording.read(folder)
    return str(caught.value)


@FUZZ
@given(EVENTS)
def test_what_was_written_is_read_with_times_since_the_start(tmp_path: Path, events: list[r.Event]) -> None:
    events = [r.Started(1000, "run"), *events]
    write(tmp_path, run=events)
    in_order = sorted(events, key=lambda event: max(1000, event.t))  # how long it takes to set up is not part of a run
    assert happened(tmp_path) == [msgspec.structs.replace(event, t=max(0, event.t - 1000)) for event in in_order]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_every_kind_of_event_is_itself_again(kind: Any, data: st.DataObject) -> None:
    event = data.draw(events_of(kind))
    again = msgspec.json.decode(msgspec.json.encode(event), type=r.AnyEvent)
    assert again == event and type(again) is kind


def test_kinds_are_told_apart_by_name() -> None:
    names = [kind.__struct_config__.tag for kind in get_args(r.AnyEvent)]
    assert len(set(names)) == len(names)
    assert set(get_args(r.AnyEvent)) == set(r.Event.__subclasses__())


def test_order_is_by_time_then_process_then_as_written(tmp_path: Path) -> None:
    one, two, three = (r.Ready(50, "x", what, 1) for what in ("one", "two", "three"))
    write(tmp_path, b=[r.Started(0, "run"), three], a=[r.Ready(99, "x", "last", 1), one, two])
    assert [event.what for event in happened(tmp_path) if isinstance(event, r.Ready)] == ["one", "two", "three", "last"]


@FUZZ
@given(EVENTS, st.data())
def test_a_lost_line_is_missed(tmp_path: Path, events: list[r.Event], data: st.DataObject) -> None:
    write(tmp_path, run=[r.Started(0, "run"), *events, NEED])
    file = tmp_path / "run.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lost = data.draw(st.integers(0, len(lines) - 2))
    file.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
    assert refusal(tmp_path) == f"run: {len(lines) - 1} events were written, {len(lines) - 2} arrived"


def test_a_line_too_many_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, run=[r.Started(0, "run"), NEED])
    file = tmp_path / "run.jsonl"
    first, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([first, first, *rest]))
    assert refusal(tmp_path) == "run: 2 events were written, 3 arrived"


@FUZZ
@given(EVENTS, st.data())
def test_a_file_cut_anywhere_is_noticed(tmp_path: Path, events: list[r.Event], data: st.DataObject) -> None:
    write(tmp_path, other=[r.Started(0, "run")], run=[*events, NEED])
    file = tmp_path / "run.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
    assert refusal(tmp_path).startswith(("run: a record is broken: ", "run: its last records are missing; "))


def test_a_process_that_died_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, run=[r.Started(0, "run"), NEED])
    file = tmp_path / "run.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    assert refusal(tmp_path) == "run: its last records are missing; the process ended early"


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[]", b"\xff", b'{"kind":"none","t":1,"node":"x"}', b'{"kind":"need","t":"1","node":"","model":""}'],
)
def test_a_broken_line_is_noticed(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, run=[r.Started(0, "run"), NEED])
    file = tmp_path / "run.jsonl"
    first, _, last = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, line, last, b""]))
    assert refusal(tmp_path).startswith("run: a record is broken: ")


def test_a_run_that_never_started_is_no_run(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "the run never started"
    write(tmp_path, run=[NEED])
    assert refusal(tmp_path) == "the run never started"


def digest(folder: Path, **processes: list[r.Event]) -> str:
    write(folder, **processes)
    return recording.digest(happened(folder))


def test_digest_does_not_depend_on_the_order_in_which_files_were_made(tmp_path: Path) -> None:
    one, two = [r.Started(0, "run"), NEED], [r.Handover(100, "ue1", "quad-cell", True, 10)]
    assert digest(tmp_path, a=one, b=two) == digest(tmp_path, b=two, a=one)


def test_digest_does_not_depend_on_when_the_machine_was_started(tmp_path: Path) -> None:
    def run(boot: int) -> list[r.Event]:
        return [r.Started(boot, "run"), r.Need(boot + 100, "ue1", "digits")]

    assert digest(tmp_path, a=run(0)) == digest(tmp_path, a=run(12345))


def test_digest_does_not_depend_on_how_events_were_shared_among_files(tmp_path: Path) -> None:
    start, later = r.Started(0, "run"), r.Need(200, "ue1", "digits")
    assert digest(tmp_path, a=[start, NEED, later]) == digest(tmp_path, a=[start, NEED], b=[later])


@FUZZ
@given(st.lists(st.sampled_from(KINDS).flatmap(events_of), min_size=1, max_size=5), st.data())
def test_digest_changes_with_any_value_of_any_event(events: list[r.Event], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events) - 1))
    field = data.draw(st.sampled_from(msgspec.structs.fields(events[at])))
    old = getattr(events[at], field.name)
    new = data.draw(values(field.type).filter(lambda value: value != old))
    changed = [*events[:at], msgspec.structs.replace(events[at], **{field.name: new}), *events[at + 1 :]]
    assert recording.digest(changed) != recording.digest(events)


@FUZZ
@given(EVENTS, st.data())
def test_digest_changes_with_a_lost_a_repeated_and_another_event(events: list[r.Event], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    more = [*events[:at], NEED, *events[at:]]
    other = [*events[:at], r.Handover(NEED.t, NEED.node, NEED.model, True, 10), *events[at:]]
    assert len({recording.digest(one) for one in (events, more, [*more, NEED], other)}) == 4


def test_records_of_a_process_that_was_killed_as_planned_are_ended_in_its_place(tmp_path: Path) -> None:
    write(tmp_path, run=[r.Started(0, "run")])
    killed = recording.Recorder(tmp_path, "controller", at_once=True)
    killed.write(NEED)  # and it is killed, before it could close the file
    assert "controller: its last records are missing" in refusal(tmp_path)
    recording.end(tmp_path, "controller")
    assert [event.events for event in recording.read(tmp_path) if isinstance(event, r.Ended)] == [1, 1]
