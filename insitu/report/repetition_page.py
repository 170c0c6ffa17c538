"""The report of a repetition: each figure's mean with its interval, every run's value, and which runs have none."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from insitu.report.page import COLOURS, INK, Tile, figure, grid, page, paragraph, section, table, tiles
from insitu.study.amounts import estimated, scale, scaled, seed_count
from insitu.study.cases import Case, Outcome
from insitu.study.repeat import Repetition, told, why
from insitu.study.statistics import Estimate, estimate
from scenarios import figures


def render(name: str, case: Case, found: Repetition, of_interest: Sequence[str], within: float) -> str:
    shown = [which for which in of_interest if which in found.figures]
    usable = len(found.outcomes) - len(found.unusable)
    settings = f", with {' '.join(case.settings)}" if case.settings else ""
    return page(
        f"{name}, {seed_count(len(found.outcomes))}{settings}",
        [
            *_unusable(found),
            tiles(_tile(which, found.figures[which]) for which in shown),
            *map(paragraph, told(found, of_interest, within)),
            section("Every run", grid(_values(found, which) for which in shown)),
            section(
                "As runs were added", grid(_as_added(found, which) for which in shown if found.figures[which].n > 2)
            ),
            section(
                "All figures",
                _table(found),
                note=f"Over {usable} usable runs; intervals of the mean, 95 %, Student's t.",
            ),
            section("Runs", _runs(found.outcomes)),
        ],
    )


def _unusable(found: Repetition) -> list[Markup]:
    if not found.unusable:
        return []
    lines = Markup("").join(Markup("<li>seed {}: {}</li>").format(o.case.seed, why(o)) for o in found.unusable)
    what = f"{len(found.unusable)} of {len(found.outcomes)} runs are not in the figures"
    return [Markup('<div class="verdict bad"><strong>{}</strong><ul>{}</ul></div>').format(what, lines)]


def _tile(which: str, its: Estimate) -> Tile:
    mean, _, interval = estimated(figures.figure(which), its).partition(" [")
    return Tile(which, mean, f"[{interval} in 95 %, {its.n} runs" if interval else f"{its.n} runs")


def _pairs(found: Repetition, which: str) -> list[tuple[int, float]]:
    """The value of a figure by seed."""
    of_runs = [
        (o.case.seed, figures.figure(which).measure(o.summary)) for o in found.outcomes if o.usable and o.summary
    ]
    return [(seed, value) for seed, value in of_runs if value is not None]


def _values(found: Repetition, which: str) -> Markup:
    its, pairs = found.figures[which], _pairs(found, which)
    factor, unit = scale(figures.figure(which), its.most)
    trace = {
        "type": "scatter", "mode": "markers", "marker": {"color": COLOURS[0], "size": 8},
        "x": [seed for seed, _ in pairs], "y": [factor * value for _, value in pairs],
        "hovertemplate": "seed %{x}: %{y:.4g}<extra></extra>",
    }  # fmt: skip
    layout = {"xaxis": {"title": {"text": "seed"}}, "yaxis": _y(which, unit), "shapes": _band(its, factor)}
    return figure(
        [trace], layout, f"{which} of every run; the line is the mean, the band its 95 % interval.", height=300
    )


def _as_added(found: Repetition, which: str) -> Markup:
    """The mean and its interval after the first 2, 3, … runs."""
    values = [value for _, value in _pairs(found, which)]
    factor, unit = scale(figures.figure(which), max(values))
    so_far = [estimate(values[:n]) for n in range(2, len(values) + 1)]
    counts = [its.n for its in so_far]
    ends = [scaled(its.interval, factor) for its in so_far]
    low, high = ([end[side] for end in ends if end] for side in (0, 1))
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": counts, "hoverinfo": "skip", "showlegend": False}
    traces = [
        {**line, "y": low, "line": {"width": 0}},
        {**line, "y": high, "line": {"width": 0}, "fill": "tonexty", "fillcolor": COLOURS[4], "opacity": 0.3},
        {**line, "y": [factor * its.mean for its in so_far], "line": {"color": INK}, "hoverinfo": "x+y"},
    ]
    layout = {"xaxis": {"title": {"text": "runs"}}, "yaxis": _y(which, unit)}
    return figure(traces, layout, f"The mean of {which} and its 95 % interval by the number of runs.", height=300)


def _y(which: str, unit: str) -> dict[str, Any]:
    return {"title": {"text": which + (f", {unit}" if unit else "")}}


def _band(its: Estimate, factor: float) -> list[dict[str, Any]]:
    across = {"x0": 0, "x1": 1, "xref": "paper", "layer": "below"}
    mean = factor * its.mean
    line = {**across, "type": "line", "y0": mean, "y1": mean, "line": {"color": INK, "width": 1.5}}
    interval = scaled(its.interval, factor)
    if interval is None:
        return [line]
    band = {"type": "rect", "y0": interval.low, "y1": interval.high, "fillcolor": COLOURS[4], "opacity": 0.25}
    return [{**across, **band, "line": {"width": 0}}, line]


def _table(found: Repetition) -> Markup:
    rows = []
    for name, its in found.figures.items():
        what = figures.figure(name)
        factor, unit = scale(what, its.mean)
        deviation = None if its.deviation is None else factor * its.deviation
        rows.append([name, its.n, estimated(what, its), deviation, factor * its.least, factor * its.most, unit])
    return table(
        ["figure", "runs", "mean [95 % interval]", "deviation", "least", "most", "unit"],
        rows,
        "Figures that any run has a value of.",
    )


def _runs(outcomes: Sequence[Outcome]) -> Markup:
    rows = [
        [str(o.case.seed), _link(o), why(o) if not o.usable else o.summary and o.summary["verdict"]["status"]]
        for o in outcomes
    ]
    return table(["seed", "run", "verdict"], rows, "All runs; the folder of each is beside this page.")


def _link(outcome: Outcome) -> Markup:
    there = (outcome.folder / "report.html").exists()
    where = f"runs/{outcome.key}/" + ("report.html" if there else "")
    return Markup('<a href="{}">{}</a>').format(where, outcome.key)
