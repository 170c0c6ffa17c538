"""The host's side of a run: scenario -> plan -> machine -> run folder."""

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from edge_nodes.choosing.variants import elastic
from edge_nodes.models import numerics
from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import shipping
from edge_nodes.tiers import payloads
from insitu import cache, fidelity, own_library, program, provenance, remains, ryu_environment
from insitu.native import machine as native
from insitu.native import probe
from insitu.summary import Summary, summarise
from insitu.versions import versions
from insitu.vm import machine
from insitu.vm.kernel import Kernel, find_or_build
from insitu.vm.process import cleaning_up_on_signals
from scenarios import plan as plans
from scenarios import planner, recording, records
from scenarios.load import load
from scenarios.names import slice_names
from scenarios.plan import Plan
from scenarios.schema import Payload, Scenario

PATTERN = "digits"  # whose blocks and variants an elastic payload has
WALL_LIMIT_S = 1800.0


class RunFailed(Exception):
    """The machine could not carry out the run; the folder keeps its logs."""

    def __init__(self, what: str, folder: Path) -> None:
        super().__init__(f"{what} (logs: {folder}/logs)")


class _NoRecords(Exception):
    """Nothing that could be judged has come out of the machine; the message says why."""


class NoRun(Exception):
    """A folder is not that of a run which has ended: one line."""


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
    """The folder of the published models, which is unpacked when it is first needed. Raises DamagedLibrary, OSError."""

    def unpack(folder: Path) -> None:
        report("models: unpacking the library that ships")
        shipping.unpack(folder)

    return cache.cached("library", shipping.key(), unpack)


def shipped() -> dict[str, list[str]]:
    """The models that ship, with the names of their variants."""
    manifests = map(Manifest.load, sorted((shipping.SHIPPED / "manifests").iterdir()))
    return {manifest.model: [variant.name for variant in elastic(manifest)] for manifest in manifests}


@lru_cache(8)  # a study asks for each of its runs
def published_models(library: Path) -> planner.Published:
    """What a plan has to know of a library, which lies in the cache: its content does not change."""
    manifests = {file: Manifest.load(file) for file in sorted((library / "manifests").glob("*.json"))}
    models = {manifest.model: _sha256(file) for file, manifest in manifests.items()}
    sizes = {manifest.model: max(variant.bytes for variant in elastic(manifest)) for manifest in manifests.values()}
    return planner.Published(models, _sha256(library / "held_out.safetensors"), sizes)


def payload_manifests(scenario: Scenario, library: Path) -> dict[str, Path]:
    """The manifest's file of each of a scenario's payloads; its digests are computed when it is first needed."""
    like = library / "manifests" / f"{PATTERN}.json"

    def file(name: str, payload: Payload) -> Path:
        of = like.read_bytes() if payload.elastic else b""
        made_by = Path(payloads.__file__).read_bytes() + version("numpy").encode()
        key = hashlib.sha256(f"{name} {payload.size} ".encode() + made_by + of).hexdigest()[:16]

        def make(folder: Path) -> None:
            scaled = payload.elastic and payloads.scaled(name, payload.size, Manifest.load(like))
            (folder / "manifest.json").write_bytes((scaled or payloads.plain(name, payload.size)).to_json())

        return cache.cached("payload", key, make) / "manifest.json"

    return {name: file(name, payload) for name, payload in scenario.payloads.items()}


class Prepared(NamedTuple):
    """All that a run is made of, besides the guest, insitu itself and the models that ship; it can be sent to another machine."""

    plan: Plan
    source: provenance.Source
    scenario: bytes  # the file's
    policies: dict[str, bytes]  # the modules of the user's own policies
    payloads: dict[str, bytes]  # their manifests


def run(
    scenario: Scenario,
    file: Path,
    seed: int,
    out: Path | None,
    clock: Literal["virtual", "real"] = "virtual",
    on: Literal["vm", "host"] = "vm",
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[Progress], None] = lambda _: None,
    command: Iterable[str] = (),
) -> Result:
    """Runs a scenario, which was read from `file`, in the guest or on this host (real clock only), and leaves its folder.

    Raises FolderTaken, UnfitHost, BrokenLibrary, KernelError or RunFailed. Ctrl-C or SIGTERM leaves nothing.
    """
    target = free_folder(out, f"{scenario.name}-{seed}")
    with cleaning_up_on_signals():
        datapath = probe.require_fit(len(slice_names(scenario))) if on == "host" else "system"
        if datapath == "netdev":
            report("this host's kernel has no Open vSwitch: its userspace datapath carries the packets, and adds delay")
        library = library_of(scenario, report)
        kernel = find_or_build(report) if on == "vm" else None
        prepared = prepare(scenario, file, seed, library, clock)
        plan = replace(prepared.plan, machine=replace(prepared.plan.machine, datapath=datapath))
        result = carry_out(prepared._replace(plan=plan), library, kernel, target, progress, command=command)
        from insitu.report import run_page  # a run that has failed needs none of what it imports

        run_page.write(result.folder)
        return result


def read_scenario(file: Path, settings: Sequence[str] = ()) -> Scenario:
    """A scenario that this machine can run. Raises ScenarioError, NoRyu."""
    scenario = load(file, settings, shipped())
    ryu_environment.require_for(scenario.controller)
    return scenario


def library_of(scenario: Scenario, report: Callable[[str], None] = lambda _: None) -> Path:
    """The models that ship, with the scenario's own. Raises BrokenLibrary, DamagedLibrary, OSError."""
    library = model_library(report)
    own = scenario.libraries.central.models
    return own_library.joined(library, own.folder) if own else library


def prepare(
    scenario: Scenario, file: Path, seed: int, library: Path, clock: Literal["virtual", "real"] = "virtual"
) -> Prepared:
    """Decides everything, and reads what it needs of files beside the scenario's `file`. Raises OSError."""
    manifests = payload_manifests(scenario, library)
    published = published_models(library)
    models = published.models | {name: _sha256(manifest) for name, manifest in manifests.items()}
    content = file.read_bytes()
    expected = [expectation.text for expectation in scenario.expect]
    return Prepared(
        planner.decide(scenario, seed, published._replace(models=models), clock),
        provenance.source(file, content, list(scenario.settings), expected),
        content,
        own_policies(scenario),
        {name: manifest.read_bytes() for name, manifest in manifests.items()},
    )


def carry_out(
    prepared: Prepared,
    library: Path,
    kernel: Kernel | None,
    target: Path,
    progress: Callable[[Progress], None] = lambda _: None,
    on_poll: Callable[[], None] = lambda: None,
    command: Iterable[str] = (),
) -> Result:
    """Runs what is prepared, on this host without a kernel, and leaves its folder as `target`.

    What `on_poll` raises, which is called about 20 times a second, ends the run and leaves nothing. Raises RunFailed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with remains.temporary_folder(target.parent, f".{target.name}.") as folder:
        folder.chmod(0o755)
        try:
            _write_inputs(prepared, folder)
            summary = _run(prepared, kernel, library, folder, progress, on_poll, list(command))
        except (machine.MachineError, _NoRecords) as error:
            why = str(error).replace(str(folder), str(target))
            (folder / "FAILED").write_text(f"{why}\n")
            folder.rename(target)
            raise RunFailed(why, target) from None
        folder.rename(target)
    return Result(target, summary)


def _write_inputs(prepared: Prepared, folder: Path) -> None:
    (folder / "scenario.yaml").write_bytes(prepared.scenario)
    write_plan(prepared.plan, prepared.policies, folder)
    (folder / "payloads").mkdir()
    for name, manifest in prepared.payloads.items():
        (folder / "payloads" / f"{name}.json").write_bytes(manifest)


def write_plan(plan: Plan, policies: dict[str, bytes], folder: Path) -> None:
    """The plan, and beside it the modules that the scenario's own policies come from."""
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    (folder / plans.OWN_POLICIES).mkdir()
    for name, module in policies.items():
        (folder / plans.OWN_POLICIES / name).write_bytes(module)


def own_policies(scenario: Scenario) -> dict[str, bytes]:
    """The modules that the scenario's own policies come from, by their names."""
    return {module.name: module.read_bytes() for module in scenario.policies.files}


def read_run(folder: Path) -> tuple[Plan, list[records.AnyEvent]]:
    """The plan and the records of a run's folder. Raises NoRun."""
    from insitu import table

    file = folder / "plan.json"
    try:
        plan = plans.parse(file.read_bytes())
        file = folder / "events.parquet"
        return plan, table.read(file)
    except (FileNotFoundError, NotADirectoryError):
        raise no_run(folder, file.name) from None
    except (OSError, msgspec.DecodeError, table.Unreadable) as error:
        raise NoRun(f"{file}: {error}") from None


def no_run(folder: Path, missing: str) -> NoRun:
    """Why a folder that lacks a file is not that of a run."""
    failed = "the run failed; see FAILED there" if (folder / "FAILED").exists() else "this is no run's folder"
    return NoRun(f"{folder}: no {missing}: {failed}")


def plan_alone(scenario: Scenario) -> Plan:
    """The plan of a scenario that is not to be run: no model has to be there."""
    return planner.decide(scenario, 0, planner.Published({}, ""))


def free_folder(out: Path | None, name: str, where: Path = Path("runs")) -> Path:
    """Where a run's folder will be; without `out` the first free where/<name>[-n]. Raises FolderTaken."""
    if out is None:
        choices = (where / (name if n == 1 else f"{name}-{n}") for n in range(1, 10**6))
        return next(choice for choice in choices if not choice.exists())
    if out.exists():
        raise FolderTaken(f"{out} exists already; name another folder with --out, or remove it")
    return out


def _run(
    prepared: Prepared,
    kernel: Kernel | None,
    library: Path,
    folder: Path,
    progress: Callable[[Progress], None],
    on_poll: Callable[[], None],
    command: list[str],
) -> Summary:
    """Runs the guest and makes its folder whole. Raises MachineError or _NoRecords."""
    plan, began = prepared.plan, time.monotonic()
    follower = _Follower(folder / "progress", progress, on_poll, plan.machine.clock == "real")
    failure = _run_guest(plan, kernel, library, folder, follower)
    progress(Progress("summary", 0))
    try:
        events, lost = recording.read(folder / "events"), None
        events = sorted([*events, *follower.idle_events()], key=lambda event: event.t)
    except recording.RecordsError as error:
        if failure:
            raise _NoRecords(failure) from None
        events, lost = [], str(error)
    summary = summarise(plan, events, failure or lost, time.monotonic() - began)
    _write_results(prepared, kernel, folder, command, events, summary)
    if not lost:
        shutil.rmtree(folder / "events")
    for name in ("progress", "failure"):
        (folder / name).unlink(missing_ok=True)
    return summary


def _run_guest(plan: Plan, kernel: Kernel | None, library: Path, folder: Path, follower: "_Follower") -> str | None:
    """Gives what the guest's program said went wrong; without a kernel it runs on this host. Raises MachineError."""
    run_in_machine: Callable[..., int] = native.run
    if kernel is not None:
        guest = machine.Machine(kernel, plan.seed, plan.machine.clock, plan.machine.memory_mb)
        run_in_machine = partial(machine.run, guest)
    status = run_in_machine(
        [program.python(), "-S", "-m", "insitu.guest", "/run/out", "/run/library"],
        folder,
        wall_limit_s=WALL_LIMIT_S,
        cwd=PurePath("/run/project"),
        env={
            **numerics.ENVIRONMENT,
            "PYTHONPATH": program.module_path(),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": machine.SYSTEM_PATH,
        },
        mounts={
            "project": program.folder(),
            "python": Path(sys.prefix),
            "library": library,
            **ryu_environment.mounts(plan.controller),
        },
        on_poll=follower.poll,
    )
    failure = folder / "failure"
    if failure.exists():
        return failure.read_text().strip()
    return f"the guest's program ended with status {status}" if status else None


def _write_results(
    prepared: Prepared,
    kernel: Kernel | None,
    folder: Path,
    command: list[str],
    events: list[records.AnyEvent],
    summary: Summary,
) -> None:
    from insitu import table

    table.write(events, folder / "events.parquet")
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    plan = prepared.plan
    here = versions_here(kernel, plan.models) | _ryu(plan)
    provenance.write(provenance.of(plan, prepared.source, here, "vm" if kernel else "host", command), folder)


class _Follower:
    """Reads what the guest appends to its progress file; with `watching`, looks at the CPU when a second has passed."""

    def __init__(
        self, file: Path, progress: Callable[[Progress], None], on_poll: Callable[[], None], watching: bool
    ) -> None:
        self._file, self._progress, self._on_poll, self._watching, self._seen = file, progress, on_poll, watching, 0
        self._cpu: fidelity.IdleCpu | None = None

    def poll(self, cpu: int | None) -> None:
        """`cpu` is the guest's; None stands for all of this machine."""
        self._on_poll()
        if "insitu.table" not in sys.modules:
            import insitu.table  # noqa: F401 - takes 0.3 s, for which there is time while the guest boots
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        states = [_state(line) for line in lines[self._seen :]]
        for state in states:
            self._progress(state)
        self._seen = len(lines)
        running = [state.second for state in states if state.phase == "run"]
        if self._watching and running:
            if self._cpu is None:
                self._cpu = fidelity.IdleCpu(cpu, running[-1])
            else:
                self._cpu.see(running[-1])

    def idle_events(self) -> list[records.Idle]:
        return self._cpu.events if self._cpu else []


def _state(line: str) -> Progress:
    phase, _, second = line.partition(" ")
    return Progress("run", int(second)) if phase == "at" else Progress(phase, 0)


def versions_here(kernel: Kernel | None, models: dict[str, str]) -> dict[str, str]:
    """The versions of everything that a run on this machine can depend on; `models` are its plan's."""
    return versions(kernel, program.key(), models)


def _ryu(plan: Plan) -> dict[str, str]:
    return {"ryu": ryu_environment.require().name} if plan.controller == "ryu" else {}


def _sha256(file: Path) -> str:
    return provenance.sha256(file.read_bytes())
