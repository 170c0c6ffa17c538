"""What each policy is worth under contention: `python -m benchmarks.policies [SEEDS]` runs scenarios/contention.yaml with ten seeds
(or so many, from 1 on) for each, and prints tables. Policies and the scenario were developed on seeds from 101 on.

Accuracy on time is the summary's figure: a download of which nothing was loaded by the deadline counts 0, whatever the device's old
model is worth.
"""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from benchmarks.runs import PROJECT, Played, play
from benchmarks.tables import Row, Table
from scenarios import records

FILE = PROJECT / "scenarios" / "contention.yaml"
SEEDS = 10  # from 1 on
SLICING = ("none", "static", "deadline", "fair", "joint")
BEST = ("joint", "adaptive")
WAYS = [*((name, "adaptive") for name in SLICING), ("joint", "device"), ("joint", "full"), ("none", "full")]


class Worth(NamedTuple):
    """Of one run; shares of the downloads that were asked for."""

    accuracy: float  # on time
    usable: float  # something of it runs by the deadline
    complete: float  # all of what was chosen does
    inferred: float  # share of all inferences of the run that were right, with whatever model ran then
    mbps: float  # of downloads that ended, over the run
    of_group: dict[str, float]  # accuracy on time by group of devices


def worth(played: Played) -> Worth:
    asked = {e.download: e.node.rstrip("0123456789") for e in played.events if isinstance(e, records.Requested)}
    best: dict[str, float] = {}
    for event in played.events:
        if isinstance(event, records.Runnable | records.Completed) and event.on_time:
            best[event.download] = max(best.get(event.download, 0.0), event.accuracy)
    downloads = played.summary["downloads"]
    mbps = downloads["bytes"] * 8 / 1e6 / played.summary["time_s"]["virtual"]
    of_group = {
        group: float(np.mean([best.get(download, 0.0) for download, of in asked.items() if of == group]))
        for group in sorted(set(asked.values()))
    }
    usable = downloads["better_on_time"] / downloads["requested"]
    right = played.summary["accuracy"]["mean"]
    return Worth(downloads["accuracy_on_time"], usable, downloads["on_time_share"], right, mbps, of_group)


def run(way: tuple[str, str], seed: int) -> Worth:
    with tempfile.TemporaryDirectory(prefix="insitu-policies-") as folder:
        settings = [f"policies.slicing={way[0]}", f"policies.compression={way[1]}"]
        return worth(play(FILE, Path(folder) / "run", settings, seed))


def interval(values: list[float], scale: float = 100.0, digits: int = 1) -> str:
    """Mean and the half width of its 95 % confidence interval (Student's t)."""
    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{scale * float(np.mean(values)):.{digits}f} ± {scale * half:.{digits}f}"


def tables(found: dict[tuple[str, str], list[Worth]]) -> list[Table]:
    """The runs of each way are in the order of the seeds."""
    seeds = len(found[BEST])
    rows = []
    for way, runs in found.items():
        columns = [[getattr(one, field) for one in runs] for field in ("accuracy", "usable", "complete", "inferred")]
        cells = (*way, *map(interval, columns), interval([one.mbps for one in runs], 1, 2))
        rows.append(Row(cells))
    note = (
        f"scenarios/contention.yaml, seeds 1 to {seeds}: mean and 95 % interval, %. On time: by the download's deadline. "
        "Accuracy on time: measured when the model was published, 0 where nothing runs by then. Inferences right: of the "
        "whole run. Mbit/s: of downloads."
    )
    head = (
        "slicing",
        "compression",
        "accuracy on time",
        "usable on time",
        "complete on time",
        "inferences right",
        "Mbit/s",
    )
    pairs = []
    for way, runs in found.items():
        if way != BEST:
            ahead = [best.accuracy - other.accuracy for best, other in zip(found[BEST], runs, strict=True)]
            pairs.append(
                Row(
                    (*way, interval(ahead, digits=2), f"{sum(a > 0 for a in ahead)} of {seeds}"),
                    bool(np.mean(ahead) > 0),
                )
            )
    groups = list(found[BEST][0].of_group)
    by_group = [
        Row((*way, *(f"{100 * float(np.mean([one.of_group[group] for one in runs])):.1f}" for group in groups)))
        for way, runs in found.items()
    ]
    paired = "Accuracy on time, points: joint with adaptive minus the other, seed by seed. Limit: ahead of every other."
    return [
        Table("Policies under contention", note, head, rows),
        Table("By group", "Accuracy on time, %, mean over the seeds.", ("slicing", "compression", *groups), by_group),
        Table("Joint beside every other", paired, ("slicing", "compression", "ahead by", "ahead with"), pairs),
    ]


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = {way: [pool.submit(run, way, seed) for seed in range(1, seeds + 1)] for way in WAYS}
        for table in tables({way: [one.result() for one in runs] for way, runs in found.items()}):
            print(table.markdown())


if __name__ == "__main__":
    main()
