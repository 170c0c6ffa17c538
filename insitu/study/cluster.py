"""Carries out cases on Dask: one guest a core of this machine, or whatever workers a scheduler elsewhere has.

    with study_folder("hello-sweep", {"file": "hello.yaml", "seeds": 20}) as folder, StudyProgress("hello") as progress:
        for outcome in carry_out([Case(Path("hello.yaml"), (), seed) for seed in range(20)], folder, progress=progress):
            ...  # Outcome: case, key, folder, summary or failure; in the order in which they end

A run that is in `folder` already, by its key, is given as it is. One that failed before is tried again. Leaving the loop (Ctrl-C,
an exception, `close()`) ends workers and their guests; what is done is kept.

Runs travel by content in both directions, so workers need no file system in common. A worker that dies loses its current run,
which another one does again; a run that has taken four workers with it counts as failed.
"""

import logging
import os
import shutil
import signal
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

from insitu import experiment
from insitu.study.cases import FAILED, Case, Outcome, Ready, key_of, outcome_of, prepare
from insitu.study.folder import pack, unpack
from insitu.study.progress import StudyProgress
from insitu.vm.kernel import find_or_build

if TYPE_CHECKING:
    from distributed import Client, Future

RUNS = "runs"  # in a study's folder
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # that end a study
_FIND_LIMIT_S = 10


class ClusterError(Exception):
    """The scheduler or its workers cannot be used: one line."""


def carry_out(
    cases: Sequence[Case], folder: Path, scheduler: str | None = None, progress: StudyProgress | None = None
) -> Iterator[Outcome]:
    """The outcome of every case, as they end; their runs are in `folder`/runs/KEY, which is a `study_folder`.

    Every case is checked before anything runs. Raises ScenarioError, NoRyu, BrokenLibrary, KernelError, ClusterError, OSError.
    """
    yield from carry_out_prepared(prepare(cases), folder, scheduler, progress)


def carry_out_prepared(
    ready: Sequence[Ready], folder: Path, scheduler: str | None = None, progress: StudyProgress | None = None
) -> Iterator[Outcome]:
    """As `carry_out`, for cases that `prepare` has checked already."""
    progress = progress or StudyProgress("", quiet=True)
    if scheduler is None:
        experiment.model_library(progress.say)
        versions = experiment.versions_here(find_or_build(progress.say), {})
        yield from _Study(ready, folder, versions, progress).outcomes(None)
    else:
        with _connected(scheduler) as client:
            yield from _Study(ready, folder, _versions_of(client, progress), progress).outcomes(client)


class _Study:
    """Cases by the keys of their runs: equal runs are made once."""

    def __init__(self, ready: Sequence[Ready], folder: Path, versions: dict[str, str], progress: StudyProgress) -> None:
        self._runs, self._versions, self._progress = folder / RUNS, versions, progress
        self._wanted: dict[str, list[Ready]] = defaultdict(list)
        for one in ready:
            self._wanted[key_of(one.prepared.plan, versions)].append(one)

    def outcomes(self, client: "Client | None") -> Iterator[Outcome]:
        """Those that are there, then the others; without a client a cluster on this machine carries them out."""
        self._progress.begin(sum(map(len, self._wanted.values())))
        there = {key: found for key in self._wanted if (found := self._found(key))}
        for key in there:
            yield from self._outcomes(key, fresh=False)
        missing = [key for key in self._wanted if key not in there]
        if not missing:
            return
        if client is not None:
            yield from self._carry_out(missing, client)
        else:
            with _local_cluster(self._runs.parent, len(missing)) as local:
                yield from self._carry_out(missing, local)

    def _found(self, key: str) -> bool:
        folder = self._runs / key
        return (folder / "summary.json").exists() and not (folder / FAILED).exists()

    def _carry_out(self, keys: list[str], client: "Client") -> Iterator[Outcome]:
        from distributed import as_completed

        from insitu.study import worker

        name = f"insitu-{uuid.uuid4().hex[:8]}"
        models = self._send_models(client, keys, name)
        futures: dict[Future, str] = {}
        for priority, key in enumerate(keys):
            one = self._wanted[key][0]
            task = worker.Task(key, one.prepared, one.case.command, self._versions)
            future = client.submit(
                worker.carry_out, task, one.models and models[one.models], key=f"{name}-{key}", priority=-priority
            )
            futures[future] = key
        crew = _Crew(client, self._progress)
        try:
            for future in as_completed(list(futures), loop=client.loop):
                key = futures.pop(future)
                self._keep(key, future)
                future.release()
                crew.look()
                yield from self._outcomes(key, fresh=True)
        finally:
            client.cancel(list(futures))

    def _send_models(self, client: "Client", keys: list[str], name: str) -> dict[Path, "Future"]:
        """The scenarios' own models, on their way to workers that need them."""
        from insitu.study import worker

        folders = {one.models for key in keys for one in self._wanted[key] if one.models}
        return {
            folder: client.submit(worker.content, pack(folder), key=f"{name}-models-{n}")
            for n, folder in enumerate(sorted(folders))
        }

    def _keep(self, key: str, future: "Future") -> None:
        """Puts a run into the study's folder; one that failed has a file FAILED, which says why. Raises ClusterError."""
        target = self._runs / key
        error = future.exception()
        if future.status not in ("finished", "error"):
            raise ClusterError(
                "the Dask scheduler is gone, or has cancelled what it was asked for; what is done is kept"
            )
        packed, failure = (None, str(error) or repr(error)) if error else future.result()
        if packed is not None:
            unpack(packed, target)
        if failure is not None:
            target.mkdir(parents=True, exist_ok=True)
            (target / FAILED).write_text(f"{failure}\n")

    def _outcomes(self, key: str, fresh: bool) -> Iterator[Outcome]:
        for one in self._wanted[key]:
            outcome = outcome_of(one.case, key, self._runs / key)
            self._progress.ended(outcome, fresh)
            yield outcome


class _Crew:
    """The workers as they come and go."""

    def __init__(self, client: "Client", progress: StudyProgress) -> None:
        self._client, self._progress = client, progress
        self._known: set[str] = set()
        self.look()

    def look(self) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if gone := self._known - set(workers):
            self._progress.say(f"workers that have died: {len(gone)}; what they were running is done again")
        self._known = set(workers)
        self._progress.at_work(sum(worker["nthreads"] for worker in workers.values()))


@contextmanager
def _local_cluster(folder: Path, most: int) -> Iterator["Client"]:
    """A worker a core, each a process with one thread. They listen on loopback alone, and answer nobody else's certificate.

    Raises ClusterError.
    """
    import dask
    from distributed import Client, LocalCluster, Security

    settings = {
        "distributed.scheduler.worker-saturation": 1.0,  # no run waits at a worker while another one is free
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with dask.config.set(settings), _scratch(folder) as scratch, _closing_undisturbed() as stack:
        with _undisturbed():
            try:
                cluster = LocalCluster(
                    n_workers=min(len(os.sched_getaffinity(0)), most),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    security=Security.temporary(),
                    dashboard_address=None,
                    # Its HTTP server is always there: with no routes
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    memory_limit=0,
                    local_directory=scratch,
                    preload=["insitu.study.worker"],
                    silence_logs=logging.CRITICAL,
                )
            except (RuntimeError, OSError) as error:
                raise ClusterError(f"no workers can be started on this machine: {error}") from error
            client = stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))
        yield client


@contextmanager
def _closing_undisturbed() -> Iterator[ExitStack]:
    stack = ExitStack()
    try:
        yield stack
    finally:
        with _undisturbed():
            stack.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait for its end: Dask cannot be interrupted while it starts or ends (in the main thread, which alone handles them).

    Processes that Dask starts have Ctrl-C wait, too, until they are ready (`worker.dask_setup`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in heeded}
    resource_tracker.ensure_running()  # here, for it would let signals through when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Where workers put what is not done yet; nobody else's, for the study has its folder's lock."""
    scratch = folder / ".workers"
    shutil.rmtree(scratch, ignore_errors=True)  # of a study that was killed
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


@contextmanager
def _connected(scheduler: str) -> Iterator["Client"]:
    """Raises ClusterError."""
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it has to say is said in a line
    try:
        client = Client(scheduler, timeout=_FIND_LIMIT_S, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(f"--scheduler {scheduler}: no Dask scheduler answers there: {error}") from None
    with client:
        yield client


def _versions_of(client: "Client", progress: StudyProgress) -> dict[str, str]:
    """Has every worker prepare itself; gives the versions that all of them have. Raises ClusterError."""
    from insitu.study import worker

    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise ClusterError("the scheduler has no workers; start some, as in `dask worker ADDRESS --nthreads 1`")
    progress.say(f"workers prepare themselves: {len(workers)}")
    futures = {address: client.submit(worker.prepare, workers=[address], pure=False) for address in workers}
    found: dict[str, dict[str, str]] = {}
    for address, future in futures.items():
        error = future.exception()
        if error is not None:
            raise ClusterError(f"{address} cannot prepare itself: {error}")
        found[address] = future.result()
    first = workers[0]
    for address in workers[1:]:
        if differing := worker.differing(found[first], found[address]):
            raise ClusterError(f"{address} is not as {first}: {differing}; every worker has to have the same versions")
    return found[first]
