"""Makes a run again from its folder, and says whether the bits are the same and, if they are not, what differs.

The plan that the folder has is carried out, if this insitu reads it and has its models; otherwise the scenario is planned anew.
What planning anew would decide otherwise is said in both cases.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from insitu import experiment, provenance, verify
from insitu.experiment import NoRun, Prepared, Progress, Result
from insitu.provenance import Provenance
from insitu.report import run_page
from insitu.ryu_environment import require_for
from insitu.vm.kernel import find_or_build
from insitu.vm.process import cleaning_up_on_signals
from scenarios import plan as plans
from scenarios.load import ScenarioError, load


class Again(NamedTuple):
    """Whether the bits are the same, a line for each thing to know, and the new run."""

    equal: bool
    lines: list[str]
    result: Result


class Made(NamedTuple):
    """A run that is there; `prepared` is what it was made of, None where its plan is not in this insitu's format."""

    folder: Path
    provenance: Provenance
    plan: dict[str, Any]  # as it was written
    digest: str
    prepared: Prepared | None


def again(
    made: Made,
    out: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[Progress], None] = lambda _: None,
    command: Iterable[str] = (),
) -> Again:
    """Makes a run with the virtual clock again; the new one is in `out`, by default in runs/.

    Raises NoRun, FolderTaken, BrokenLibrary, NoRyu, KernelError, RunFailed, OSError.
    """
    if made.provenance.clock == "real":
        raise NoRun(f"{made.folder}: a run with the real clock is not the same to the bit when it is made again")
    target = experiment.free_folder(out, f"{made.plan['scenario']}-{made.provenance.seed}")
    with cleaning_up_on_signals():
        fresh, library, why_not = plan_anew(made, report)
        prepared = made.prepared if models_are_there(made, library) else fresh
        if prepared is None:
            raise NoRun(f"{made.folder}: it cannot be made again: {why_not or 'its models are not here'}")
        require_for(prepared.plan.controller)
        kernel = find_or_build(report)
        result = experiment.carry_out(prepared, library, kernel, target, progress, command=command)
    run_page.write(result.folder)
    outcome = compare(made, result)
    planned = [f"not planned anew: {why_not}"] if fresh is None else plan_differences(made.plan, _plain(fresh.plan))
    return Again(outcome.equal, [*outcome.lines, *planned], result)


def read(folder: Path) -> Made:
    """Raises NoRun."""
    try:
        written = (folder / "plan.json").read_bytes()
        digest = json.loads((folder / "summary.json").read_bytes())["digest"]
        of = provenance.read(folder)
        return Made(folder, of, json.loads(written), digest, _stored(folder, of, written))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise experiment.no_run(folder, Path(error.filename).name) from None
    except (OSError, ValueError, KeyError) as error:
        raise NoRun(f"{folder}: this is no whole run: {error}") from None


def _stored(folder: Path, of: Provenance, plan: bytes) -> Prepared | None:
    if of.plan_format != plans.FORMAT:
        return None
    return Prepared(
        plans.parse(plan),
        of.scenario,
        (folder / "scenario.yaml").read_bytes(),
        {name: (folder / plans.OWN_POLICIES / name).read_bytes() for name in of.policies},
        {file.stem: file.read_bytes() for file in sorted((folder / "payloads").iterdir())},
    )


def plan_anew(made: Made, report: Callable[[str], None]) -> tuple[Prepared | None, Path, str]:
    """What the scenario's file gives today, the library, and why not if it gives nothing.

    A file that is as it was is read where it was, among the files that it names; otherwise the run's copy is.
    """
    source = made.provenance.scenario
    file = Path(source.file)
    if not file.is_file() or provenance.sha256(file.read_bytes()) != source.sha256:
        file = made.folder / "scenario.yaml"
    try:
        scenario = load(file, source.settings, experiment.shipped())
        library = experiment.library_of(scenario, report)
        fresh = experiment.prepare(scenario, file, made.provenance.seed, library, made.provenance.clock)
        return fresh._replace(source=source), library, ""
    except ScenarioError as error:
        return None, experiment.model_library(report), str(error.problems[0])


def models_are_there(made: Made, library: Path) -> bool:
    """Whether the plan can be carried out with this library; payloads come with the run."""
    if made.prepared is None:
        return False
    here = experiment.published_models(library).models
    plan = made.prepared.plan
    return all(here.get(name) == digest for name, digest in plan.models.items() if name not in plan.payloads)


def compare(made: Made, result: Result) -> verify.Outcome:
    """What the two runs' digests say, and which of their versions differ; the plan is one of these."""
    new = provenance.read(result.folder)
    one, other = (
        {"digest": digest, "versions": {"plan": of.plan, **of.versions}}
        for digest, of in ((made.digest, made.provenance), (result.summary["digest"], new))
    )
    return verify.compare(one, other)


def plan_differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each thing that is decided otherwise, the first few of them."""
    one, other = dict(_leaves(before)), dict(_leaves(after))
    lines = [
        f"planned anew, {key} is {other.get(key, 'not there')} instead of {one.get(key, 'not there')}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]
    more = (
        [f"{len(lines) - verify.MOST_SHOWN} more things of the plan differ"] if len(lines) > verify.MOST_SHOWN else []
    )
    return [*lines[: verify.MOST_SHOWN], *more]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a plan by its place; a list's entries are named by name or host where each has its own, else by position."""
    if isinstance(value, dict) and value:
        parts = list(value.items())
    elif isinstance(value, list) and value:
        names = [entry.get("name", entry.get("host")) if isinstance(entry, dict) else None for entry in value]
        parts = list(
            zip(names if len(set(names) - {None}) == len(value) else range(1, len(value) + 1), value, strict=True)
        )
    else:
        yield key, value
        return
    for name, part in parts:
        yield from _leaves(part, f"{key}.{name}" if key else str(name))


def _plain(plan: plans.Plan) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(plans.canonical(plan))
    return plain
