"""A case is one run that a study wants; its outcome is what became of it.

Cases are prepared, which decides their plans, before anything runs. A case's key says which run it is: equal keys are equal
runs, to the bit, so a run that is there is not made again.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from insitu import experiment
from insitu.ryu_environment import require, require_for
from insitu.summary import Summary
from scenarios import plan as plans
from scenarios.load import load

FAILED = "FAILED"  # the file of a run's folder that says why it has no summary


class Case(NamedTuple):
    """One run that is wanted: a scenario's file with `KEY=VALUE` settings put over it, and a seed."""

    file: Path
    settings: tuple[str, ...]
    seed: int

    @property
    def command(self) -> list[str]:
        """What makes this run alone."""
        settings = (word for setting in self.settings for word in ("--set", setting))
        return ["insitu", "run", str(self.file), "--seed", str(self.seed), *settings]


class Outcome(NamedTuple):
    """What became of a case: its run's folder with the summary, or with why it failed."""

    case: Case
    key: str
    folder: Path
    summary: Summary | None
    failure: str | None

    @property
    def usable(self) -> bool:
        """Its figures may be used: it did not fail, and is not INVALID."""
        return self.summary is not None and self.summary["verdict"]["status"] != "INVALID"


class Ready(NamedTuple):
    """A case whose plan is decided; `models` is the folder of the scenario's own, if it has any."""

    case: Case
    prepared: experiment.Prepared
    models: Path | None


def prepare(cases: Sequence[Case]) -> list[Ready]:
    """Decides the plan of every case. Raises ScenarioError, NoRyu, BrokenLibrary, OSError."""
    shipped, known = experiment.shipped(), {}
    for file, settings in dict.fromkeys((case.file, case.settings) for case in cases):
        scenario = load(file, settings, shipped)
        require_for(scenario.controller)
        known[file, settings] = scenario, experiment.library_of(scenario)
    ready = []
    for case in cases:
        scenario, library = known[case.file, case.settings]
        own = scenario.libraries.central.models
        prepared = experiment.prepare(scenario, case.file, case.seed, library)
        ready.append(Ready(case, prepared, own.folder if own else None))
    return ready


def key_of(plan: plans.Plan, versions: dict[str, str]) -> str:
    """The hash of all that a digest depends on: the plan, and the versions where it is carried out."""
    ryu = require().name if plan.controller == "ryu" else ""
    parts = [plans.digest(plan), ryu, json.dumps(versions, sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def outcome_of(case: Case, key: str, folder: Path) -> Outcome:
    """Reads what became of a case from its run's folder. Raises FileNotFoundError if there is none."""
    failed = folder / FAILED
    if failed.exists():
        return Outcome(case, key, folder, None, failed.read_text().strip())
    return Outcome(case, key, folder, json.loads((folder / "summary.json").read_text()), None)
