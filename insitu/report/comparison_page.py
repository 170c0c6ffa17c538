"""The report of a comparison: the answer, both sides' figures, the differences seed by seed, and which runs they are."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from insitu.report.estimates import axis, band, dots, room
from insitu.report.page import (
    BAD,
    COLOURS,
    GOOD,
    INK,
    QUIET,
    Tile,
    figure,
    fold,
    page,
    paragraph,
    section,
    table,
    tiles,
)
from insitu.study.amounts import amount, estimated, scale, scaled, seed_count
from insitu.study.compare import Compared, Comparison, change, decision, in_its_unit, sentence
from insitu.study.sides import Made, Run, Side, what_was_set
from insitu.study.statistics import CONFIDENCE, Interval
from insitu.study.tables import cells, the_same

_STATES = {"better": "good", "worse": "bad"}


def render(
    scenario: str, made: Sequence[Made], sides: Sequence[Side], comparisons: Sequence[Comparison], folder: Path
) -> str:
    """The page as it is written to `folder`; sides and `made` are in one order, the first being that of all comparisons."""
    names = [comparisons[0].first, *(found.second for found in comparisons)]
    title = f"{scenario}: {' and '.join(names[1:])} beside {names[0]}"
    return page(
        title,
        [
            *(_answer(found) for found in comparisons),
            section("What differs", _what_differs(names, made), *_notes(comparisons)),
            *(_side_by_side(found) for found in comparisons),
            *(_seed_by_seed(found) for found in comparisons),
            *(part for found in comparisons for part in _exploratory(found)),
            section("Runs", fold("All runs of each side", _runs(names, sides, folder))),
        ],
    )


def _answer(found: Comparison) -> Markup:
    parts = [part for one in found.decided for part in (_sentence(found, one), tiles(_tiles(found, one)))]
    return Markup("\n").join(parts)


def _sentence(found: Comparison, compared: Compared) -> Markup:
    return Markup("<p><strong>{}</strong></p>").format(sentence(found, compared))


def _tiles(found: Comparison, compared: Compared) -> list[Tile]:
    means = [estimated(compared.figure, mean).partition(" [")[::2] for mean in compared.means]
    value, interval, unit = in_its_unit(compared)
    change, _, ends = amount(value, interval, unit, "+").partition(" [")
    effect = "" if compared.difference.effect is None else f", effect d_z {compared.difference.effect:.2f}"
    return [
        *(
            Tile(f"{name}: {compared.figure.name}", mean, f"[{interval}" if interval else "")
            for name, (mean, interval) in zip((found.first, found.second), means, strict=True)
        ),
        Tile(
            decision(compared) or "no difference shown",
            change,
            (f"[{ends}" if ends else "")
            + f"{effect}, better with {compared.better} of {seed_count(compared.difference.n)}",
            _STATES.get(decision(compared), ""),
        ),
    ]


def _what_differs(names: Sequence[str], made: Sequence[Made]) -> Markup:
    rows = [[key, *(value or "as in the file" for value in values)] for key, values in what_was_set(made).items()]
    if not rows:
        return paragraph("Nothing that was set: the sides are the same but for what made them.")
    return table(["", *names], rows, "What was set for each side; all else is the same, seed by seed.")


def _notes(comparisons: Sequence[Comparison]) -> list[Markup]:
    return [paragraph(note) for note in dict.fromkeys(note for found in comparisons for note in found.notes)]


def _side_by_side(found: Comparison) -> Markup:
    rows = [[*cells(one), decision(one) or "no difference shown"] for one in found.decided]
    rows += [[*cells(one), "exploratory"] for one in found.exploratory if not one.same]
    decided = f"{100 * found.confidence:.4g} % interval" + (
        "" if found.confidence == CONFIDENCE else " of its own, so that all of them hold at once with 95 %"
    )
    return section(
        f"{found.second} beside {found.first}",
        table(
            ["figure", found.first, found.second, "difference [interval]", "effect d_z", "better in", ""],
            rows,
            "Means over the seeds with their 95 % intervals (Student's t), and the paired difference: in % of the first side's "
            "mean (Fieller's interval), in points where the figure is a share, in its unit where that mean is near 0.",
        ),
        *map(paragraph, the_same(found.exploratory)),
        note=f"Decided is what was asked for; it has a {decided}. The exploratory figures have 95 % intervals of their own, and of "
        "twenty such one misses by chance: to decide one of them, compare again with --figure, and with other seeds.",
    )


def _seed_by_seed(found: Comparison) -> Markup:
    parts = [picture for one in found.decided for picture in (_values(found, one), _differences(found, one))]
    return section(f"{found.second} and {found.first}, seed by seed", *parts)


def _values(found: Comparison, compared: Compared) -> Markup:
    factor, unit = _scale(compared)
    seeds = [str(seed) for seed in compared.seeds]
    traces = [
        dots(seeds, [factor * value for value in compared.first], found.first, COLOURS[0], "circle-open"),
        dots(seeds, [factor * value for value in compared.second], found.second, COLOURS[1]),
    ]
    layout = {
        "xaxis": axis("seed", type="category"),
        "yaxis": axis(compared.figure.name, unit),
        "legend": {"y": -0.25, "yanchor": "top"},
    }
    return figure(traces, layout, f"{compared.figure.name} of every run: the runs of one seed stand above each other.")


def _differences(found: Comparison, compared: Compared) -> Markup:
    factor, unit = _scale(compared)
    apart = [factor * (b - a) for a, b in zip(compared.first, compared.second, strict=True)]
    mean, interval = factor * compared.difference.mean, scaled(compared.difference.interval, factor)
    seeds = [str(seed) for seed in compared.seeds]
    layout: dict[str, Any] = {
        "xaxis": axis("seed", type="category"),
        "yaxis": axis(f"{found.second} - {found.first}", unit, range=room([0.0, *apart], interval), zeroline=True),
        "shapes": band(mean, interval),
        "showlegend": False,
    }
    caption = f"The difference of each pair, their mean, and its {100 * found.confidence:.4g} % interval."
    return figure([dots(seeds, apart, "difference", COLOURS[2])], layout, caption)


def _exploratory(found: Comparison) -> list[Markup]:
    """The differences as a picture, those in % and those in points apart."""
    pictures = []
    for unit, of in (("%", f"% of {found.first}'s mean"), ("points", "points")):
        told = [
            (one, *in_its_unit(one)[:2]) for one in found.exploratory if not one.same and in_its_unit(one)[2] == unit
        ]
        rows = [(one, value, interval) for one, value, interval in told if interval]
        if rows:
            pictures.append(_forest(rows, axis(f"{found.second} - {found.first}", of, zeroline=True)))
    if not pictures:
        return []
    return [
        section(
            f"{found.second} beside {found.first}: all other figures", *pictures, note="Exploratory, as said above."
        )
    ]


def _forest(rows: Sequence[tuple[Compared, float, Interval]], x: dict[str, Any]) -> Markup:
    colours = [{"better": GOOD, "worse": BAD}.get(decision(one), QUIET) for one, _, _ in rows]
    traces = [
        {
            "type": "scatter", "mode": "markers", "y": [one.figure.name], "x": [value], "name": one.figure.name,
            "marker": {"color": colour, "size": 8},
            "error_x": {"type": "data", "symmetric": False, "array": [interval.high - value],
                        "arrayminus": [value - interval.low], "color": colour, "thickness": 2},
            "hovertemplate": f"%{{y}}: {change(one)}<extra></extra>",
        }
        for (one, value, interval), colour in zip(rows, colours, strict=True)
    ]  # fmt: skip
    layout = {
        "xaxis": x,
        "yaxis": {"autorange": "reversed", "type": "category"},
        "showlegend": False,
        "shapes": [
            {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": INK, "width": 1}}
        ],
    }
    caption = (
        f"The differences with their {100 * CONFIDENCE:g} % intervals: green where that shows better, red where worse."
    )
    return figure(traces, layout, caption, height=90 + 24 * len(rows))


def _runs(names: Sequence[str], sides: Sequence[Side], folder: Path) -> Markup:
    seeds = sorted(set().union(*(side.runs for side in sides)))
    rows = [[str(seed), *(_run(side.runs.get(seed), folder) for side in sides)] for seed in seeds]
    return table(
        ["seed", *names], rows, "The runs' folders; a seed that not every side has is left out of the comparison."
    )


def _run(run: Run | None, folder: Path) -> Markup | None:
    if run is None:
        return None
    report = run.folder / "report.html"
    where = os.path.relpath(report if report.exists() else run.folder, folder)
    return Markup('<a href="{}">{}</a> {}').format(where, run.folder.name, run.summary["verdict"]["status"])


def _scale(compared: Compared) -> tuple[float, str]:
    return scale(compared.figure, max(map(abs, (*compared.first, *compared.second))))
