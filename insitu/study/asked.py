"""The sides of a comparison as they are asked for: FILE, "FILE --set KEY=VALUE", RUN or SET; what is only asked for is run."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from insitu.study import sides
from insitu.study.cases import Case, Outcome, prepare
from insitu.study.repeat import CarryOut, why
from insitu.study.sides import Incomparable, Made, Side


class ToRun(NamedTuple):
    """A side that is to be run: a scenario's file and what is set over it."""

    name: str
    file: Path
    settings: tuple[str, ...]


class There(NamedTuple):
    """A side whose runs are there."""

    name: str
    folder: Path


class Checked(NamedTuple):
    """A comparison that can be made. The seeds are those that all sides which are there have in common, or those asked for."""

    asked: list[ToRun | There]
    there: dict[There, Side]
    seeds: list[int]
    made: list[Made]  # how each side is made, with the first seed
    names: list[str]  # what the sides are called


class StudyFailed(Exception):
    """Some runs have no figures that can be used: a line each."""


def parse(arguments: Sequence[str], settings: Sequence[str], versus: Sequence[str]) -> list[ToRun | There]:
    """The sides: `settings` are put over every file; each of `versus` is one more side, the only file with that put over too.

    Raises Incomparable where that is not two sides, or makes no sense.
    """
    asked = [_side(argument, settings) for argument in arguments]
    if versus:
        if len(asked) != 1 or isinstance(asked[0], There):
            raise Incomparable(
                "--versus is one more side for one FILE, as in: compare FILE --versus policies.slicing=joint"
            )
        file = asked[0]
        asked += [ToRun(f"{file.name} --set {one}", file.file, _over(file.settings, [one])) for one in versus]
    if len(asked) < 2:
        raise Incomparable("a comparison needs two sides: A B, or FILE --versus KEY=VALUE; insitu compare --help")
    if settings and not any(isinstance(one, ToRun) for one in asked):
        raise Incomparable("--set changes a scenario's FILE; these runs have been made")
    return asked


def check(asked: Sequence[ToRun | There], first_seed: int, n: int) -> Checked:
    """Before anything runs. Raises Incomparable, ScenarioError, NoRyu, BrokenLibrary, OSError."""
    there = {one: sides.read_side(one.folder, one.name) for one in asked if isinstance(one, There)}
    seeds = sides.common_seeds(list(there.values())) if there else list(range(first_seed, first_seed + n))
    made = [there[one].runs[seeds[0]].made if isinstance(one, There) else _made(one, seeds[0]) for one in asked]
    for one, its in zip(asked[1:], made[1:], strict=True):
        sides.require_comparable((asked[0].name, made[0]), (one.name, its))
    return Checked(list(asked), there, seeds, made, sides.names([one.name for one in asked], made))


def carry_out(checked: Checked, run: CarryOut) -> list[Side]:
    """All sides: those that are there, and the others, run with every seed. Raises StudyFailed."""
    to_run = [(one, name) for one, name in zip(checked.asked, checked.names, strict=True) if isinstance(one, ToRun)]
    cases = [Case(one.file, one.settings, seed) for seed in checked.seeds for one, _ in to_run]
    outcomes = {outcome.case: outcome for outcome in run(cases)} if cases else {}
    if unusable := [outcome for outcome in outcomes.values() if not outcome.usable]:
        lines = (" ".join([*o.case.settings, f"seed {o.case.seed}: {why(o)} ({o.folder})"]) for o in unusable)
        raise StudyFailed("\n".join(["no comparison, for these runs have no figures that can be used:", *lines]))
    fresh = {
        one: sides.side(name, (_run(outcomes[Case(one.file, one.settings, seed)]) for seed in checked.seeds))
        for one, name in to_run
    }
    return [checked.there[one] if isinstance(one, There) else fresh[one] for one in checked.asked]


def _side(argument: str, settings: Sequence[str]) -> ToRun | There:
    """Raises Incomparable."""
    path = Path(argument)
    if path.is_dir():
        return There(argument, path)
    if path.exists():
        return ToRun(argument, path, tuple(settings))
    try:
        file, *words = shlex.split(argument)
    except ValueError:
        raise Incomparable(f"{argument}: no such run, set or file") from None
    own = words[1::2]
    if any(word != "--set" for word in words[::2]) or len(words) % 2 or not Path(file).exists():
        raise Incomparable(f'{argument}: no such run, set or file; a side is RUN, SET, FILE or "FILE --set KEY=VALUE"')
    return ToRun(argument, Path(file), _over(settings, own))


def _over(settings: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """`more` put over `settings`; of two with one key the later holds."""
    return tuple({setting.partition("=")[0]: setting for setting in (*settings, *more)}.values())


def _made(one: ToRun, seed: int) -> Made:
    prepared = prepare([Case(one.file, one.settings, seed)])[0].prepared
    return Made(prepared.plan, prepared.scenario, one.settings)


def _run(outcome: Outcome) -> sides.Run:
    """With the settings of its own side: where two sides have equal plans, their runs are the same folders."""
    run = sides.read_run(outcome.folder)
    return run._replace(made=run.made._replace(settings=outcome.case.settings))
