"""The host's side of a run: scenario -> plan -> machine -> run folder."""

import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edge_nodes import zoo
from edge_nodes.manifest import Manifest
from insitu import cache, table
from insitu.summary import Summary, summarise
from insitu.vm import machine
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans
from scenarios import planner, records
from scenarios.plan import Plan
from scenarios.schema import Scenario

WALL_LIMIT_S = 1800.0
PROJECT = Path(__file__).resolve().parent.parent
_VERSIONS = ("torch", "numpy", "os-ken", "aiohttp", "msgspec", "pydantic")


class RunFailed(Exception):
    """The machine could not carry out the run; the folder keeps its logs."""

    def __init__(self, what: str, folder: Path) -> None:
        super().__init__(f"{what} (logs: {folder}/logs)")


class FolderTaken(Exception):
    """The run's folder exists already."""


class Result(NamedTuple):
    folder: Path
    summary: Summary


class Progress(NamedTuple):
    """How far a run is: its phase, and in phase "run" the virtual seconds that have passed."""

    phase: str
    second: int


def model_library(report: Callable[[str], None]) -> Path:
    """The folder of the published models; they are trained when they are first needed."""
    return cache.cached("library", zoo.key(), lambda folder: zoo.build(folder, report))


def published_models(library: Path) -> planner.Published:
    manifests = sorted((library / "manifests").glob("*.json"))
    models = {Manifest.load(file).model: _sha256(file) for file in manifests}
    return planner.Published(models, _sha256(library / "held_out.safetensors"))


def run(
    scenario: Scenario,
    file: Path,
    seed: int,
    out: Path | None,
    clock: Literal["virtual", "real"] = "virtual",
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[Progress], None] = lambda _: None,
    command: Iterable[str] = (),
) -> Result:
    """Runs a scenario, which was read from `file`, in the guest, and leaves its folder.

    Raises FolderTaken, KernelError or RunFailed.
    """
    target = _target(out, f"{scenario.name}-{seed}")
    library = model_library(report)
    plan = planner.decide(scenario, seed, published_models(library), clock)
    kernel = find_or_build(report)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    folder.chmod(0o755)
    began = time.monotonic()
    try:
        shutil.copyfile(file, folder / "scenario.yaml")
        (folder / "plan.json").write_bytes(plans.canonical(plan))
        failure = _execute(plan, kernel, library, folder, progress)
        result = _conclude(plan, kernel, folder, time.monotonic() - began, failure, list(command))
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    except (machine.MachineError, RunFailed) as error:
        (folder / "FAILED").write_text(f"{error}\n")
        folder.rename(target)
        raise RunFailed(str(error).replace(str(folder), str(target)), target) from None
    folder.rename(target)
    return Result(target, result)


def summarise_again(folder: Path) -> Summary:
    """The summary of a run's folder, computed from its plan and records."""
    plan = plans.parse((folder / "plan.json").read_bytes())
    before = json.loads((folder / "summary.json").read_text())
    return summarise(plan, table.read(folder / "events.parquet"), None, before["time_s"]["wall"])


def _execute(
    plan: Plan, kernel: Kernel, library: Path, folder: Path, progress: Callable[[Progress], None]
) -> str | None:
    """Runs the guest; gives what its program said went wrong. Raises MachineError."""
    guest = machine.Machine(kernel, plan.seed, plan.machine.clock, plan.machine.memory_mb)
    follower = _Follower(folder / "progress", progress)
    command = [sys.executable, "-m", "insitu.guest", "/run/out", str(library)]
    status = machine.run(
        guest,
        command,
        folder,
        wall_limit_s=WALL_LIMIT_S,
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT)},
        on_poll=follower.poll,
    )
    failure = folder / "failure"
    if status and not failure.exists():
        return f"the guest's program ended with status {status}"
    return failure.read_text().strip() if failure.exists() else None


def _conclude(
    plan: Plan, kernel: Kernel, folder: Path, wall_s: float, failure: str | None, command: list[str]
) -> Summary:
    """Records -> events.parquet, summary.json, provenance.json; the raw files go when they are in the table."""
    try:
        events, lost = records.read(folder / "events"), None
    except records.RecordsError as error:
        if failure:
            raise RunFailed(failure, folder) from None
        events, lost = [], str(error)
    summary = summarise(plan, events, failure or lost, wall_s)
    table.write(events, folder / "events.parquet")
    _write_json(folder / "summary.json", summary)
    _write_json(folder / "provenance.json", _provenance(plan, kernel, command))
    if not lost:
        shutil.rmtree(folder / "events")
    for name in ("progress", "failure"):
        (folder / name).unlink(missing_ok=True)
    return summary


def _target(out: Path | None, name: str) -> Path:
    """Where the run's folder will be; without `out` the first free runs/<name>[-n]."""
    if out is not None:
        if out.exists():
            raise FolderTaken(f"{out} exists already; name another folder with --out, or remove it")
        out.parent.mkdir(parents=True, exist_ok=True)
        return out
    runs = Path("runs")
    runs.mkdir(exist_ok=True)
    return next(p for n in range(1, 10**6) if not (p := runs / (name if n == 1 else f"{name}-{n}")).exists())


class _Follower:
    """Reads what the guest appends to its progress file."""

    def __init__(self, file: Path, progress: Callable[[Progress], None]) -> None:
        self._file, self._progress, self._seen = file, progress, 0

    def poll(self) -> None:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        for line in lines[self._seen :]:
            phase, _, second = line.partition(" ")
            self._progress(Progress("run", int(second)) if phase == "at" else Progress(phase, 0))
        self._seen = len(lines)


def _provenance(plan: Plan, kernel: Kernel, command: list[str]) -> dict[str, Any]:
    return {
        "command": command,
        "plan": plans.digest(plan),
        "plan_format": plan.format,
        "kernel": {"version": kernel.version, "sha256": kernel.sha256},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        "models": plan.models,
        "machine": {"architecture": platform.machine(), "cpus": os.cpu_count(), "system": platform.platform()},
    }


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def _sha256(file: Path) -> str:
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
