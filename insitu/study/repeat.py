"""One scenario over many seeds: what its figures are, how sure that is, and how many more runs would make them surer.

With `within` runs are added until every figure of interest has an interval that narrow (Law, Simulation Modeling and Analysis, 5th
ed., 9.4.1, the sequential procedure: at least ten runs before the first look, since the interval of a few may be narrow by chance).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from insitu.study.cases import Case, Outcome
from insitu.study.statistics import Estimate, estimate, more_runs
from scenarios.figures import flat

OF_INTEREST = ("downloads.on_time_share", "downloads.latency_ms.p95", "accuracy.mean")
WITHIN = 0.05  # what is told where nothing is asked for
FIRST_LOOK = 10

CarryOut = Callable[[Sequence[Case]], Iterable[Outcome]]


class Goal(NamedTuple):
    """Intervals of mean ± `within` · |mean|, with at most `most` runs."""

    within: float
    most: int


class Repetition(NamedTuple):
    """All runs that were wanted, by seed; figures are of those that are usable."""

    outcomes: list[Outcome]
    figures: dict[str, Estimate]  # those that any run has; `n` says how many do

    @property
    def unusable(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.usable]


def repeat(
    case: Case, n: int, carry_out: CarryOut, at_once: int, of_interest: Sequence[str], goal: Goal | None
) -> Repetition:
    """Runs with `n` seeds from the case's own on, and with a goal as many more as that needs.

    `carry_out` gives the outcome of each case, and `at_once` is how many it carries out at a time.
    """
    outcomes: list[Outcome] = []
    wanted = n if goal is None else max(n, min(FIRST_LOOK, goal.most))
    while wanted:
        seeds = range(case.seed + len(outcomes), case.seed + len(outcomes) + wanted)
        outcomes += carry_out([case._replace(seed=seed) for seed in seeds])
        found = repetition(outcomes)
        wanted = 0 if goal is None else next_runs(found, of_interest, goal, at_once)
    return found


def repetition(outcomes: Iterable[Outcome]) -> Repetition:
    ordered = sorted(outcomes, key=lambda outcome: outcome.case.seed)
    runs = [flat(outcome.summary) for outcome in ordered if outcome.usable and outcome.summary]
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: [value for run in runs if (value := run.get(name)) is not None] for name in names}
    return Repetition(ordered, {name: estimate(of_runs) for name, of_runs in values.items() if of_runs})


def next_runs(found: Repetition, of_interest: Sequence[str], goal: Goal, at_once: int) -> int:
    """How many runs to add before looking again: half of those that seem to be missing, for that is a guess; 0 to stop."""
    left = goal.most - len(found.outcomes)
    missing = [more for _, more in missing_runs(found.figures, of_interest, goal.within) if more]
    return min(left, max(at_once, ceil(max(missing) / 2))) if missing else 0


def missing_runs(
    figures: Mapping[str, Estimate], of_interest: Sequence[str], within: float
) -> list[tuple[str, int | None]]:
    """For each figure of interest that any run has, how many more runs it needs; None where that cannot be said."""
    return [(name, more_runs(figures[name], within)) for name in of_interest if name in figures]


def told(found: Repetition, of_interest: Sequence[str], within: float) -> list[str]:
    """What is to be said about the runs that are missing, a line a figure."""
    percent = f"{100 * within:g} %"
    lines = [f"no run has a value of {name}" for name in of_interest if name not in found.figures]
    for name, more in missing_runs(found.figures, of_interest, within):
        estimated = found.figures[name]
        if more is None:
            why = "one run has no spread" if estimated.n == 1 else f"its mean is {estimated.mean:g}"
            lines.append(f"how many runs bring the interval of {name} within {percent} cannot be said: {why}")
        elif more:
            runs = "1 more run" if more == 1 else f"{more:,} more runs"
            lines.append(f"{runs} would bring the interval of {name} within {percent}")
        elif estimated.deviation == 0:
            lines.append(f"{name} is the same in all {estimated.n} runs")
        else:
            lines.append(f"the interval of {name} is within {percent}")
    return lines


def as_json(found: Repetition, of_interest: Sequence[str], within: float) -> dict[str, Any]:
    missing = dict(missing_runs(found.figures, of_interest, within))
    return {
        "runs": len(found.outcomes),
        "usable": len(found.outcomes) - len(found.unusable),
        "interval": "Student's t, 95 %",
        "within": within,
        "figures": {name: estimated._asdict() for name, estimated in found.figures.items()},
        "more_runs": {name: missing.get(name) for name in of_interest},
        "unusable": [
            {"seed": outcome.case.seed, "folder": str(outcome.folder), "why": why(outcome)}
            for outcome in found.unusable
        ],
    }


def why(outcome: Outcome) -> str:
    """Why a run is not usable."""
    if outcome.summary is None:
        return f"failed: {outcome.failure}"
    return "INVALID: " + "; ".join(outcome.summary["verdict"]["reasons"])
