"""Runs of scenarios, by the command that users type, and what their records say."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from insitu import table
from scenarios import records

PROJECT = Path(__file__).resolve().parent.parent


class Played(NamedTuple):
    summary: dict[str, Any]
    events: list[records.AnyEvent]


def play(file: Path, out: Path, settings: Sequence[str] = (), seed: int = 0) -> Played:
    """One run; whether expectations hold does not matter. Raises RuntimeError with what the command said."""
    command = [sys.executable, "-m", "insitu.cli", "run", str(file), "--out", str(out), "--json", "--seed", str(seed)]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    if done.returncode > 1:
        raise RuntimeError(done.stderr[-2000:])
    return Played(json.loads((out / "summary.json").read_text()), table.read(out / "events.parquet"))
