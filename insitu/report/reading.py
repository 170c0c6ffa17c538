"""What a report is made of: a run's folder, read, and what its pictures share. Pictures have seconds since the run's start."""

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from insitu import provenance
from insitu.experiment import NoRun, no_run
from insitu.provenance import Provenance
from scenarios import plan as plans
from scenarios.plan import Plan

SECOND = 1_000_000_000
_STEPS = (1, 2, 5)
_SUMMARY = (
    "verdict",
    "digest",
    "time_s",
    "downloads",
    "accuracy",
    "handovers",
    "slices",
    "links",
)  # what a report needs of it


class Run(NamedTuple):
    """A run's folder; `events` has a row an event (see insitu/table.py)."""

    folder: Path
    plan: Plan
    events: pl.DataFrame
    summary: dict[str, Any]
    provenance: Provenance

    def of(self, *kinds: str) -> pl.DataFrame:
        """The events of some kinds, in the order of time."""
        return self.events.filter(pl.col("kind").is_in(kinds))

    @property
    def duration_s(self) -> float:
        return self.plan.duration_ns / SECOND


def read(folder: Path) -> Run:
    """Raises NoRun: one line that says what is missing or broken."""
    file = folder
    try:
        file = folder / "plan.json"
        plan = plans.parse(file.read_bytes())
        file = folder / "events.parquet"
        events = pl.read_parquet(file)
        events.select("t", "kind", "node")
        file = folder / "summary.json"
        summary = json.loads(file.read_text())
        if missing := [name for name in _SUMMARY if name not in summary]:
            raise NoRun(f"{file}: it has no {missing[0]}; this is not what a run has written")
        file = folder / provenance.FILE
        return Run(folder, plan, events, summary, provenance.read(folder))
    except (FileNotFoundError, NotADirectoryError):
        raise no_run(folder, file.name) from None
    except (OSError, ValueError, msgspec.DecodeError, pl.exceptions.PolarsError) as error:
        raise NoRun(f"{file}: {str(error).partition(chr(10))[0]}") from None


def group_of(device: str) -> str:
    """The name that the scenario has for `count` devices: "phone" of "phone12"."""
    return re.sub(r"-?\d+$", "", device)


def bin_ns(run: Run, most: int) -> int:
    """The width of bins on a time axis: a round number of sample intervals, so that there are `most` bins at most."""
    least = run.plan.duration_ns / most
    step = run.plan.sample_interval_ns
    if least <= step:
        return step
    power: int = 10 ** math.floor(math.log10(least / step))
    return next(step * power * n for n in (*_STEPS, 10) if step * power * n >= least)


def seconds(ns: float | None) -> str:
    return "–" if ns is None else f"{ns / 1e9:.3f} s"


def milliseconds(ns: float | None) -> str:
    return "–" if ns is None else f"{ns / 1e6:.1f} ms"
