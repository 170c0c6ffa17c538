"""What the devices got right, over time."""

from typing import Any

import polars as pl
from markupsafe import Markup

from insitu.report import marks
from insitu.report.page import COLOURS, INK, figure, section
from insitu.report.reading import SECOND, Run, bin_ns, group_of

_MOST_LINES = len(COLOURS)
_BINS = 30
_HEIGHT = 360  # CSS pixels
SCALE = [[0, "@bad"], [0.5, "@scale0"], [1, "@blue"]]  # from wrong to right


def accuracy_section(run: Run) -> Markup:
    seen = run.of("inference").select("t", "node", "model", "need", "correct")
    if seen.is_empty():
        return section("Accuracy", note="No device made an inference.")
    width = max(bin_ns(run, _BINS), SECOND)
    names = {device.host: group_of(device.host) for device in run.plan.devices}
    seen = seen.with_columns(
        group=pl.col("node").replace_strict(names, default=pl.col("node")),
        bin=pl.min_horizontal(pl.col("t"), run.plan.duration_ns - 1) // width * width / 1e9,
        fits=pl.col("model") == pl.col("need"),
    )  # fmt: skip
    found = marks.marks(run)
    overall = _means(seen, ["bin"])
    groups = {
        str(name): part for (name,), part in _means(seen, ["group", "bin"]).partition_by("group", as_dict=True).items()
    }
    every = f"in each {width / 1e9:g} s"
    least = min(value for part in groups.values() for value in part["correct"]) // 10 * 10
    y = {"title": {"text": "share [%]"}, "range": [least - 2, 102]}
    traces: list[dict[str, Any]] = []
    if 1 < len(groups) <= _MOST_LINES:
        traces += [
            _line(name, part, run.duration_s, COLOURS[n], "solid", 1.3)
            for n, (name, part) in enumerate(sorted(groups.items()))
        ]
    traces.append(_line("all devices", overall, run.duration_s, INK, "solid", 2.6))
    traces.append(_line("runs the model that fits", overall, run.duration_s, INK, "dot", 1.4, "fits"))
    told = f"Share of right inferences {every}; dotted, the share of inferences by the model that fits the situation."
    pictures = [figure([*traces, *marks.strip(found)], marks.layout(run, found, y, _HEIGHT), told, _HEIGHT)]
    if len(groups) > _MOST_LINES:
        pictures.append(_map(run, groups, found, least, every))
    return section("Accuracy", *pictures, note="Real inferences on images of the device's situation, at its rate.")


def _means(seen: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    return (
        seen.group_by(by)
        .agg(pl.col("correct").mean() * 100, pl.col("fits").mean() * 100, pl.len().alias("number"))
        .sort(by)
    )


def _line(
    name: str, part: pl.DataFrame, end_s: float, colour: str, dash: str, width: float, column: str = "correct"
) -> dict[str, Any]:
    """Steps, the last until the run's end."""
    x, y = part["bin"].round(3).to_list(), part[column].round(2).to_list()
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": [*x, end_s], "y": [*y, y[-1]],
        "customdata": [*part["number"], part["number"][-1]],
        "line": {"color": colour, "dash": dash, "width": width, "shape": "hv"},
        "hovertemplate": "from %{x:g} s: %{y:.1f} % of %{customdata} inferences<extra>" + name + "</extra>",
    }  # fmt: skip


def _map(run: Run, groups: dict[str, pl.DataFrame], found: list[marks.Mark], least: float, every: str) -> Markup:
    """A row for each group of devices."""
    bins = sorted({t for part in groups.values() for t in part["bin"]})
    values = {name: dict(part.select("bin", "correct").iter_rows()) for name, part in groups.items()}
    map_of = {
        "type": "heatmap", "y": sorted(values), "x": [round(t, 3) for t in bins],
        "colorscale": SCALE, "zmin": least, "zmax": 100, "ygap": 1,
        "z": [[None if (v := values[name].get(t)) is None else round(v, 1) for t in bins] for name in sorted(values)],
        "colorbar": {"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0}, "showlegend": False,
        "hovertemplate": "<b>%{y}</b><br>from %{x:g} s: %{z:.1f} %<extra></extra>",
    }  # fmt: skip
    y = {"autorange": "reversed", "showgrid": False, "tickfont": {"size": 11}, "dtick": 1}
    told = f"Share of right inferences {every} of each of the {len(groups)} groups of devices."
    height = 150 + 16 * len(groups)
    return figure([map_of, *marks.strip(found)], marks.layout(run, found, y, height), told, height)
