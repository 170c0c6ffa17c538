"""The timeline of all downloads: from each one's request on, when it got what."""

import math
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup

from insitu.report.downloads import deadline_lines, record
from insitu.report.page import BAD, INK, QUIET, WARN, figure
from insitu.report.reading import milliseconds

_ROWS = 80  # with more downloads a row is a group of them
_LABELS = 45


class Bars(NamedTuple):
    """What is drawn, from above: the times of each bar in ns since the request, and what became of it."""

    times: pl.DataFrame  # granted, first_byte, runnable, swapped, end, outcome
    names: list[str]
    texts: list[str]  # for the pointer
    told: str


def timeline(rows: pl.DataFrame) -> Markup:
    """A bar a download, or a group of them; `rows` as `downloads` gives them."""
    bars = _each(rows) if rows.height <= _ROWS else _groups(rows)
    number = len(bars.names)
    step = math.ceil(number / _LABELS)
    layout = {
        "xaxis": {"title": {"text": "since the request [ms]"}, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": list(range(0, number, step)), "ticktext": bars.names[::step], "tickfont": {"size": 10},
            "range": [number - 0.4, -0.6], "showgrid": False,
        },
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    }  # fmt: skip
    traces = [*_traces(bars), *deadline_lines(rows, (-0.6, number - 0.4))]
    return figure(traces, layout, bars.told, 150 + 11 * number)


def _each(rows: pl.DataFrame) -> Bars:
    listed = list(rows.iter_rows(named=True))
    return Bars(
        rows,
        [f"{row['device']} {row['asked'] / 1e9:.2f} s" for row in listed],
        [record(row) for row in listed],
        "Each download, from its request on, in the order in which they were asked for.",
    )


def _groups(rows: pl.DataFrame) -> Bars:
    """Groups of one size, by latency, then those that never came: nothing is left out, and what is late is together."""
    size = math.ceil(rows.height / _ROWS)
    ranked = rows.sort(pl.col("done").is_null(), "end").with_row_index("rank").with_columns(pl.col("rank") // size)
    several = (pl.col(name) for name in ("granted", "first_byte", "runnable", "swapped"))
    times = ranked.group_by("rank", maintain_order=True).agg(
        *(pl.when(2 * of.count() >= pl.len()).then(of.mean()) for of in several),  # an average of few says nothing of the rest
        pl.col("end").mean(), number=pl.len(), least=pl.col("end").min(), most=pl.col("end").max(),
        late=(pl.col("outcome") == "late").sum(), never=pl.col("done").is_null().sum(),
    )  # fmt: skip
    never, late = 2 * pl.col("never") > pl.col("number"), pl.col("never") + pl.col("late") > 0
    outcome = pl.when(never).then(pl.lit("failed")).when(late).then(pl.lit("late")).otherwise(pl.lit("on time"))
    listed = list(times.iter_rows(named=True))
    names = [f"{row['rank'] * size + 1:,}–{row['rank'] * size + row['number']:,}" for row in listed]
    texts = [
        f"<b>{name} of {rows.height:,} by latency</b><br>{milliseconds(row['least'])} to {milliseconds(row['most'])}, "
        f"of {row['number']}: {row['late']} late, {row['never']} never loaded<br>on average: granted "
        f"{milliseconds(row['granted'])}, first byte {milliseconds(row['first_byte'])}, "
        f"a part runs {milliseconds(row['runnable'])}, end {milliseconds(row['end'])}"
        for name, row in zip(names, listed, strict=True)
    ]
    told = f"All {rows.height:,} downloads by latency, those that never came last: each bar is the average of {size}."
    return Bars(times.with_columns(outcome=outcome), names, texts, told)


def _traces(bars: Bars) -> list[dict[str, Any]]:
    times = bars.times.with_columns(until=pl.min_horizontal("runnable", "end"), y=pl.int_range(pl.len()))
    hover = {"hovertemplate": "%{text}<extra></extra>", "textposition": "none"}

    def bar(name: str, these: pl.DataFrame, ns: pl.Series, colour: str) -> dict[str, Any]:
        here = {"y": these["y"].to_list(), "x": (ns / 1e6).round(2).to_list()}
        marker = {"color": colour, "line": {"width": 0}}
        text = [bars.texts[n] for n in these["y"]]
        return {"type": "bar", "orientation": "h", "name": name, "marker": marker, "text": text, **hover, **here}

    def point(name: str, column: str, symbol: str, colour: str) -> dict[str, Any]:
        here = {"y": times["y"].to_list(), "x": (times[column] / 1e6).round(2).to_list(), "text": bars.texts}
        marker = {"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1.5, "color": colour}}
        return {"type": "scatter", "mode": "markers", "name": name, "marker": marker, **hover, **here}

    traces = []
    for outcome, pale, full, which in (("on time", "@paleblue", "@blue", ""), ("late", "@palebad", BAD, ", late")):
        these = times.filter(pl.col("outcome") == outcome)
        if not these.is_empty():
            traces.append(bar(f"until a better part runs{which}", these, these["until"], pale))
            traces.append(bar(f"until all is loaded{which}", these, these["end"] - these["until"], full))
    never = times.filter(~pl.col("outcome").is_in(["on time", "late"]))
    if not never.is_empty():
        traces.append(bar("until it failed", never, never["end"], QUIET))
    return [
        *traces,
        point("session decided", "granted", "line-ns", INK),
        point("first byte", "first_byte", "triangle-up", WARN),
        point("swapped", "swapped", "diamond-open", INK),
    ]
