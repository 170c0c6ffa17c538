"""`insitu repeat`: when it stops, and what it says of runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from insitu.cli import main
from insitu.report import repetition_page
from insitu.study.cases import Case, Outcome
from insitu.study.repeat import Goal, as_json, repeat, repetition, told
from insitu.study.tables import repetition as table
from scenarios.figures import figure

P95 = "downloads.latency_ms.p95"
FROM_0 = Case(Path("hello.yaml"), (), 0)


def summary(p95: float | None, status: str = "VALID") -> dict[str, Any]:
    return {
        "verdict": {"status": status, "reasons": ["a made-up reason"]},
        "downloads": {"latency_ms": {"p95": p95}},
        "slices": {},
        "links": {},
    }


def carried_out(value: Callable[[int], float | None]) -> Callable[[Sequence[Case]], Iterator[Outcome]]:
    """Runs whose p95 latency is `value` of their seed."""

    def carry_out(cases: Sequence[Case]) -> Iterator[Outcome]:
        for case in reversed(cases):  # they end in any order
            yield Outcome(case, f"key{case.seed}", Path("runs") / f"key{case.seed}", summary(value(case.seed)), None)

    return carry_out


def test_it_runs_the_seeds_that_were_asked_for() -> None:
    found = repeat(FROM_0._replace(seed=5), 4, carried_out(float), 2, [P95], None)
    assert [outcome.case.seed for outcome in found.outcomes] == [5, 6, 7, 8]
    assert found.figures[P95].mean == 6.5


def test_19_times_of_20_the_interval_that_was_narrow_enough_holds_the_mean() -> None:
    """Looking again and again whether an interval is narrow enough costs it little: ten runs are there before the first look."""
    held, counts = 0, []
    for study in range(250):
        draws = np.random.default_rng(study).normal(100.0, 15.0, 500)
        found = repeat(FROM_0, 2, carried_out(lambda seed, draws=draws: float(draws[seed])), 2, [P95], Goal(0.05, 500))  # type: ignore[misc]
        its = found.figures[P95]
        assert its.interval is not None
        assert its.interval.high - its.mean <= 0.05 * its.mean
        assert its.n >= 10
        held += its.interval.low <= 100.0 <= its.interval.high
        counts.append(its.n)
    assert 0.90 <= held / 250 <= 0.99
    assert 30 <= np.mean(counts) <= 45  # (1.96 · 15 / 5)² = 35


def test_it_stops_at_the_most_runs_and_says_how_many_are_missing() -> None:
    draws = np.random.default_rng(1).normal(100.0, 50.0, 100)
    found = repeat(FROM_0, 10, carried_out(lambda seed: float(draws[seed])), 2, [P95], Goal(0.01, 25))
    assert len(found.outcomes) == 25
    (line,) = told(found, [P95], 0.01)
    more = as_json(found, [P95], 0.01)["more_runs"][P95]
    assert line == f"{more:,} more runs would bring the interval of {P95} within 1 %"
    assert 5_000 < more < 20_000


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (lambda seed: 7.0, f"{P95} is the same in all 10 runs"),
        (lambda seed: 7.0 + seed / 1e3, f"the interval of {P95} is within 5 %"),
        (lambda seed: None, f"no run has a value of {P95}"),
        (
            lambda seed: (-1.0) ** seed,
            f"how many runs bring the interval of {P95} within 5 % cannot be said: its mean is 0",
        ),
    ],
)  # fmt: skip
def test_it_does_not_go_on_where_that_would_not_help(value: Callable[[int], float | None], line: str) -> None:
    found = repeat(FROM_0, 10, carried_out(value), 2, [P95], Goal(0.05, 500))
    assert len(found.outcomes) == 10
    assert told(found, [P95], 0.05) == [line]


def test_what_failed_is_kept_and_shown_and_not_in_the_figures() -> None:
    cases = [FROM_0._replace(seed=seed) for seed in range(5)]
    there = list(carried_out(float)(cases))
    outcomes = [
        *there[:3],
        there[3]._replace(summary=summary(1000.0, "INVALID")),
        there[4]._replace(summary=None, failure="the guest died"),
    ]
    found = repetition(outcomes)
    assert (found.figures[P95].n, found.figures[P95].mean) == (3, 3.0)
    content = as_json(found, [P95], 0.05)
    assert (content["runs"], content["usable"]) == (5, 3)
    assert [(run["seed"], run["why"]) for run in content["unusable"]] == [
        (0, "failed: the guest died"),
        (1, "INVALID: a made-up reason"),
    ]
    page = repetition_page.render("hello", FROM_0, found, [P95], 0.05)
    assert "not in the figures: 2 of 5 runs" in page
    assert "seed 0: failed: the guest died" in page
    assert "the guest died" in str(table("hello", found, [P95]).caption)


def test_the_page_has_the_numbers_of_the_runs() -> None:
    found = repeat(FROM_0, 12, carried_out(lambda seed: 50.0 + seed), 2, [P95], None)
    page = repetition_page.render("hello", FROM_0, found, [P95], 0.05)
    its = found.figures[P95]
    assert figure(P95).show(its.mean) in page
    assert all(f">key{seed}</a>" in page for seed in range(12))
    assert told(found, [P95], 0.05)[0] in page


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--within", "5"], '"5": no unit; write a share such as "40 %"'),
        (["--within", "0 %"], '"0 %" is not more than 0 % and at most 100 %'),
        (["-n", "0"], "0 is not in the range x>=1"),
        (["--figure", "downloads.lat"], "--figure downloads.lat: no such figure; write downloads.late"),
        (["--set", "policies.slicing=best"], "--set policies.slicing=best: policies.slicing: "),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    arguments: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path
) -> None:
    hello = Path("scenarios/hello.yaml").resolve()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["repeat", str(hello), *arguments])
    assert done.exit_code == 2
    assert why in done.stderr
    assert not Path("runs").exists()


def test_json_has_no_numbers_that_json_lacks() -> None:
    found = repeat(FROM_0, 3, carried_out(lambda seed: 1.0), 2, [P95], None)
    assert json.loads(json.dumps(as_json(found, [P95], 0.05), allow_nan=False))["figures"][P95]["interval"] == [
        1.0,
        1.0,
    ]
