"""Latencies of the downloads: over the run, one by one, as a distribution, and as a table."""

import math
from typing import Any

import polars as pl
from markupsafe import Markup

from insitu.report import marks
from insitu.report.downloads import OUTCOMES, deadline_lines, deadlines_of, record
from insitu.report.page import figure, fold, section, table
from insitu.report.reading import Run, milliseconds, seconds
from insitu.report.timeline import timeline
from scenarios.quantity import about

_POINTS = 3000  # of a picture that has a point for each download
_CURVE = 1000  # points of a distribution
_LISTED = 100  # rows of the table
_HEIGHT = 360  # CSS pixels
_SYMBOLS = {"on time": "circle", "late": "x", "failed": "triangle-up", "unfinished": "circle-open"}


def downloads_section(run: Run, rows: pl.DataFrame) -> Markup:
    if rows.is_empty():
        return section("Downloads", note="No device asked for a model.")
    return section(
        "Downloads", _over_time(run, rows), timeline(rows), _distribution(rows), fold("As a table", _table(rows)),
        note="Latency is from the request until the model is loaded. Late ones are red crosses, failed ones triangles.",
    )  # fmt: skip


def _over_time(run: Run, rows: pl.DataFrame) -> Markup:
    found = marks.marks(run)
    points = _bubbles(run, rows) if rows.height > _POINTS else _points(rows)
    told = "Each download where it was asked for, and its latency."
    if rows.height > _POINTS:
        told = "Downloads where they were asked for, and their latency; those that are close are one point, the larger the more."
    traces = [
        {
            "type": "scatter", "mode": "markers", "name": f"{outcome} ({(rows['outcome'] == outcome).sum():,})",
            "x": (part["asked"] / 1e9).round(4).to_list(), "y": (part["end"] / 1e6).round(2).to_list(),
            "marker": {"color": colour, "symbol": _SYMBOLS[outcome], "size": part["size"].to_list(), "opacity": 0.75,
                       "line": {"width": 0}},
            "text": part["text"].to_list(), "hovertemplate": "%{text}<extra></extra>",
        }
        for outcome, colour in OUTCOMES.items()
        if not (part := points.filter(pl.col("outcome") == outcome)).is_empty()
    ]  # fmt: skip
    y = {"title": {"text": "latency [ms]"}, "rangemode": "tozero", **_axis_for(rows)}
    layout = marks.layout(run, found, y, _HEIGHT)
    traces += deadline_lines(rows, (0, run.duration_s), horizontal=True)
    return figure([*traces, *marks.strip(found)], layout, told, _HEIGHT)


def _points(rows: pl.DataFrame) -> pl.DataFrame:
    """outcome, asked, end, size, text of each point."""
    texts = pl.Series("text", [record(row) for row in rows.iter_rows(named=True)], pl.String)
    size = pl.when(pl.col("outcome") == "on time").then(6).otherwise(9).alias("size")
    return rows.select("outcome", "asked", "end", size, texts)


def _bubbles(run: Run, rows: pl.DataFrame) -> pl.DataFrame:
    """The same for groups of downloads: of one hundredth of the run, and with latencies within 10 %."""
    near = (pl.col("asked") * 100 // run.plan.duration_ns, pl.col("end").clip(1).log(1.1).floor())
    grouped = rows.group_by("outcome", *(by.alias(f"near{n}") for n, by in enumerate(near))).agg(
        pl.col("asked", "end").mean(), number=pl.len(), least=pl.col("end").min(), most=pl.col("end").max()
    )  # fmt: skip
    texts = [
        f"<b>{row['number']:,} downloads {row['outcome']}</b><br>asked about {seconds(row['asked'])}, "
        f"{milliseconds(row['least'])} to {milliseconds(row['most'])}"
        for row in grouped.iter_rows(named=True)
    ]
    size = (5 + 2 * pl.col("number").sqrt()).clip(upper_bound=40).round(1).alias("size")
    return grouped.with_columns(size, pl.Series("text", texts, pl.String))


def _distribution(rows: pl.DataFrame) -> Markup:
    """Drawn on to the right edge, so that where each curve ends can be compared."""
    done = rows["done"].drop_nulls().sort() / 1e6
    first = rows.select(pl.min_horizontal("runnable", "done")).to_series().drop_nulls().sort() / 1e6
    right = round(1.04 * max([*deadlines_of(rows), *done.tail(1)]), 3)
    curves = (("all is loaded", done, "@blue", "solid"), ("a better part runs", first, "@orange", "dot"))
    traces = [_curve(name, ms, rows.height, right, *look) for name, ms, *look in curves if not ms.is_empty()]
    layout = {
        "xaxis": {"title": {"text": "latency [ms]"}, "rangemode": "tozero", **_axis_for(rows)},
        "yaxis": {"title": {"text": "share of all downloads [%]"}, "range": [0, 102]},
    }  # fmt: skip
    told = f"Empirical distribution of the latency of all {rows.height:,} downloads; one that has not come counts as never."
    if rows.height > _CURVE:
        told += f" One step in {math.ceil(rows.height / _CURVE)} is drawn."
    return figure([*traces, *deadline_lines(rows, (0, 102))], layout, told, 340)


def _curve(name: str, ms: pl.Series, of: int, right: float, colour: str, dash: str) -> dict[str, Any]:
    """The share of `of` downloads that were there within `ms`, which are sorted."""
    ranks = [*range(0, ms.len() - 1, math.ceil(of / _CURVE)), ms.len() - 1]
    return {
        "type": "scatter", "mode": "lines", "name": name,
        "x": [ms[0], *ms.gather(ranks).round(3), right],
        "y": [0.0, *(round(100 * (rank + 1) / of, 3) for rank in ranks), round(100 * ms.len() / of, 3)],
        "line": {"color": colour, "shape": "hv", "width": 2, "dash": dash},
        "hovertemplate": "%{y:.1f} % within %{x:.1f} ms<extra>" + name + "</extra>",
    }  # fmt: skip


def _axis_for(rows: pl.DataFrame) -> dict[str, Any]:
    """Logarithmic where the slowest would press all others, and the deadline, into a corner."""
    slowest = rows["end"].max() or 0
    return {"type": "log"} if slowest > 8e6 * deadlines_of(rows)[-1] else {}  # type: ignore[operator]


def _table(rows: pl.DataFrame) -> Markup:
    listed = rows.sort("end", descending=True).head(_LISTED) if rows.height > _LISTED else rows
    head = ["download", "device", "model", "variant", "asked at", "session", "granted", "first byte", "a part runs", "loaded",
            "swapped", "size", "outcome"]  # fmt: skip
    cells = [
        (
            row["download"], row["device"], row["model"], row["variant"], seconds(row["asked"]), row["decision"],
            *(milliseconds(row[name]) for name in ("granted", "first_byte", "runnable", "done", "swapped")),
            None if row["bytes"] is None else about(row["bytes"], "size"),
            row["outcome"] if row["outcome"] == "on time" else Markup('<span class="bad-text">{}</span>').format(row["outcome"]),
        )
        for row in listed.iter_rows(named=True)
    ]  # fmt: skip
    told = "All downloads, in the order in which they were asked for; times since the request."
    if listed.height < rows.height:
        told = f"The {listed.height} slowest of {rows.height:,} downloads; events.parquet has all. Times since the request."
    return table(head, cells, told)
