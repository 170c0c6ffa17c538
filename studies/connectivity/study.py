"""The rate that a cell needs so that all of its devices have a model in time: of size, deadline and number of devices."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from insitu.study import sweep
from insitu.study.design import Point
from studies.drawing import COLOURS, axis, heading, layout, line
from studies.study import Answer, Study

if TYPE_CHECKING:
    import polars as pl

FOLDER = Path(__file__).parent
SIZE, DEVICES, RATE = "payloads.model.size", "devices.ue.count", "network.regions.city.gnbs.cell.radio.rate"
SIZES_MB, COUNTS, DEADLINES_S = (2.4, 16.0, 64.0, 138.0, 536.0), (1, 10), (0.3, 1.0, 3.0)

# Where latency is measured: at rates by which it should be about so much, s, without loading, which no rate shortens.
ABOUT_S = (0.2, 0.5, 1.2, 3.2)
OVERHEAD_S = 0.08  # of these: request and slow start, roughly
FRAMING = 1514 / 1448  # bytes of a frame, and of the payload in it
TOP_MBPS = 30_000.0  # the links behind the radio have 40 Gbit/s
MOST_MB = 2500.0  # that a run sends, for a run to take seconds


class Row(NamedTuple):
    """Of 3GPP TS 22.261, table 7.10.1-2; docs/ts22261.md has the sources. `mbps` is None where the table gives no rate."""

    number: int
    mb: float
    latency_s: float
    mbps: float | None

    @property
    def bare_mbps(self) -> float:
        return 8 * self.mb / self.latency_s


ROWS = (
    Row(1, 138, 1, 1100), Row(2, 80, 1, 640), Row(3, 64, 1, 512), Row(4, 536, 1, None),
    Row(5, 2.4, 1, 22), Row(6, 500, 1, None), Row(7, 170, 3, 450),
)  # fmt: skip


def points(sizes_mb: Sequence[float] = SIZES_MB, counts: Sequence[int] = COUNTS) -> list[Point]:
    return [
        {SIZE: f"{mb:g} MB", DEVICES: str(count), RATE: f"{rate} kbit/s"}
        for mb in sizes_mb
        for count in counts
        if mb * count <= MOST_MB
        for rate in rates_kbps(mb * count)
    ]


def rates_kbps(mb: float) -> list[int]:
    """The slowest first."""
    wanted = (8e3 * mb * FRAMING / (about - OVERHEAD_S) for about in ABOUT_S)
    return sorted({round(min(rate, 1e3 * TOP_MBPS)) for rate in wanted})


def needed_mbps(rates: Sequence[float], latencies_s: Sequence[float], deadline_s: float) -> float | None:
    """The rate (in the unit of `rates`) at which the latency is the deadline; None where that was not measured.

    Between two measured rates latency is taken as linear in 1 / rate, as it is but for slow start.
    """
    order = np.argsort(latencies_s)
    latency, inverse = np.asarray(latencies_s)[order], 1 / np.asarray(rates)[order]
    if not latency[0] <= deadline_s <= latency[-1]:
        return None
    return float(1 / np.interp(deadline_s, latency, inverse))


class Needs(NamedTuple):
    """Needed rates, Mbit/s, by (size in MB, devices, deadline in s)."""

    of: dict[tuple[float, int, float], float | None]

    def line(self, count: int, deadline_s: float) -> tuple[list[float], list[float]]:
        """Sizes and rates of those that were measured."""
        found = [(mb, rate) for (mb, n, s), rate in self.of.items() if (n, s) == (count, deadline_s) and rate]
        return [mb for mb, _ in found], [rate for _, rate in found]

    def of_row(self, row: Row) -> float | None:
        """A row's own, between measured sizes linear in the logarithms; None beyond them."""
        sizes, rates = self.line(1, row.latency_s)
        if not sizes or not sizes[0] <= row.mb <= sizes[-1]:
            return None
        return float(np.exp(np.interp(np.log(row.mb), np.log(sizes), np.log(rates))))


def needs(table: "pl.DataFrame") -> Needs:
    size, rate = f"{SIZE} (MB)", f"{RATE} (kbit/s)"
    found: dict[tuple[float, int, float], float | None] = {}
    for (mb, count), runs in sorted(table.group_by(size, DEVICES, maintain_order=True), key=lambda group: group[0]):
        latencies = [ms / 1e3 for ms in runs["downloads.latency_ms.max"]]
        rates = [kbps / 1e3 for kbps in runs[rate]]
        found |= {(mb, count, s): needed_mbps(rates, latencies, s) for s in DEADLINES_S}
    return Needs(found)


def answer(table: "pl.DataFrame", _: Path) -> Answer:
    found = needs(table)
    head = ["size", "devices", *(f"within {s:g} s" for s in DEADLINES_S)]
    pairs = dict.fromkeys((mb, count) for mb, count, _ in found.of)
    rows = [[f"{mb:g} MB", str(n), *(_show(found.of[mb, n, s]) for s in DEADLINES_S)] for mb, n in pairs]
    alt = "The rate of a cell's radio against the size of the model, for three deadlines and two numbers of devices"
    return Answer(sentences(found), head, rows, figure(found), alt, (1000, 460))


def sentences(found: Needs) -> list[str]:
    """Of rates as multiples of the bare one, 8 · size / deadline, and of what a device alone needs; and the table's rows."""
    alone = {(mb, s): rate for (mb, n, s), rate in found.of.items() if n == 1 and rate}
    over = {s: [rate * s / (8 * mb) for (mb, of), rate in alone.items() if of == s] for s in DEADLINES_S}
    said = [f"{_span(of)} times that within {s:g} s" for s, of in over.items() if of]
    lines = [f"**A device alone needs more than 8 · size / deadline: {', '.join(said)}, by size.**"]
    for count in sorted({n for _, n, _ in found.of} - {1}):
        times = [
            rate / alone[mb, s] for (mb, n, s), rate in found.of.items() if n == count and rate and (mb, s) in alone
        ]
        if times:
            lines.append(
                f"{count} that ask at the same moment need {_span(times)} times the rate of one, by size and deadline."
            )
    given = [(row, need) for row in ROWS if row.mbps and (need := found.of_row(row))]
    short = [
        f"{row.number} ({need:.0f} instead of {row.mbps:g})" for row, need in given if row.mbps and need > row.mbps
    ]
    if short:
        which = f"{len(short)} of {len(given)} need more than it gives"
        lines.append(f"Of the rows of TS 22.261's table that have a rate, {which}, in Mbit/s: {', '.join(short)}.")
    return lines


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def figure(found: Needs) -> dict[str, Any]:
    """A panel for each deadline."""
    data, panels, notes = list[dict[str, Any]](), dict[str, Any](), []
    for panel, deadline in enumerate(DEADLINES_S, 1):
        for colour, count in zip(COLOURS, COUNTS, strict=False):
            data.append(line(f"{count} device{'s' * (count > 1)}", colour, panel, *found.line(count, deadline)))
        for given in (True, False):
            rows = [row for row in ROWS if row.latency_s == deadline and (row.mbps is not None) == given]
            if rows:
                data.append(_marks(rows, given, panel))
        left, up = 0.34 * (panel - 1), "rate of the cell's radio, Mbit/s" if panel == 1 else ""
        across = {"type": "log", "dtick": 1, "range": [0.2, 2.9], "domain": [left, left + 0.32], "anchor": f"y{panel}"}
        heights = {"type": "log", "dtick": 1, "range": [0.7, 4.6], "showticklabels": panel == 1, "anchor": f"x{panel}"}
        panels |= {f"xaxis{panel}": axis("size of the model, MB", **across), f"yaxis{panel}": axis(up, **heights)}
        notes.append(heading(f"within {deadline:g} s", left))
    return {
        "data": data,
        "layout": layout("The rate by which the last device has its model", annotations=notes, **panels),
    }


def _marks(rows: Sequence[Row], given: bool, panel: int) -> dict[str, Any]:
    """Rows of the table: at its rate, or at size over latency where it has none."""
    name = "TS 22.261: row, at its rate" if given else "row without a rate, at 8 · size / latency"
    return line(
        name,
        COLOURS[3],
        panel,
        [row.mb for row in rows],
        [row.mbps or row.bare_mbps for row in rows],
        mode="markers+text",
        text=[str(row.number) for row in rows],
        textposition=["top left" if place % 2 else "bottom right" for place in range(len(rows))],
        marker={"symbol": "diamond" if given else "diamond-open", "size": 9, "color": COLOURS[3]},
        showlegend=rows[0].latency_s == 1,
    )


def _show(mbps: float | None) -> str:
    return "–" if mbps is None else f"{mbps:.4g}" if mbps < 1000 else f"{mbps:.0f}"


STUDY = Study(FOLDER, points(), 1, partial(sweep.cases, FOLDER / "scenario.yaml", ()), answer)
