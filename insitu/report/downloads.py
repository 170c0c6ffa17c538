"""Downloads: one row each, the timeline of all of them, their latencies over the run and against the deadline."""

import math
from typing import Any

import polars as pl
from markupsafe import Markup

from insitu.report import marks
from insitu.report.page import BAD, INK, QUIET, WARN, figure, fold, section, table
from insitu.report.reading import Run, milliseconds, seconds
from scenarios.quantity import about

_ROWS = 80  # of the timeline; with more downloads a row is a group of them
_POINTS = 3000  # of a picture that has a point for each download
_CURVE = 1000  # points of a distribution
_HEIGHT = 360  # CSS pixels
_LISTED = 100  # rows of the table
OUTCOMES = {"on time": "@blue", "late": BAD, "failed": INK, "unfinished": QUIET}


def downloads(run: Run) -> pl.DataFrame:
    """One row a download, in the order in which they were asked for.

    download, device, model, library, deadline_ns, outcome, variant, bytes, reason; in ns since the run's start: asked; in ns since
    then, null where it did not happen: granted, first_byte, runnable (a part that is better than what runs), done (loaded),
    swapped; of its session: decision, requested_bps, granted_bps.
    """

    def first(kind: str, name: str, *fields: pl.Expr) -> pl.DataFrame:
        return run.of(kind).group_by("download").agg(pl.col("t").first().alias(name), *(f.first() for f in fields))

    asked = first(
        "requested", "asked", pl.col("node").alias("device"), pl.col("model"), pl.col("library"), pl.col("deadline_ns")
    )
    sessions = run.of("sessionasked").select("session", "download").join(
        run.of("session").select("session", pl.col("t").alias("granted"), "decision", "requested_bps", "granted_bps"),
        on="session",
    ).unique("download", keep="first", maintain_order=True).drop("session")  # fmt: skip
    chosen = run.of("chosen").group_by("download").agg(pl.col("reason").last())
    done = first("completed", "done", pl.col("variant"), pl.col("bytes"), pl.col("on_time"))
    failed = first("failed", "failed", pl.col("reason").alias("failure"))
    cut = run.of("cut").group_by("download").agg(pl.col("reason").last().alias("cut"))
    rows = asked
    for more in (
        sessions, chosen, first("firstbyte", "first_byte"), first("runnable", "runnable"), done, first("swapped", "swapped"),
        failed, cut,
    ):  # fmt: skip
        rows = rows.join(more, on="download", how="left")
    since = ("granted", "first_byte", "runnable", "done", "swapped", "failed")
    outcome = (
        pl.when(pl.col("on_time")).then(pl.lit("on time"))
        .when(pl.col("done").is_not_null()).then(pl.lit("late"))
        .when(pl.col("failed").is_not_null()).then(pl.lit("failed"))
        .otherwise(pl.lit("unfinished"))
    )  # fmt: skip
    return (
        rows.with_columns(outcome=outcome, reason=pl.coalesce("failure", "cut", "reason"))
        .with_columns(pl.col(name) - pl.col("asked") for name in since)
        .with_columns(end=pl.coalesce("done", "failed", run.plan.duration_ns - pl.col("asked")))
        .sort("asked", "download")
    )


def downloads_section(run: Run, rows: pl.DataFrame) -> Markup:
    if rows.is_empty():
        return section("Downloads", note="No device asked for a model.")
    return section(
        "Downloads", _over_time(run, rows), _timeline(rows), _distribution(rows), fold("As a table", _table(rows)),
        note="Latency is from the request until the model is loaded. Late downloads are red, and crosses; failed ones are triangles.",
    )  # fmt: skip


def _record(row: dict[str, Any]) -> str:
    """All that is on record of a download, as a hover text."""
    session = f"{row['decision']}, {about(row['granted_bps'], 'rate')}" if row["decision"] else "none"
    lines = [
        f"<b>{row['device']}</b>: {row['model']} {row['variant'] or ''} from {row['library']}",
        f"<b>{row['outcome']}</b>: {milliseconds(row['done'])}, deadline {milliseconds(row['deadline_ns'])}",
        f"asked at {seconds(row['asked'])}; session {session}",
        f"after: granted {milliseconds(row['granted'])}, first byte {milliseconds(row['first_byte'])}, "
        f"a part runs {milliseconds(row['runnable'])}, swapped {milliseconds(row['swapped'])}",
        about(row["bytes"], "size") if row["bytes"] is not None else "",
        row["reason"] or "",
    ]
    return "<br>".join(filter(None, lines))


def _over_time(run: Run, rows: pl.DataFrame) -> Markup:
    found = marks.marks(run)
    told = "Each download where it was asked for, and its latency."
    shown = rows
    if rows.height > _POINTS:
        usual = rows.filter(pl.col("outcome") == "on time")
        rest = max(1, _POINTS - (rows.height - usual.height))
        shown = pl.concat(
            [
                usual.sort("end").gather_every(math.ceil(usual.height / rest)),
                rows.filter(pl.col("outcome") != "on time"),
            ]
        )
        told += f" Of {usual.height:,} on time every {math.ceil(usual.height / rest)}th by latency is drawn; of the others, all."
    symbols = {"on time": "circle", "late": "x", "failed": "triangle-up", "unfinished": "circle-open"}
    traces: list[dict[str, Any]] = []
    for outcome, colour in OUTCOMES.items():
        part = shown.filter(pl.col("outcome") == outcome)
        if not part.is_empty():
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": f"{outcome} ({(rows['outcome'] == outcome).sum():,})",
                    "x": (part["asked"] / 1e9).round(4).to_list(), "y": (part["end"] / 1e6).round(2).to_list(),
                    "marker": {"color": colour, "symbol": symbols[outcome], "size": 6 if outcome == "on time" else 9,
                               "opacity": 0.75 if outcome == "on time" else 1},
                    "text": [_record(row) for row in part.iter_rows(named=True)],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )  # fmt: skip
    y = {"title": {"text": "latency [ms]"}, "rangemode": "tozero", **_axis_for(rows)}
    layout = marks.layout(run, found, y, _HEIGHT)
    layout["shapes"] = layout["shapes"] + [_deadline(ms, horizontal=True) for ms in _deadlines(rows)]
    return figure([*traces, *marks.strip(found)], layout, told + " The dashed line is the deadline.", _HEIGHT)


def _timeline(rows: pl.DataFrame) -> Markup:
    """A bar a download, or a group of them."""
    if rows.height <= _ROWS:
        shown = rows.with_columns(number=1, late=(pl.col("outcome") != "on time").cast(pl.Int64), last=pl.col("end"))
        names = [f"{row['device']} {row['asked'] / 1e9:.2f} s" for row in rows.iter_rows(named=True)]
        texts = [_record(row) for row in rows.iter_rows(named=True)]
        told = "Each download, from its request on, in the order in which they were asked for."
    else:
        size = math.ceil(rows.height / _ROWS)
        ranked = rows.sort("end").with_row_index("rank").with_columns(pl.col("rank") // size)
        mean = ("granted", "first_byte", "runnable", "swapped", "end")
        shown = ranked.group_by("rank", maintain_order=True).agg(
            *(pl.col(name).mean() for name in mean),
            number=pl.len(), late=(pl.col("outcome") != "on time").sum(), first=pl.col("end").min(), last=pl.col("end").max(),
        )  # fmt: skip
        names = [f"{rank * size + 1:,}–{rank * size + n:,}" for rank, n in shown.select("rank", "number").iter_rows()]
        texts = [
            f"<b>{name} of {rows.height:,} by latency</b><br>{milliseconds(row['first'])} to {milliseconds(row['last'])}, "
            f"{row['late']} of {row['number']} not on time<br>on average: granted {milliseconds(row['granted'])}, first byte "
            f"{milliseconds(row['first_byte'])}, a part runs {milliseconds(row['runnable'])}, loaded {milliseconds(row['end'])}"
            for name, row in zip(names, shown.iter_rows(named=True), strict=True)
        ]
        told = f"All {rows.height:,} downloads, from their requests on, ranked by latency: each bar is the average of {size} of them."
    part = shown.with_columns(until=pl.min_horizontal("runnable", "end"), y=pl.int_range(pl.len()))
    hover = {"hovertemplate": "%{text}<extra></extra>", "textposition": "none"}

    def bar(name: str, these: pl.DataFrame, ns: pl.Series, colour: str, opacity: float) -> dict[str, Any]:
        here = {"y": these["y"].to_list(), "x": (ns / 1e6).round(2).to_list(), "text": [texts[n] for n in these["y"]]}
        marker = {"color": colour, "opacity": opacity, "line": {"width": 0}}
        return {"type": "bar", "orientation": "h", "name": name, "marker": marker, **hover, **here}

    def point(name: str, ns: pl.Series, symbol: str, colour: str) -> dict[str, Any]:
        here = {"y": part["y"].to_list(), "x": (ns / 1e6).round(2).to_list(), "text": texts}
        marker = {"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1.5, "color": colour}}
        return {"type": "scatter", "mode": "markers", "name": name, "marker": marker, **hover, **here}

    on_time, late = part.filter(pl.col("late") == 0), part.filter(pl.col("late") > 0)
    traces = []
    for these, colour, which in ((on_time, "@blue", ""), (late, BAD, ", not on time")):
        if not these.is_empty():
            traces.append(bar(f"until a better part runs{which}", these, these["until"], colour, 0.45))
            traces.append(bar(f"until all is loaded{which}", these, these["end"] - these["until"], colour, 0.95))
    traces += [
        point("session decided", part["granted"], "line-ns", INK),
        point("first byte", part["first_byte"], "triangle-up", WARN),
        point("swapped", part["swapped"], "diamond-open", INK),
    ]
    step = math.ceil(len(names) / 45)
    layout = {
        "xaxis": {"title": {"text": "since the request [ms]"}, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": part["y"].to_list()[::step], "ticktext": names[::step], "range": [len(names) - 0.4, -0.6], "showgrid": False,
            "tickfont": {"size": 10},
            **({"title": {"text": "downloads by latency"}} if rows.height > _ROWS else {}),
        },
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "shapes": [_deadline(ms) for ms in _deadlines(rows)],
    }  # fmt: skip
    return figure(traces, layout, told + " Red: not on time. The dashed line is the deadline.", 150 + 11 * len(names))


def _distribution(rows: pl.DataFrame) -> Markup:
    """Of the latencies, drawn on to the right edge so that where each ends can be compared."""
    deadlines = _deadlines(rows)
    right = 1.04 * max([*deadlines, (rows["done"].max() or 0) / 1e6])  # type: ignore[operator]
    traces = []
    for name, ns, colour, dash in (
        ("all is loaded", rows["done"], "@blue", "solid"),
        ("a better part runs", rows.select(pl.min_horizontal("runnable", "done")).to_series(), "@orange", "dot"),
    ):
        times = ns.drop_nulls().sort() / 1e6
        if times.is_empty():
            continue
        step = math.ceil(times.len() / _CURVE)
        ranks = [*range(0, times.len() - 1, step), times.len() - 1]
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "line": {"color": colour, "shape": "hv", "width": 2, "dash": dash},
                "x": [0, *(round(times[rank], 3) for rank in ranks), round(right, 3)],
                "y": [0, *(round(100 * (rank + 1) / rows.height, 3) for rank in ranks), round(100 * times.len() / rows.height, 3)],
                "hovertemplate": "%{y:.1f} % within %{x:.1f} ms<extra>" + name + "</extra>",
            }
        )  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "latency [ms]"}, "rangemode": "tozero", **_axis_for(rows)},
        "yaxis": {"title": {"text": "share of all downloads [%]"}, "range": [0, 102]},
        "shapes": [_deadline(ms) for ms in deadlines],
        "annotations": [
            {"x": ms, "y": 0.02, "yref": "paper", "text": f"deadline {ms:g} ms", "showarrow": False, "xanchor": "right",
             "yanchor": "bottom", "font": {"color": BAD}}
            for ms in deadlines
        ],
    }  # fmt: skip
    told = f"Empirical distribution of the latency of all {rows.height:,} downloads; one that did not complete never counts as loaded."
    if rows.height > _CURVE:
        told += f" Every {math.ceil(rows.height / _CURVE)}th step is drawn."
    return figure(traces, layout, told, 340)


def _deadlines(rows: pl.DataFrame) -> list[float]:
    return sorted(ns / 1e6 for ns in rows["deadline_ns"].unique())


def _deadline(ms: float, *, horizontal: bool = False) -> dict[str, Any]:
    line = {"type": "line", "line": {"color": BAD, "width": 1.5, "dash": "dash"}}
    if horizontal:
        return {**line, "y0": ms, "y1": ms, "x0": 0, "x1": 1, "xref": "paper"}
    return {**line, "x0": ms, "x1": ms, "y0": 0, "y1": 1, "yref": "paper"}


def _axis_for(rows: pl.DataFrame) -> dict[str, Any]:
    """Latencies that differ by more than a hundred times have a logarithmic axis."""
    times = rows["end"].drop_nulls()
    return {"type": "log"} if times.len() and times.max() > 100 * max(1, times.median()) else {}  # type: ignore[operator, type-var]


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
