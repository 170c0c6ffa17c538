"""The sides of a comparison as people type them, and running those that are only asked for."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from insitu.study.asked import Checked, StudyFailed, There, ToRun, carry_out, check, parse
from insitu.study.cases import Case, Outcome, outcome_of
from insitu.study.compare import compare
from insitu.study.sides import Incomparable
from tests.unit.runs_on_disk import HELLO, failed_run, made_run

FILE = str(HELLO)
JOINT, FAIR = "policies.slicing=joint", "policies.slicing=fair"


def settings(
    arguments: Sequence[str], set_for_all: Sequence[str] = (), versus: Sequence[str] = ()
) -> list[tuple[str, ...]]:
    return [one.settings for one in parse(arguments, set_for_all, versus) if isinstance(one, ToRun)]


def test_versus_is_one_more_side_put_over_what_is_set() -> None:
    assert settings([FILE], [FAIR], [JOINT, "duration=6 s"]) == [(FAIR,), (JOINT,), (FAIR, "duration=6 s")]


def test_a_file_in_quotes_has_settings_of_its_own() -> None:
    sides = [f"{FILE} --set {JOINT}", f"{FILE} --set {FAIR} --set 'network.gnbs.square.radio.rate=10 Mbit/s'", FILE]
    assert settings(sides, ["requests.deadline=1 s"]) == [
        ("requests.deadline=1 s", JOINT),
        ("requests.deadline=1 s", FAIR, "network.gnbs.square.radio.rate=10 Mbit/s"),
        ("requests.deadline=1 s",),
    ]


def test_a_folder_is_runs_that_are_there(tmp_path: Path) -> None:
    assert parse([str(tmp_path), FILE], [], []) == [There(str(tmp_path), tmp_path), ToRun(FILE, HELLO, ())]


def runs_in(
    folder: Path, make: Callable[[Path, Case], object], seen: list[Case]
) -> Callable[[Sequence[Case]], Iterator[Outcome]]:
    """Carries out cases by making up their runs."""

    def run(cases: Sequence[Case]) -> Iterator[Outcome]:
        seen.extend(cases)
        for n, case in enumerate(cases):
            make(folder / f"run-{n}", case)
            yield outcome_of(case, f"run-{n}", folder / f"run-{n}")

    return run


def made_up(folder: Path, case: Case) -> None:
    made_run(folder, case.seed, {"downloads.late": case.seed + (JOINT in case.settings)}, case.settings)


def checked(*arguments: str, versus: Sequence[str] = (), n: int = 3) -> Checked:
    return check(parse(arguments, [], versus), 5, n)


@pytest.mark.usefixtures("library")
def test_every_side_is_run_with_the_same_seeds(tmp_path: Path) -> None:
    seen: list[Case] = []
    wanted = checked(FILE, versus=[JOINT])
    sides = carry_out(wanted, runs_in(tmp_path, made_up, seen))
    assert sorted(seen) == sorted(Case(HELLO, its, seed) for its in ((), (JOINT,)) for seed in (5, 6, 7))
    (found,) = compare(sides, wanted.names)
    assert (found.first, found.second, found.seeds) == ("deadline", "joint", [5, 6, 7])
    assert found.decided[0].difference.mean == 1


@pytest.mark.usefixtures("library")
def test_a_file_beside_a_set_is_run_with_the_sets_seeds(tmp_path: Path) -> None:
    for seed in (2, 9):
        made_run(tmp_path / "set" / f"run-{seed}", seed)
    seen: list[Case] = []
    sides = carry_out(checked(str(tmp_path / "set"), f"{FILE} --set {JOINT}"), runs_in(tmp_path, made_up, seen))
    assert [case.seed for case in seen] == [2, 9]
    assert [list(side.runs) for side in sides] == [[2, 9], [2, 9]]


@pytest.mark.usefixtures("library")
def test_no_comparison_where_a_run_fails(tmp_path: Path) -> None:
    def make(folder: Path, case: Case) -> None:
        if case == Case(HELLO, (JOINT,), 6):
            failed_run(folder, case.seed)
        else:
            made_run(folder, case.seed, None, case.settings, status="INVALID" if case.seed == 7 else "VALID")

    with pytest.raises(StudyFailed) as failed:
        carry_out(checked(FILE, versus=[JOINT]), runs_in(tmp_path, make, []))
    first, *lines = str(failed.value).splitlines()
    assert first == "no comparison, for these runs have no figures that can be used:"
    assert [line.partition(" (")[0] for line in lines] == [
        f"{JOINT} seed 6: failed: the guest died",
        "seed 7: INVALID: a made-up reason",
        f"{JOINT} seed 7: INVALID: a made-up reason",
    ]


@pytest.mark.usefixtures("library")
def test_files_of_two_scenarios_are_refused_before_anything_runs() -> None:
    with pytest.raises(Incomparable, match="the scenario is hello and campus"):
        checked(FILE, str(HELLO.with_name("campus.yaml")))
