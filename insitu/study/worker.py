"""What a worker of a study does: it prepares itself, then carries out one run after another. Dask calls this module.

Nothing of a run stays with the worker: its folder is sent to whoever asked for it. A run that is no longer wanted (the study was
interrupted, or its process died) ends with its guest.
"""

import shutil
import signal
import tempfile
from collections.abc import Callable
from functools import cache as remembered
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from distributed import Worker, get_worker

from insitu import cache, experiment, own_library
from insitu.own_library import BrokenLibrary
from insitu.ryu_environment import NoRyu, require_for
from insitu.study.folder import pack, unpack
from insitu.vm.kernel import Kernel, find_or_build
from insitu.vm.source import KernelError


class Task(NamedTuple):
    """A run as it is sent to a worker; `versions` are those that it counts on."""

    key: str
    prepared: experiment.Prepared
    command: list[str]
    versions: dict[str, str]


class Done(NamedTuple):
    """A run as it comes back: its folder (packed; None if there is none), and what went wrong, if anything."""

    folder: bytes | None
    failure: str | None


class _NotWanted(Exception):
    """Nobody waits for this run any more."""


def dask_setup(worker: Worker) -> None:
    """For a worker of a local cluster, when it is ready: Ctrl-C is its client's to deal with, and waits for it until then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def prepare() -> dict[str, str]:
    """Gets or builds what every run needs. Gives the versions of all that a run here depends on. Raises KernelError, OSError."""
    experiment.model_library(_silent)
    return _versions()


def content(packed: bytes) -> bytes:
    """Passes on what many tasks need, so that it is sent to each worker once."""
    return packed


def carry_out(task: Task, models: bytes | None) -> Done:
    """Runs a task; `models` is the packed folder of the scenario's own."""
    try:
        if wrong := differing(task.versions, _versions()):
            return Done(None, f"{get_worker().address}: {wrong}; every worker has to have the same versions")
        require_for(task.prepared.plan.controller)
        return _run(task, _library(models))
    except (KernelError, BrokenLibrary, NoRyu, OSError) as error:
        return Done(None, str(error))


def _run(task: Task, library: Path) -> Done:
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=get_worker().local_directory))
    target = scratch / task.key
    try:
        experiment.carry_out(task.prepared, library, _kernel(), target, on_poll=_still_wanted(), command=task.command)
        return Done(pack(target), None)
    except experiment.RunFailed as error:
        return Done(pack(target), str(error).replace(f"{scratch}/", ""))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _still_wanted() -> Callable[[], None]:
    """Raises _NotWanted once Dask has cancelled the task that calls."""
    worker = get_worker()
    task = worker.state.tasks[worker.get_current_task()]

    def check() -> None:
        if task.state != "executing":
            raise _NotWanted

    return check


def _library(models: bytes | None) -> Path:
    """The models that ship, with the scenario's own. Raises BrokenLibrary, OSError."""
    library = experiment.model_library(_silent)
    if models is None:
        return library
    own = cache.cached("own", sha256(models).hexdigest()[:16], lambda folder: unpack(models, folder / "models"))
    return own_library.joined(library, own / "models")


def differing(wanted: dict[str, str], here: dict[str, str]) -> str:
    """The first version that is not the wanted one, in words; "" if there is none."""
    names = (name for name in wanted | here if wanted.get(name) != here.get(name))
    return next((f"{name} is {here.get(name, 'absent')}, not {wanted.get(name, 'absent')}" for name in names), "")


@remembered
def _kernel() -> Kernel:
    return find_or_build(_silent)


@remembered
def _versions() -> dict[str, str]:
    return experiment.versions_here(_kernel(), {})


def _silent(line: str) -> None:
    """A worker has nobody to tell what takes long."""
