"""scenarios/rush-hour.yaml with elastic models, and with ordinary downloads of the whole model's file:
`python -m benchmarks.rush_hour` prints a table.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.runs import PROJECT, Played, play
from benchmarks.tables import Row, Table
from scenarios import records

FILE = PROJECT / "scenarios" / "rush-hour.yaml"
WAYS = {
    "elastic variants, blocks": [],
    "the whole model's file": ["policies.compression=file", "duration=20 s"],  # so that they end
}
LEAST = 0.95  # of the devices


def row(way: str, played: Played) -> Row:
    done = [event for event in played.events if isinstance(event, records.Completed)]
    swaps = {event.download: event for event in played.events if isinstance(event, records.Swapped)}
    in_time = [swaps[event.download] for event in done if event.on_time and event.download in swaps]
    better = [swap for swap in in_time if swap.accuracy_after > swap.accuracy_before]
    devices = {event.node for event in played.events if isinstance(event, records.Requested)}
    # A device that is late still runs what it had
    before = np.mean([swap.accuracy_before for swap in swaps.values()]) if swaps else 0.0
    accuracy = (sum(swap.accuracy_after for swap in in_time) + before * (len(devices) - len(in_time))) / len(devices)
    p50, p95 = np.percentile([event.latency_ns / 1e6 for event in done], (50, 95)) if done else (0, 0)
    cells = (
        way,
        f"{100 * len(better) / len(devices):.0f} %",
        f"{100 * accuracy:.1f} %",
        f"{sum(event.bytes for event in done) / 1e6:.1f}",
        f"{_carried(played, 'city-link') / 1e6:.1f}",
        f"{p50:.0f}",
        f"{p95:.0f}",
    )
    return Row(cells, len(better) >= LEAST * len(devices) if way == next(iter(WAYS)) else None)


def _carried(played: Played, link: str) -> int:
    """Bytes of Ethernet frames that the core sent down a link."""
    return sum(
        event.bytes
        for event in played.events
        if isinstance(event, records.LinkUse) and event.link == link and event.node == "core"
    )


def table() -> Table:
    with tempfile.TemporaryDirectory(prefix="insitu-rush-hour-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        outs = [Path(folder) / str(number) for number in range(len(WAYS))]
        played = pool.map(play, [FILE] * len(WAYS), outs, WAYS.values())
        rows = [row(way, one) for way, one in zip(WAYS, played, strict=True)]
    note = (
        "100 devices want another model within one second, ten in each cell of 66 Mbit/s. `better on time`: have a model that is "
        "more accurate on what they see within 500 ms of asking. `accuracy`: 500 ms after they asked, of what they run then, "
        "mean. MB: of all downloads; and what the region's link to the core carried. ms: of the downloads that ended. The file is "
        "the float32 parameters. "
        f"Limit: {100 * LEAST:.0f} % better on time."
    )
    columns = ("download of", "better on time", "accuracy", "MB", "MB from the core", "p50, ms", "p95, ms")
    return Table("Rush hour", note, columns, rows)


if __name__ == "__main__":
    print(table().markdown())
