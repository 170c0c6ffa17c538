"""The records as one table: a row an event, a column for each field that any event has."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
import polars as pl

from scenarios import records

_TYPES = {int: pl.Int64, float: pl.Float64, bool: pl.Boolean, str: pl.String}


class Unreadable(Exception):
    """A file is no table of records."""


def write(events: Sequence[records.AnyEvent], file: Path) -> None:
    rows = [msgspec.to_builtins(event) for event in events]
    pl.DataFrame(rows, schema=_schema()).write_parquet(file)


def read(file: Path) -> list[records.AnyEvent]:
    """The same events that were written. Raises FileNotFoundError, Unreadable."""
    rows = _frame(file).iter_rows(named=True)
    return [
        msgspec.convert({name: value for name, value in row.items() if value is not None}, records.AnyEvent)
        for row in rows
    ]


def frames(file: Path) -> dict[str, pl.DataFrame]:
    """The events by their kind, each a frame with the fields of that kind, also where none happened. Raises as `read` does."""
    whole = _frame(file)
    by_kind = whole.partition_by("kind", as_dict=True)
    found = {}
    for event in get_args(records.AnyEvent):
        names = [field.name for field in msgspec.structs.fields(event)]
        of_kind = by_kind.get((event.__struct_config__.tag,), whole.clear())
        found[event.__struct_config__.tag] = of_kind.select(name for name in names if name in whole.columns)
    return found


def _frame(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file)
    except pl.exceptions.ComputeError as error:
        raise Unreadable(str(error).partition("\n")[0]) from None


def _schema() -> dict[str, type[pl.DataType]]:
    schema: dict[str, type[pl.DataType]] = {"t": pl.Int64, "kind": pl.String, "node": pl.String}
    for event in get_args(records.AnyEvent):
        for field in msgspec.structs.fields(event):
            schema.setdefault(field.name, _TYPES.get(field.type, pl.String))
    return schema
