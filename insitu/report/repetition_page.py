"""The report of a repetition: each figure's mean with its interval, every run's value, and which runs have none."""

from collections.abc import Sequence

from markupsafe import Markup

from insitu.report.estimates import axis, band, dots, room
from insitu.report.page import COLOURS, Tile, figure, fold, grid, page, paragraph, section, table, tiles
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
    what = f"not in the figures: {len(found.unusable)} of {len(found.outcomes)} runs"
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
    values, interval = [factor * value for _, value in pairs], scaled(its.interval, factor)
    trace = dots([str(seed) for seed, _ in pairs], values, which, COLOURS[0])
    layout = {
        "xaxis": axis("seed", type="category"),
        "yaxis": axis(which, unit, range=room(values, interval)),
        "shapes": band(factor * its.mean, interval),
    }
    return figure(
        [trace], layout, f"{which} of every run; the line is the mean, the band its 95 % interval.", height=300
    )


def _as_added(found: Repetition, which: str) -> Markup:
    """The mean and its interval after the first 3, 4, … runs."""
    values = [value for _, value in _pairs(found, which)]
    factor, unit = scale(figures.figure(which), max(values))
    so_far = [estimate(values[:n]) for n in range(3, len(values) + 1)]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [its.n for its in so_far],
        "y": [factor * its.mean for its in so_far],
        "error_y": {
            "type": "data",
            "array": [factor * (its.interval.high - its.mean) for its in so_far if its.interval],
        },
        "marker": {"color": COLOURS[0]},
        "line": {"color": COLOURS[0]},
        "hovertemplate": "%{x} runs: %{y:.4g}<extra></extra>",
    }
    layout = {"xaxis": axis("runs"), "yaxis": axis(which, unit)}
    return figure([trace], layout, f"The mean of {which} and its 95 % interval by the number of runs.", height=300)


def _table(found: Repetition) -> Markup:
    rows = []
    for name, its in found.figures.items():
        if its.deviation != 0:
            what = figures.figure(name)
            factor, unit = scale(what, its.mean)
            deviation = None if its.deviation is None else factor * its.deviation
            rows.append([name, its.n, estimated(what, its), deviation, factor * its.least, factor * its.most, unit])
    head = ["figure", "runs", "mean [95 % interval]", "deviation", "least", "most", "unit"]
    return table(head, rows, "Figures that differ from run to run.")


def _constant(found: Repetition) -> Markup:
    rows = [
        [name, its.n, estimated(figures.figure(name), its)] for name, its in found.figures.items() if its.deviation == 0
    ]
    return fold(
        "Figures that are the same in every run", table(["figure", "runs", "value"], rows, "One value in all runs.")
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
