"""Downloads: one row each, and what pictures say of them."""

import textwrap
from typing import Any

import polars as pl

from insitu.report.page import BAD, INK, QUIET
from insitu.report.reading import Run, milliseconds, seconds
from scenarios.quantity import about

_WIDE = 90  # letters in a line of a hover text
OUTCOMES = {"on time": "@blue", "late": BAD, "failed": INK, "unfinished": QUIET}  # and their colours


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


def record(row: dict[str, Any]) -> str:
    """All that is on record of a download, as a hover text."""
    session = f"{row['decision']}, {about(row['granted_bps'], 'rate')}" if row["decision"] else "none"
    lines = [
        f"<b>{row['device']}</b>: {row['model']} {row['variant'] or ''} from {row['library']}",
        f"<b>{row['outcome']}</b>: {milliseconds(row['done'])}, deadline {milliseconds(row['deadline_ns'])}",
        f"asked at {seconds(row['asked'])}; session {session}",
        f"after: granted {milliseconds(row['granted'])}, first byte {milliseconds(row['first_byte'])}, "
        f"a part runs {milliseconds(row['runnable'])}, swapped {milliseconds(row['swapped'])}",
        about(row["bytes"], "size") if row["bytes"] is not None else "",
        *textwrap.wrap(row["reason"] or "", _WIDE),
    ]
    return "<br>".join(filter(None, lines))


def deadlines_of(rows: pl.DataFrame) -> list[float]:
    return sorted(ns / 1e6 for ns in rows["deadline_ns"].unique())


def deadline_lines(
    rows: pl.DataFrame, across: tuple[float, float], *, horizontal: bool = False
) -> list[dict[str, Any]]:
    """A trace for each deadline; `across` is where it begins and ends on the other axis."""
    return [
        {
            "type": "scatter", "mode": "lines", "name": f"deadline {ms:g} ms", "hoverinfo": "name",
            "line": {"color": BAD, "width": 1.5, "dash": "dash"},
            "y" if horizontal else "x": [ms, ms], "x" if horizontal else "y": list(across),
        }
        for ms in deadlines_of(rows)
    ]  # fmt: skip
