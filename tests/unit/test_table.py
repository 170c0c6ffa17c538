"""The table: the events that are read are those that were written, of every kind and with every value."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insitu import table
from scenarios import recording
from scenarios import records as r

FUZZ = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = get_args(r.AnyEvent)
VALUES = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
}


def events_of(kind: Any) -> st.SearchStrategy[r.Event]:
    def values(wanted: Any) -> st.SearchStrategy[Any]:
        return st.sampled_from(get_args(wanted)) if get_origin(wanted) is Literal else VALUES[wanted]

    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


@FUZZ
@given(st.lists(st.sampled_from(KINDS).flatmap(events_of), max_size=8))
def test_events_of_any_kinds_are_the_same_again_and_in_order(tmp_path: Path, events: list[r.Event]) -> None:
    table.write(events, tmp_path / "events.parquet")
    again = table.read(tmp_path / "events.parquet")
    assert again == events
    assert list(map(type, again)) == list(map(type, events))
    assert recording.digest(again) == recording.digest(events)


@pytest.mark.parametrize("kind", KINDS)
@settings(FUZZ, max_examples=5)
@given(data=st.data())
def test_every_kind_survives(tmp_path: Path, kind: Any, data: st.DataObject) -> None:
    event = data.draw(events_of(kind))
    table.write([event], tmp_path / "events.parquet")
    assert table.read(tmp_path / "events.parquet") == [event]


def test_fields_of_one_name_are_of_one_type() -> None:
    """They share a column."""
    types: dict[str, set[Any]] = {}
    for kind in KINDS:
        for field in msgspec.structs.fields(kind):
            types.setdefault(field.name, set()).add(field.type if field.type in VALUES else str)
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_no_events_are_none_again(tmp_path: Path) -> None:
    table.write([], tmp_path / "events.parquet")
    assert table.read(tmp_path / "events.parquet") == []
