"""How fast a network starts, beside stock Mininet, and what an idle hour costs: `python -m benchmarks.startup [WHAT]…`.

WHAT is `hour`, or a number of devices, or devices and slices as `1000x20`; without it `100 hour 1000`. Stock Mininet starts
with the limit of open files at 1024, as ours does: with its own limit each of its shells would take five times as long.

Wall time is taken on the host, when a phase shows in the guest's progress file (it is looked at 20 times a second). The CPU time
of the guest's processes stands beside it: on a machine that does something else too, only that can be compared.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.tables import Row, Table
from insitu import experiment
from insitu.vm import machine
from insitu.vm.kernel import find_or_build
from scenarios import plan as plans
from scenarios import planner
from scenarios.load import load
from scenarios.plan import Plan

PROJECT = Path(__file__).resolve().parent.parent
SEED = 7
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Moment(NamedTuple):
    """When a phase began: seconds of wall time and of the guest's CPU time, the most memory until then (MB)."""

    phase: str
    wall: float
    cpu: float
    memory: float


class Watch:
    """Notes when each phase begins."""

    def __init__(self) -> None:
        self.moments = [Moment("boot", time.monotonic(), *_guest_costs())]

    def see(self, phase: str) -> None:
        if phase != self.moments[-1].phase:
            self.moments.append(Moment(phase, time.monotonic(), *_guest_costs()))

    def since(self, phase: str, until: str) -> tuple[float, float]:
        """Wall and CPU seconds from the beginning of one phase to that of another."""
        first, last = (next(m for m in self.moments if m.phase == name) for name in (phase, until))
        return last.wall - first.wall, last.cpu - first.cpu


def _guest_costs() -> tuple[float, float]:
    """CPU seconds of all processes below this one, and the most memory (MB) that one of them, the guest's kernel, has had."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks, memory = (ended.ru_utime + ended.ru_stime) * TICKS_PER_S, 0
    for pid in _descendants(os.getpid()):
        try:
            figures = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # it has just ended
        ticks += sum(int(figures[n]) for n in range(11, 15))
        memory = max([memory, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
    return ticks / TICKS_PER_S, memory / 1024


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in _descendants(child)]


def scenario(devices: int, slices: int, regions: list[int], infer: str = "1/s", duration: str = "1 s") -> str:
    """A scenario file: `regions` says how many gNBs each region has; the devices are spread over all cells."""
    cells = [f"g{region}x{gnb}" for region, gnbs in enumerate(regions) for gnb in range(gnbs)]
    share = 100 // slices
    lines = ["name: startup", f"duration: {duration}", "network:", "  regions:"]
    for region in range(len(regions)):
        mine = ", ".join(f"{{name: {cell}}}" for cell in cells if cell.startswith(f"g{region}x"))
        lines.append(f"    - {{name: r{region}, gnbs: [{mine}]}}")
    lines += [
        "slices:",
        *(f"  - {{name: slice{n}, guarantee: {share} %}}" for n in range(1, slices)),
        "  - {name: default}",
    ]
    lines.append("devices:")
    for number, cell in enumerate(cells):
        count = devices // len(cells) + (number < devices % len(cells))
        lines.append(f"  - {{name: {cell}-ue, count: {count}, at: {cell}, infer: {infer}}}")
    return "\n".join(lines) + "\n"


def ours(text: str) -> Watch:
    """One run of a scenario by `insitu run`."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scenario.yaml"
        file.write_text(text)
        result = experiment.run(
            load(file, models=experiment.shipped()),
            file,
            SEED,
            Path(folder) / "run",
            progress=lambda state: watch.see(state.phase),
        )
    assert result.summary["verdict"]["status"] == "VALID", result.summary["verdict"]
    return watch


def stock(text: str) -> Watch:
    """The same network by stock Mininet, in the same machine."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        (out / "scenario.yaml").write_text(text)
        plan = decide(out / "scenario.yaml")
        (out / "plan.json").write_bytes(plans.canonical(plan))
        guest = machine.Machine(find_or_build(print), SEED, "virtual", plan.machine.memory_mb)
        program = [sys.executable, str(PROJECT / "benchmarks" / "stock_mininet.py")]
        status = machine.run(
            guest,
            program,
            out,
            wall_limit_s=1800,
            cwd=PROJECT,
            env={"PYTHONPATH": str(PROJECT)},
            on_poll=_follow(out, watch),
        )
        watch.see("summary")
        assert status == 0, (out / "logs" / "command.log").read_text()[-2000:]
    return watch


def decide(file: Path) -> Plan:
    return planner.decide(
        load(file, models=experiment.shipped()), SEED, experiment.published_models(experiment.model_library(print))
    )


def _follow(out: Path, watch: Watch) -> Callable[[int], None]:
    def look(_: int) -> None:
        file = out / "progress"
        for phase in file.read_text().split() if file.exists() else []:
            if all(moment.phase != phase for moment in watch.moments):
                watch.see(phase)

    return look


PARTS = (
    ("network up and controller ready", "network", "services"),
    ("services running, from the start of the machine", "boot", "run"),
    ("down and gone after the last record", "down", "summary"),
)
LIMITS = {  # seconds of wall time
    (100, "network up and controller ready"): 3,
    (100, "services running, from the start of the machine"): 10,
    (1000, "services running, from the start of the machine"): 90,
    (100, "down and gone after the last record"): 2,
    (1000, "down and gone after the last record"): 2,
}


def startup_rows(devices: int, slices: int) -> list[Row]:
    """Our phases; for a hundred devices also the same network by stock Mininet (ten times as many take it ten times as long)."""
    text, what = scenario(devices, slices, [2, 2]), f"{devices:,} devices, {slices} slices"
    our = ours(text)
    rows = [_row(what, name, our.since(first, last), LIMITS.get((devices, name))) for name, first, last in PARTS]
    memory = max(moment.memory for moment in our.moments)
    rows.append(Row((what, "memory of the machine, at most", f"{memory:.0f} MB", "", "12 GiB"), memory < 12 * 1024))
    if devices > 100:
        return rows
    their = stock(text)
    started, up = their.since("network", "stop"), our.since("network", "services")
    rows.append(_row(what, "stock Mininet with TCLink: network up", started))
    times = (f"{started[0] / up[0]:.1f}", f"{started[1] / up[1]:.1f}", "10")
    return [*rows, Row((what, "as many times longer takes stock Mininet", *times), started[1] / up[1] >= 10)]


def _row(what: str, name: str, taken: tuple[float, float], limit: float | None = None) -> Row:
    wall, cpu = taken
    holds = None if limit is None else wall <= limit
    return Row((what, name, f"{wall:.2f} s", f"{cpu:.2f} s", "" if limit is None else f"{limit:g} s"), holds)


def hour_row() -> Row:
    watch = ours(scenario(100, 20, [4, 2, 2], infer="0.01/min", duration="3600 s"))
    return _row("20 switches, 100 devices, 20 slices", "an idle virtual hour", watch.since("run", "end"), 10)


def table(wanted: Sequence[str] = ("100", "1000", "hour")) -> Table:
    rows: list[Row] = []
    for what in wanted:
        devices, _, slices = what.partition("x")
        rows += (
            [hour_row()]
            if what == "hour"
            else startup_rows(int(devices), int(slices or (20 if int(devices) <= 100 else 3)))
        )
    note = (
        f"By `insitu run`, 4 gNBs, services included, on {os.cpu_count()} CPUs (one for the guest) with a load of "
        f"{os.getloadavg()[0]:.1f}. Stock Mininet makes the same nodes and links, without slices and controller, in the same "
        "guest, with its limit of open files lowered, which alone makes it five times faster."
    )
    return Table("Starting (wall time)", note, ("network", "what", "wall", "CPU", "limit"), rows, wall=True)


def main() -> None:
    print(table(sys.argv[1:] or ("100", "1000", "hour")).markdown())


if __name__ == "__main__":
    main()
