"""What a person sees of a study while it runs: how many runs are done, and an honest estimate of how long the rest takes."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from insitu.study.cases import Outcome

_LINE_EVERY_S = 30.0  # at least this long between two lines where there is no terminal


def time_left_s(walls_s: Sequence[float], remaining: int, workers: int) -> float | None:
    """The seconds that `remaining` runs take, by the wall times of those that have ended here.

    None until as many have ended as there are workers: before that the short ones are all that is known.
    """
    if not remaining or not workers or len(walls_s) < workers:
        return None
    return -(-remaining // workers) * sum(walls_s) / len(walls_s)


class StudyProgress:
    """A bar on a terminal, plain lines elsewhere; nothing but failures when `quiet`."""

    def __init__(self, name: str, quiet: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._plain = not self._console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn(),
            console=self._console, disable=self._plain or quiet, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=None, state="preparing")
        self._total, self._done, self._failed, self._workers = 0, 0, 0, 0
        self._walls_s: list[float] = []
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Something that takes long, or that is worth knowing."""
        if self._plain and not self._quiet:
            self._console.print(line, markup=False)
        self._bar.update(self._task, state=line)

    def begin(self, total: int) -> None:
        """So many more runs are wanted."""
        self._total += total
        self._show()

    def at_work(self, workers: int) -> None:
        """So many runs are made at once from now on."""
        self._workers = workers

    def ended(self, outcome: Outcome, fresh: bool) -> None:
        """A run is there; `fresh` if it was made just now."""
        self._done += 1
        if not outcome.usable:
            self._failed += 1
            why = outcome.failure or "INVALID: " + "; ".join(outcome.summary["verdict"]["reasons"])  # type: ignore[index]
            what = " ".join([*outcome.case.settings, f"seed {outcome.case.seed}"])
            self._console.print(f"{what}: {why} ({outcome.folder})", markup=False, style="red", soft_wrap=True)
        elif fresh and outcome.summary is not None:
            self._walls_s.append(outcome.summary["time_s"]["wall"])
        self._show()

    def state(self) -> str:
        """3 of 40, 1 failed, about 2 min left."""
        left = time_left_s(self._walls_s, self._total - self._done, self._workers)
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._done} of {self._total}{failed}{'' if left is None else f', about {_about(left)} left'}"

    def _show(self) -> None:
        self._bar.update(self._task, total=self._total, completed=self._done, state=self.state())
        due = time.monotonic() - self._told > _LINE_EVERY_S or self._done in (0, self._total)
        if self._plain and not self._quiet and due:
            self._told = time.monotonic()
            self._console.print(self.state(), markup=False)


def _about(seconds: float) -> str:
    """To one unit, as an estimate deserves."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
