"""100 devices that download 10 MB each at one moment, in wall time: `python -m benchmarks.hundred` prints a table."""

import os
import tempfile
from pathlib import Path

from benchmarks.runs import play
from benchmarks.tables import Row, Table

CELLS, DEVICES, SIZE = 10, 10, "10 MB"
LIMIT_S = 20.0


def scenario(segments: str) -> str:
    """Ten cells of ten devices; each edge has to pull the payload first."""
    names = [f"cell{number}" for number in range(1, CELLS + 1)]
    lines = ["name: hundred", "duration: 5 s", "network:", f"  segments: {segments}", "  gnbs:"]
    lines += [f"    - {{name: {name}, radio: {{rate: 1 Gbit/s, delay: 4 ms}}}}" for name in names]
    lines += [f"payloads: {{weights: {{size: {SIZE}}}}}", "devices:"]
    lines += [f"  - {{name: at-{name}-n, count: {DEVICES}, at: {name}, application: weights}}" for name in names]
    lines += ["situations: [{time: 1 s.., model: weights}]", "policies: {compression: full}"]
    lines += ["requests: {deadline: 2 s}", "expect: [downloads.completed >= 100 %]", ""]
    return "\n".join(lines)


def table() -> Table:
    rows = []
    for segments in ("exact", "bulk"):
        with tempfile.TemporaryDirectory(prefix="insitu-hundred-") as folder:
            file = Path(folder) / "hundred.yaml"
            file.write_text(scenario(segments))
            summary = play(file, Path(folder) / "run").summary
        downloads, wall = summary["downloads"], summary["time_s"]["wall"]
        completed, sent, p50 = downloads["completed"], downloads["bytes"], downloads["latency_ms"]["p50"]
        cells = (segments, f"{completed}", f"{sent / 1e6:.0f}", f"{p50:.0f}", f"{wall:.1f}")
        rows.append(Row(cells, wall <= LIMIT_S and completed == CELLS * DEVICES))
    note = (
        f"{CELLS} cells of {DEVICES} devices, which ask at one moment for {SIZE} each over radios of 1 Gbit/s; their edges have "
        f"to pull it. Wall time of the whole run, machine and network included, on {os.cpu_count()} CPUs with a load of "
        f"{os.getloadavg()[0]:.1f}. Limit: {LIMIT_S:g} s."
    )
    columns = ("segments", "completed", "MB", "p50, ms (virtual)", "wall, s")
    return Table(f"{CELLS * DEVICES} devices, {SIZE} each (wall time)", note, columns, rows, wall=True)


if __name__ == "__main__":
    print(table().markdown())
