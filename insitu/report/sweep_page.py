"""The report of a sweep: the figures that matter against what was set, each mean with its 95 % interval over the seeds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from insitu.report.page import COLOURS, Tile, figure, fold, grid, page, section, table, tiles
from insitu.study.amounts import estimated, scale
from insitu.study.statistics import Estimate, estimate
from insitu.study.sweep import Parameter, Sweep, parameters, reasons, status
from scenarios import figures

_OF_INTEREST = ("downloads.on_time_share", "downloads.latency_ms.p95", "accuracy.mean")
_LINES = len(COLOURS)  # at most so many in a picture; with more there are points alone
_DECADES = 50
_LISTED = 200  # rows of the table of points


class _Point(NamedTuple):
    """One point: what was set, and each figure over its usable runs."""

    number: int
    settings: tuple[Any, ...]
    found: dict[str, Estimate]


def render(swept: Sweep) -> str:
    asked = parameters(swept.points)
    points = _points(swept, asked)
    shown = _shown(points)
    return page(
        f"{swept.name}: a sweep of {len(swept.points)} points",
        [
            *_unusable(swept),
            tiles(_tiles(swept, points)),
            *(_against(which, asked, points, shown) for which in range(len(asked)) if _varies(asked[which])),
            section(
                "Points",
                _table(asked, points, shown),
                note="Means of the usable runs, with 95 % intervals (Student's t).",
            ),
            section("Runs", fold("As a table", _runs(swept))),
        ],
    )


def _points(swept: Sweep, asked: Sequence[Parameter]) -> list[_Point]:
    points = []
    for number in range(len(swept.points)):
        values = defaultdict(list)
        for outcome in swept.outcomes[number * swept.seeds : (number + 1) * swept.seeds]:
            if outcome.usable and outcome.summary:
                for name, value in figures.flat(outcome.summary).items():
                    if value is not None:
                        values[name].append(value)
        found = {name: estimate(of_runs) for name, of_runs in values.items()}
        points.append(_Point(number + 1, tuple(one.values[number] for one in asked), found))
    return points


def _shown(points: Sequence[_Point]) -> list[str]:
    """The figures of interest that any point has, and the violations of each slice that had any."""
    known = dict.fromkeys(name for point in points for name in point.found)
    violated = {name for point in points for name, its in point.found.items() if _is_violations(name) and its.most}
    return [*(name for name in _OF_INTEREST if name in known), *(name for name in known if name in violated)]


def _is_violations(name: str) -> bool:
    return name.startswith("slices.") and name.endswith(".violations")


def _varies(one: Parameter) -> bool:
    return len(set(one.values)) > 1


def _unusable(swept: Sweep) -> list[Markup]:
    if not swept.unusable:
        return []
    lines = Markup("").join(
        Markup("<li>{}, seed {}: {}</li>").format(" ".join(o.case.settings), o.case.seed, "; ".join(reasons(o)))
        for o in swept.unusable
    )
    what = f"{len(swept.unusable)} of {len(swept.outcomes)} runs are not in the figures"
    return [Markup('<div class="verdict bad"><strong>{}</strong><ul>{}</ul></div>').format(what, lines)]


def _tiles(swept: Sweep, points: Sequence[_Point]) -> Iterable[Tile]:
    found = (its for point in points for name, its in point.found.items() if _is_violations(name))
    violations = round(sum(its.n * its.mean for its in found))
    yield Tile("points", str(len(swept.points)))
    yield Tile("seeds", str(swept.seeds), "the same at each point")
    yield Tile("usable runs", f"{len(swept.outcomes) - len(swept.unusable)} of {len(swept.outcomes)}")
    yield Tile("violations", f"{violations:,}", "of slices, in all runs", "bad" if violations else "good")


def _against(which: int, asked: Sequence[Parameter], points: Sequence[_Point], shown: Sequence[str]) -> Markup:
    """Every figure of interest against one parameter; a line for each combination of the others, if they are few."""
    others = [n for n, one in enumerate(asked) if n != which and _varies(one)]
    groups: dict[tuple[Any, ...], list[_Point]] = defaultdict(list)
    for point in points:
        groups[tuple(point.settings[n] for n in others)].append(point)
    few = len(groups) <= _LINES and len(groups) < len(points)
    lines = (
        {_said([asked[n] for n in others], key): of_line for key, of_line in groups.items()}
        if few
        else {"": list(points)}
    )
    return section(
        f"Against {asked[which].key}",
        grid(_chart(name, asked[which], which, lines, joined=few) for name in shown),
        note="" if few or not others else "Each point differs in the other parameters too.",
    )


def _said(others: Sequence[Parameter], values: Sequence[Any]) -> str:
    """joint, 20 ms: what is common to a line."""
    return ", ".join(
        f"{one.key.rpartition('.')[2]} {_text(one, value)}" for one, value in zip(others, values, strict=True)
    )


def _text(one: Parameter, value: Any) -> str:
    if value is None:
        return "as in the file"
    return f"{value:g} {one.unit}".rstrip() if isinstance(value, int | float) else str(value)


def _chart(name: str, one: Parameter, which: int, lines: dict[str, list[_Point]], joined: bool) -> Markup:
    what = figures.figure(name)
    most = max((abs(p.found[name].mean) for of_line in lines.values() for p in of_line if name in p.found), default=0)
    factor, unit = scale(what, most)
    numbers = all(isinstance(value, int | float) for value in one.values)
    traces = []
    for colour, (text, of_line) in zip(COLOURS, lines.items(), strict=False):
        drawn = [point for point in of_line if name in point.found]
        if numbers and joined:
            drawn.sort(key=lambda point: point.settings[which])
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers" if joined else "markers", "name": text, "showlegend": len(lines) > 1,
                "x": [p.settings[which] if numbers else _text(one, p.settings[which]) for p in drawn],
                "y": [factor * p.found[name].mean for p in drawn],
                "error_y": {"type": "data", "array": [factor * _half_width(p.found[name]) for p in drawn], "thickness": 1.2},
                "marker": {"color": colour, "size": 7}, "line": {"color": colour, "width": 1.5},
                "text": [f"point {p.number}: {estimated(what, p.found[name])}, {p.found[name].n} runs" for p in drawn],
                "hovertemplate": "%{x}<br>%{text}<extra>%{fullData.name}</extra>",
            }
        )  # fmt: skip
    rows = len(lines) if len(lines) > 1 else 0  # of the legend, which is above the picture
    layout = {
        "xaxis": {"title": {"text": one.column}, "type": _scale(one) if numbers else "category"},
        "yaxis": {
            "title": {"text": f"{name} ({unit})" if unit else name},
            "rangemode": "normal" if unit == "%" else "tozero",
        },
        "margin": {"t": 36 + 19 * rows},
        "legend": {"orientation": "v", "traceorder": "normal"},
    }
    told = f"{name} against {one.key}: means over the seeds, 95 % intervals."
    return figure(traces, layout, told, height=320 + 19 * rows)


def _scale(one: Parameter) -> str:
    """Values that spread over decades are drawn by decades."""
    return "log" if min(one.values) > 0 and max(one.values) >= _DECADES * min(one.values) else "linear"


def _half_width(its: Estimate) -> float:
    return (its.interval.high - its.interval.low) / 2 if its.interval else 0.0


def _table(asked: Sequence[Parameter], points: Sequence[_Point], shown: Sequence[str]) -> Markup:
    rows = [
        [
            point.number,
            *(_text(one, value) for one, value in zip(asked, point.settings, strict=True)),
            *(estimated(figures.figure(name), point.found[name]) if name in point.found else None for name in shown),
        ]
        for point in points[:_LISTED]
    ]
    more = f" The first {_LISTED} of {len(points)}; table.parquet has all." if len(points) > _LISTED else ""
    return table(["point", *(one.key for one in asked), *shown], rows, f"All points.{more}")


def _runs(swept: Sweep) -> Markup:
    rows = [
        [
            n // swept.seeds + 1,
            outcome.case.seed,
            status(outcome),
            outcome.key,
            outcome.summary and outcome.summary["digest"][:23],
        ]
        for n, outcome in enumerate(swept.outcomes[: 5 * _LISTED])
    ]
    more = f" The first {5 * _LISTED} of {len(swept.outcomes)}." if len(swept.outcomes) > 5 * _LISTED else ""
    return table(["point", "seed", "verdict", "folder in runs/", "digest"], rows, f"All runs.{more}")
