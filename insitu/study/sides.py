"""The sides of a comparison: runs that are there, and whether they can be compared at all.

Sides are of one scenario if its file, its name, how long it lasts, its devices and the clock are the same. The policies may differ,
and whatever was set with `--set` on purpose.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from ruamel.yaml import YAML

from insitu import provenance
from insitu.study.amounts import some
from insitu.study.errors import WrongStudy
from insitu.summary import Summary
from insitu.verify import differences
from scenarios import plan as plans
from scenarios.plan import Plan

_FREE = ("policies", "expect")  # of a scenario's keys: what sides may differ in although nobody set it


class Incomparable(WrongStudy):
    """These cannot be compared: one line."""


class Made(NamedTuple):
    """How a run is made: its plan, its scenario's file and what was set over that."""

    plan: Plan
    scenario: bytes
    settings: tuple[str, ...]


class Run(NamedTuple):
    folder: Path
    made: Made
    versions: dict[str, str]
    summary: Summary


class Side(NamedTuple):
    """Runs that differ in nothing but the seed."""

    name: str
    runs: dict[int, Run]  # by seed


def read_side(folder: Path, name: str) -> Side:
    """A run, a folder with runs, or a study's folder. Raises Incomparable, also where a run failed or is INVALID."""
    folders = [folder] if _is_run(folder) else sorted(filter(_is_run, _inside(folder)))
    if not folders:
        raise Incomparable(f"{folder}: this is neither a run's folder nor one with runs; write FILE, RUN or SET")
    return side(name, map(read_run, folders))


def side(name: str, runs: Iterable[Run]) -> Side:
    """Raises Incomparable where the runs differ in more than the seed."""
    by_seed: dict[int, Run] = {}
    for run in runs:
        first = next(iter(by_seed.values()), run)
        if (run.made.scenario, run.made.settings, run.made.plan.policies) != (
            first.made.scenario, first.made.settings, first.made.plan.policies
        ):  # fmt: skip
            raise Incomparable(
                f"{name}: {first.folder.name} and {run.folder.name} differ in more than their seed; "
                "a side has one scenario and one setting: name its runs, or another folder"
            )
        if (seed := run.made.plan.seed) in by_seed:
            raise Incomparable(f"{name}: {by_seed[seed].folder.name} and {run.folder.name} both have seed {seed}")
        by_seed[seed] = run
    return Side(name, dict(sorted(by_seed.items())))


def read_run(folder: Path) -> Run:
    """Raises Incomparable."""
    failed = folder / "FAILED"
    if failed.exists():
        raise Incomparable(f"{folder}: the run failed and has no figures: {failed.read_text().strip()}")
    try:
        summary = json.loads((folder / "summary.json").read_bytes())
        made_by = provenance.read(folder)
        scenario = (folder / "scenario.yaml").read_bytes()
        plan = plans.parse((folder / "plan.json").read_bytes())
    except (OSError, json.JSONDecodeError, msgspec.DecodeError) as error:
        raise Incomparable(f"{folder}: this is no whole run: {error}") from None
    verdict = summary["verdict"]
    if verdict["status"] == "INVALID":
        raise Incomparable(f"{folder}: the run is INVALID, so its figures say nothing: {'; '.join(verdict['reasons'])}")
    made = Made(plan, scenario, tuple(made_by.scenario.settings))
    return Run(folder, made, made_by.versions, summary)


def common_seeds(sides: Sequence[Side]) -> list[int]:
    """Raises Incomparable if there is none."""
    common = set.intersection(*(set(side.runs) for side in sides))
    if not common:
        seeds = "; ".join(f"{side.name} has {_listed(side.runs)}" for side in sides)
        raise Incomparable(f"no seed is on all sides: {seeds}; runs are compared with those of the same seed")
    return sorted(common)


def require_comparable(first: tuple[str, Made], second: tuple[str, Made]) -> None:
    """`second` may be compared with `first`; each has its side's name. Raises Incomparable, which says what differs."""
    (name, one), (other_name, other) = first, second
    for what, mine, its in (
        ("scenario", one.plan.scenario, other.plan.scenario),
        ("duration", f"{one.plan.duration_ns / 1e9:g} s", f"{other.plan.duration_ns / 1e9:g} s"),
        ("clock", one.plan.machine.clock, other.plan.machine.clock),
    ):
        if mine != its:
            raise Incomparable(f"{name} and {other_name} cannot be compared: the {what} is {mine} and {its}")
    devices, others = ({device.host for device in made.plan.devices} for made in (one, other))
    if only := sorted(devices ^ others):
        raise Incomparable(f"{name} and {other_name} cannot be compared: only one of them has {some(only)}")
    on_purpose = [setting.partition("=")[0] for made in (one, other) for setting in made.settings]
    if differing := _differing_keys(one.scenario, other.scenario, on_purpose):
        raise Incomparable(
            f"{name} and {other_name} cannot be compared: their files differ in {some(differing)}; "
            "change a scenario for a comparison with --set"
        )


def version_notes(first: Run, second: Run) -> list[str]:
    """What else differs, which may be the reason for a difference."""
    found = differences(first.versions, second.versions)
    if not found:
        return []
    return [f"made by different versions: {found[0]}" + (f", and {len(found) - 1} more" if found[1:] else "")]


def what_was_set(sides: Sequence[Made]) -> dict[str, list[str]]:
    """In what the sides differ on purpose: key -> the value of each ("" where it is the file's)."""
    policies = [{f"policies.{name}": str(value) for name, value in _policies(made).items()} for made in sides]
    settings = [dict(setting.partition("=")[::2] for setting in made.settings) for made in sides]
    values = [setting | policy for setting, policy in zip(settings, policies, strict=True)]
    keys = dict.fromkeys(key for value in values for key in value)
    rows = {key: [value.get(key, "") for value in values] for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def names(asked: Sequence[str], sides: Sequence[Made]) -> list[str]:
    """What to call the sides: by what was set for each (`joint`), otherwise as they were `asked` for."""
    rows = list(what_was_set(sides).items())
    if len(rows) == 1:
        key, values = rows[0]
        called = (
            list(values) if key.startswith("policies.") else [f"{key}={value}" if value else "" for value in values]
        )
    else:
        called = [", ".join(f"{key}={row[n]}" for key, row in rows if row[n]) for n in range(len(sides))]
    called = [name or "as written" for name in called]
    if len(set(called)) == len(sides):
        return called
    return list(asked) if len(set(asked)) == len(asked) else [f"{name} ({n})" for n, name in enumerate(asked, 1)]


def _policies(made: Made) -> dict[str, str]:
    return {key: value for key, value in msgspec.to_builtins(made.plan.policies).items() if isinstance(value, str)}


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("plan.json", "FAILED"))


def _inside(folder: Path) -> list[Path]:
    """The folders of a set: in `runs` of a study's folder, otherwise in the folder itself."""
    runs = folder / "runs"
    where = runs if runs.is_dir() else folder
    return [path for path in where.iterdir() if not path.name.startswith(".")] if where.is_dir() else []


def _differing_keys(first: bytes, second: bytes, on_purpose: Sequence[str]) -> list[str]:
    one, other = (_flat(YAML(typ="safe", pure=True).load(text.decode())) for text in (first, second))
    free = (*_FREE, *on_purpose)
    return [
        key
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key) and not any(key == part or key.startswith(f"{part}.") for part in free)
    ]


def _flat(value: object, key: str = "") -> dict[str, object]:
    """Every value of a scenario by its key as `--set` has it: an entry of a list is named by its name, or its place from 1."""
    if isinstance(value, Mapping):
        parts: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list):
        parts = ((e.get("name", n) if isinstance(e, Mapping) else n, e) for n, e in enumerate(value, 1))
    else:
        return {key: value}
    return {
        place: leaf
        for name, part in parts
        for place, leaf in _flat(part, f"{key}.{name}" if key else str(name)).items()
    }


def _listed(seeds: Iterable[int]) -> str:
    found = list(seeds)
    return f"seed{'s' * (len(found) > 1)} {some([str(seed) for seed in found])}"
