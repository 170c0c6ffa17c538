"""What a person sees of a run: its progress while it runs, a table at its end."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from insitu.experiment import Progress as RunState
from insitu.experiment import Result
from scenarios.expectation import Measured
from scenarios.quantity import about

_PHASES = {
    "network": "starting the network",
    "controller": "starting the controller",
    "services": "starting libraries and devices",
    "end": "collecting the records",
    "down": "ending the machine",
    "summary": "computing the summary",
}


class RunProgress:
    """A bar on a terminal, plain lines elsewhere; nothing when `quiet`."""

    def __init__(self, name: str, seconds: int, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._seconds = seconds
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=max(1, seconds), state="starting the machine")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Something that takes long before the run: building the kernel, training the models."""
        self._bar.update(self._task, state=line) if self._console.is_terminal else self._console.print(
            line, highlight=False
        )

    def update(self, state: RunState) -> None:
        text = f"{state.second} of {self._seconds} virtual s" if state.phase == "run" else _PHASES[state.phase]
        self._bar.update(self._task, completed=state.second, state=text)
        if not self._console.is_terminal and (state.phase != "run" or state.second in (0, self._seconds // 2)):
            self._console.print(text, highlight=False)


def show_result(result: Result, expectations: Sequence[Measured]) -> None:
    Console(highlight=False).print(result_table(result, expectations))


def result_table(result: Result, expectations: Sequence[Measured]) -> Table:
    summary = result.summary
    verdict, downloads, accuracy = summary["verdict"], summary["downloads"], summary["accuracy"]
    table = Table(
        "",
        Column(overflow="fold"),
        show_header=False,
        title=f"{summary['scenario']}, seed {summary['seed']}",
        title_justify="left",
    )
    for name, value in (
        ("verdict", _verdict(verdict)),
        ("time", f"{summary['time_s']['virtual']:g} virtual s in {summary['time_s']['wall']:g} s"),
        ("downloads", _downloads(downloads)),
        ("latency", _latency(downloads)),
        ("accuracy", _accuracy(accuracy)),
        *((f"slice {name}", _slice(figures)) for name, figures in summary["slices"].items() if figures["sessions"]),
        *((f"link {name}", _link(figures)) for name, figures in _busiest(summary["links"])),
        *(("fidelity", text) for text in [_fidelity(summary["fidelity"])] if text),
        *((f"capture {name}", _capture(figures)) for name, figures in summary["captures"].items()),
        *((f"expected {e.text}", f"{'holds' if e.holds else '[red]does not hold[/]'}: {e.said}") for e in expectations),
        ("digest", summary["digest"]),
        ("folder", str(result.folder)),
        ("report", str(result.folder / "report.html")),
    ):
        table.add_row(name, value)
    return table


def _verdict(verdict: dict[str, Any]) -> str:
    colour = {"VALID": "green", "DEGRADED": "yellow", "INVALID": "red"}[verdict["status"]]
    return "\n".join([f"[{colour}]{verdict['status']}[/]", *verdict["reasons"]])


def _fidelity(figures: dict[str, dict[str, Any]]) -> str:
    """What was measured with a real clock, each figure with its limit; "" for a virtual one."""
    if "idle_cpu" not in figures:
        return ""
    idle, least = figures["idle_cpu"], figures["idle_cpu"]["least"]
    parts = [] if least is None else [f"idle CPU at least {100 * least:.0f} % (limit {100 * idle['limit']:g} %)"]
    for what in ("timer", "packet"):
        late = figures[f"{what}_lateness_us"]
        if late["p99"] is not None:
            parts.append(f"{what}s p99 {late['p99'] / 1000:.2f} ms late (limit {late['limit'] / 1000:g})")
    return ", ".join(parts)


def _capture(figures: dict[str, Any]) -> str:
    cut = "" if figures["cut_at_s"] is None else f", full at {figures['cut_at_s']:g} s"
    return f"{figures['packets']} packets{cut} in {figures['file']}"


def _downloads(figures: dict[str, Any]) -> str:
    text = f"{figures['requested']} requested, {figures['completed']} completed, {figures['on_time']} on time"
    rare = (("cut", "cut"), ("resumed", "resumed"), ("rolled back", "rolled_back"))
    happened = "".join(f", {figures[key]} {name}" for name, key in rare if figures[key])
    return f"{text}, {figures['failed']} failed{happened}, {about(figures['bytes'], 'size')}"


def _latency(figures: dict[str, Any]) -> str:
    known = {name: value for name, value in figures["latency_ms"].items() if value is not None}
    return ", ".join(f"{name} {value:.1f} ms" for name, value in known.items()) or "none"


def _accuracy(figures: dict[str, float | None]) -> str:
    shown = {name: "none" if value is None else f"{100 * value:.1f} %" for name, value in figures.items()}
    return f"mean {shown['mean']}; at the swaps {shown['before']} before, {shown['after']} after"


def _slice(figures: dict[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in figures.items())


def _busiest(links: dict[str, dict[str, float]]) -> list[tuple[str, dict[str, float]]]:
    by_use = sorted(links.items(), key=lambda item: item[1]["peak_bps"] / item[1]["rate_bps"], reverse=True)
    return [item for item in by_use if item[1]["peak_bps"]][:4]


def _link(figures: dict[str, float]) -> str:
    rate, mean, peak = (about(figures[key], "rate") for key in ("rate_bps", "mean_bps", "peak_bps"))
    return f"{rate}, mean {mean}, peak {peak}, {figures['dropped']:g} dropped"
