"""Throughput of `insitu sweep` beside the same runs by hand: a shell a core, each with one `insitu run` after another.

python -m benchmarks.sweep [RUNS [ROUNDS]]: both ways are measured in turns, so that what else the machine does meets both.
"""

import itertools
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.runs import PROJECT
from benchmarks.tables import Row, Table

INSITU = (sys.executable, "-m", "insitu.cli")
SCENARIOS = ("hello", "campus")
LEAST = 0.9  # of the throughput by hand


def by_hand(file: Path, runs: int, out: Path) -> float:
    """Seconds."""
    cores = len(os.sched_getaffinity(0))
    commands = [
        shlex.join([*INSITU, "run", str(file), "--seed", str(seed), "--out", str(out / str(seed)), "--json"])
        for seed in range(runs)
    ]
    began = time.monotonic()
    shells = [
        subprocess.Popen(["sh", "-c", " && ".join(commands[core::cores])], cwd=PROJECT, stdout=subprocess.DEVNULL)
        for core in range(cores)
    ]
    statuses = [shell.wait() for shell in shells]
    if any(statuses):
        raise RuntimeError("insitu run failed")
    return time.monotonic() - began


def by_sweep(file: Path, runs: int, out: Path) -> float:
    """Seconds, from the command's start to its end."""
    command = [*INSITU, "sweep", str(file), "--grid", "name=swept", "--seeds", str(runs), "--out", str(out), "--json"]
    began = time.monotonic()
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def measure(runs: int, rounds: int) -> Table:
    rows = []
    for name in SCENARIOS:
        file, took = PROJECT / "scenarios" / f"{name}.yaml", {by_hand: 0.0, by_sweep: 0.0}
        with tempfile.TemporaryDirectory(prefix="insitu-benchmark-") as folder:
            for turn, way in itertools.product(range(rounds), took):
                took[way] += way(file, runs, Path(folder) / f"{way.__name__}-{turn}")
        ratio = took[by_hand] / took[by_sweep]
        cells = (
            f"{name}.yaml",
            str(runs * rounds),
            *(f"{seconds:.1f}" for seconds in took.values()),
            f"{100 * ratio:.0f} %",
        )
        rows.append(Row(cells, ratio >= LEAST))
    cores = len(os.sched_getaffinity(0))
    note = (
        f"{runs} runs {rounds} times each way, in turns, on {cores} cores: wall time, starting the workers and writing table and "
        f"report included. The limit is {100 * LEAST:.0f} % of the throughput by hand."
    )
    columns = ("scenario", "runs", "s by hand", "s by the sweep", "throughput")
    return Table("Throughput of a sweep", note, columns, rows, wall=True)


def main() -> int:
    runs, rounds = (int(word) for word in (*sys.argv[1:], *("10", "2")[len(sys.argv) - 1 :]))
    table = measure(runs, rounds)
    print(table.markdown())
    return 1 if table.misses else 0


if __name__ == "__main__":
    sys.exit(main())
