"""What links and slices carried over time, against their rates, guarantees and ceilings."""

import math
from collections import defaultdict
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from markupsafe import Markup

from insitu.report import marks
from insitu.report.page import COLOURS, INK, SCALE, figure, fold, grid, paragraph, section, table
from insitu.report.reading import SECOND, Run, bin_ns, group_of
from scenarios.plan import Queue
from scenarios.quantity import about

_ROWS, _COLUMNS = 40, 300  # of the map of links
_LEAST = 0.01  # of its rate is what a direction peaks at to be drawn; the fullest few are drawn in any case
_FEW = 3
_CLOSER, _POINTS = 9, 300  # directions that are drawn with their slices
_UNITS = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Direction(NamedTuple):
    """One direction of a link; its rate over time as steps: from `times[i]` (ns) on `rates[i]` bit/s and `queues[i]`."""

    link: str
    sender: str
    receiver: str
    times: list[int]
    rates: list[int]
    queues: list[list[Queue]]

    @property
    def name(self) -> str:
        return f"{self.link} → {self.receiver}"

    def rate_at(self, ns: Floats) -> Floats:
        return self._at(ns, self.rates)

    def queue_at(self, ns: Floats, name: str, what: Literal["rate_bps", "ceiling_bps"]) -> Floats:
        """A slice's guarantee or ceiling; 0 where the link has no queue for it."""
        return self._at(ns, [next((getattr(q, what) for q in queues if q.slice == name), 0) for queues in self.queues])

    def _at(self, ns: Floats, steps: list[int]) -> Floats:
        return np.array(steps, float)[np.searchsorted(self.times, ns, side="right") - 1]


class Line(NamedTuple):
    """Something over time, bit/s in each bin, and how it is drawn."""

    name: str
    bps: Floats
    colour: str
    dash: str
    width: float
    legend: bool = False


def use_section(run: Run) -> Markup:
    used = run.of("linkuse").select("t", "link", "node", "bytes")
    if used.is_empty():
        return section("Links and slices", note="No link carried anything.")
    directions = _directions(run)
    peaks = {
        (link, node): peak
        for link, node, peak in used.group_by("link", "node").agg(pl.col("bytes").max()).iter_rows()
        if (link, node) in directions
    }
    to_bps = 8 * SECOND / run.plan.sample_interval_ns
    ranked = sorted(peaks, key=lambda key: (-peaks[key] * to_bps / max(directions[key].rates), key))
    busy = [key for key in ranked if peaks[key] * to_bps >= _LEAST * max(directions[key].rates)]
    shown = [directions[key] for key in ranked[: min(_ROWS, max(_FEW, len(busy)))]]
    width = bin_ns(run, _POINTS)
    told = (
        f"{len(directions)} directions of links; {len(ranked)} carried something, {len(busy)} at least 1 % of their rate for one "
        f"sample ({run.plan.sample_interval_ns / 1e6:g} ms). The {len(shown)} with the highest peaks are drawn; "
        "devices' own links are not sampled."
    )
    return section(
        "Links and slices",
        _map(run, used, shown),
        paragraph(
            f"The {min(_CLOSER, len(shown))} fullest, slice by slice, in averages over {width / 1e6:g} ms: dashed the slice's "
            "guarantee, dotted its ceiling, thin the link's rate, each where what was carried comes near."
        ),
        grid(_closer(run, used, direction, width) for direction in shown[:_CLOSER]),
        *_background(run),
        note=told,
    )


def _background(run: Run) -> list[Markup]:
    """Background traffic, a row for the flows between two groups."""
    received = dict(run.of("received").select("flow", pl.struct("sent", "received")).iter_rows())
    flows: dict[tuple[str, str, str], list[dict[str, int]]] = defaultdict(list)
    slices = {entry.queue: entry.name for entry in run.plan.slices}
    for flow in run.plan.flows:
        if flow.name in received:
            between = f"{group_of(flow.source)} → {group_of(flow.destination)}"
            flows[between, slices[flow.queue], flow.transport].append(received[flow.name])
    if not flows:
        return []
    rows = [
        (between, name, transport, len(each), *(about(sum(flow[what] for flow in each), "size") for what in ("sent", "received")))
        for (between, name, transport), each in flows.items()
    ]  # fmt: skip
    head = ["from and to", "slice", "transport", "flows", "sent", "received"]
    return [fold("Background traffic", table(head, rows, "Background traffic: payload over the run"))]


def _directions(run: Run) -> dict[tuple[str, str], Direction]:
    """(link, who sends) -> the direction; the devices' own links are not sampled."""
    devices = {device.host for device in run.plan.devices}
    found = {}
    for link in run.plan.links:
        if any(end.node in devices for end in link.ends):
            continue
        for number, end in enumerate(link.ends):
            changes = [c for c in run.plan.changes if c.link == link.name and c.end == number]
            times = [0, *(c.time_ns for c in changes)]
            rates = [end.shape.rate_bps, *(c.shape.rate_bps for c in changes)]
            queues = [end.queues, *(c.queues for c in changes)]
            found[link.name, end.node] = Direction(
                link.name, end.node, link.ends[1 - number].node, times, rates, queues
            )
    return found


def _binned(part: pl.DataFrame, run: Run, width: int, how: str) -> Floats:
    """bit/s in each bin of `width` ns: the "mean" over it, or the "max" of its samples."""
    count = math.ceil(run.plan.duration_ns / width)
    interval = run.plan.sample_interval_ns
    # A sample stands for the interval that ends with it; it is taken a little after its time
    number = np.clip((part["t"].to_numpy() - interval // 2) // width, 0, count - 1)
    sums = np.zeros(count)
    bits = 8.0 * part["bytes"].to_numpy()
    if how == "max":
        np.maximum.at(sums, number, bits / interval * SECOND)
    else:
        np.add.at(sums, number, bits / width * SECOND)
    return sums


def _map(run: Run, used: pl.DataFrame, shown: list[Direction]) -> Markup:
    width = bin_ns(run, _COLUMNS)
    times = np.arange(math.ceil(run.plan.duration_ns / width), dtype=np.float64) * width
    parts = used.partition_by("link", "node", as_dict=True)
    percent = [100 * _binned(parts[d.link, d.sender], run, width, "max") / d.rate_at(times) for d in shown]
    found = marks.marks(run)
    names = [direction.name for direction in shown]
    told = f"Use, in % of the link's rate: the fullest {run.plan.sample_interval_ns / 1e6:g} ms of each {width / 1e6:g} ms."
    map_of = {
        "type": "heatmap", "z": [row.round(1) for row in percent], "y": names, "x": ((times + width / 2) / 1e9).round(4),
        "colorscale": SCALE, "zmin": 0, "zmax": 100, "ygap": 1,
        "colorbar": {"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0},
        "hovertemplate": "<b>%{y}</b><br>%{x:.2f} s: %{z:.1f} %<extra></extra>", "showlegend": False,
    }  # fmt: skip
    y = {"autorange": "reversed", "showgrid": False, "tickfont": {"size": 11}, "dtick": 1}
    height = 150 + 17 * len(shown)
    return figure([map_of, *marks.strip(found)], marks.layout(run, found, y, height), told, height)


def _closer(run: Run, used: pl.DataFrame, direction: Direction, width: int) -> Markup:
    lines = _lines(run, used, direction, width)
    most = max(line.bps.max() for line in lines)
    scale, unit = next((scale, unit) for scale, unit in _UNITS if most >= scale or scale == 1)
    x = (np.arange(len(lines[0].bps)) * width / 1e9).round(4)
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": line.name, "x": x, "y": (line.bps / scale).round(4),
            "line": {"color": line.colour, "width": line.width, "dash": line.dash, "shape": "hv"}, "showlegend": line.legend,
            "hovertemplate": f"%{{x:.2f}} s: %{{y:.4g}} {unit}<extra>{line.name}</extra>",
        }
        for line in lines
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "time [s]"}, "range": [0, run.duration_s]},
        "yaxis": {"title": {"text": unit}, "rangemode": "tozero"}, "margin": {"l": 50, "r": 10, "t": 26, "b": 40},
        "legend": {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 11}},
    }  # fmt: skip
    return figure(traces, layout, f"{direction.name}, {about(direction.rates[0], 'rate')}", 230)


def _lines(run: Run, used: pl.DataFrame, direction: Direction, width: int) -> list[Line]:
    """What each slice carried, or all where the link has a single one; and of what was promised what comes near that."""
    here = (pl.col("link") == direction.link) & (pl.col("node") == direction.sender)
    total = _binned(used.filter(here), run, width, "mean")
    times = np.arange(len(total), dtype=np.float64) * width
    parts = run.of("sliceuse").filter(here).select("t", "slice", "bytes").partition_by("slice", as_dict=True)
    lines = [] if parts else [Line("all", total, COLOURS[0], "solid", 1.8)]
    promised = [Line("rate of the link", direction.rate_at(times), INK, "solid", 1.0)]
    for number, name in enumerate(entry.name for entry in run.plan.slices):
        if (name,) in parts:
            colour = COLOURS[number % len(COLOURS)]
            lines.append(Line(name, _binned(parts[name,], run, width, "mean"), colour, "solid", 1.8, legend=True))
            guarantee, ceiling = (direction.queue_at(times, name, what) for what in ("rate_bps", "ceiling_bps"))
            promised.append(Line(f"{name}, guarantee", guarantee, colour, "dash", 1.2))
            if ceiling.min() < direction.rates[0]:
                promised.append(Line(f"{name}, ceiling", ceiling, colour, "dot", 1.2))
    return [*lines, *(line for line in promised if 0 < line.bps.min() < 1.5 * total.max())]
