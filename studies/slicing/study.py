"""Which slicing policy is best, as the load of a cell grows: accuracy that devices have in time, by the number of phones."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.study import sweep
from insitu.study.design import Point
from insitu.study.statistics import Difference, difference, estimate
from studies.drawing import COLOURS, axis, layout
from studies.study import Answer, Study

if TYPE_CHECKING:
    import polars as pl

FOLDER = Path(__file__).parent
PHONES, SLICING = "devices.phone.count", "policies.slicing"
COUNTS, POLICIES, SEEDS = (4, 16, 48), ("none", "static", "deadline", "fair", "joint"), 5
ACCURACY, COMPLETE = "downloads.accuracy_on_time", "downloads.on_time_share"
TITLES = {ACCURACY: "accuracy on time, %", COMPLETE: "downloads complete on time, %"}

Measured = Mapping[tuple[int, str], Sequence[float]]  # one figure, %, of each seed, by (phones, policy)


def points(counts: Sequence[int] = COUNTS, policies: Sequence[str] = POLICIES) -> list[Point]:
    return [{PHONES: str(count), SLICING: policy} for count in counts for policy in policies]


def measured(table: "pl.DataFrame", figure: str) -> Measured:
    """All in the order of the seeds."""
    runs = table.sort("seed").group_by(PHONES, SLICING, maintain_order=True)
    return {(count, policy): [100 * value for value in of[figure]] for (count, policy), of in runs}


def means(found: Measured, count: int) -> dict[str, float]:
    return {policy: estimate(values).mean for (n, policy), values in found.items() if n == count}


def verdict(found: Measured, count: int) -> tuple[str, str, Difference]:
    """At one load the policies with the greatest and the second greatest mean, and how far the first is ahead, paired by seed."""
    best, second = sorted((of := means(found, count)), key=of.__getitem__, reverse=True)[:2]
    return best, second, difference(found[count, second], found[count, best])


def answer(table: "pl.DataFrame", _: Path) -> Answer:
    accuracy, complete = measured(table, ACCURACY), measured(table, COMPLETE)
    rows = [
        [policy, str(count), _show(accuracy[count, policy]), _show(complete[count, policy])]
        for count, policy in sorted(accuracy, key=lambda key: (key[0], POLICIES.index(key[1])))
    ]
    head = ["slicing", "phones", *(f"{title}: mean ± 95 % interval" for title in TITLES.values())]
    alt = "Accuracy on time, and downloads complete on time, against the number of phones, for five slicing policies"
    figures = {ACCURACY: accuracy, COMPLETE: complete}
    return Answer(sentences(accuracy, complete), head, rows, figure(figures), alt, (1000, 460))


def sentences(accuracy: Measured, complete: Measured) -> list[str]:
    counts = sorted({count for count, _ in accuracy})
    ahead = [_ahead(accuracy, count) for count in counts]
    most = _ahead(complete, counts[-1])
    return [
        f"**Accuracy on time: {'; '.join(ahead)}.**",
        f"Of downloads that are complete in time, {most}.",
    ]


def _ahead(found: Measured, count: int) -> str:
    best, second, apart = verdict(found, count)
    means_of = means(found, count)
    low, high = apart.interval or (float("nan"),) * 2
    shown = f"by {apart.mean:.1f} points [{low:.1f}, {high:.1f}]"
    if not apart.shown:
        return f"with {count} phones no difference is shown between `{best}` ({means_of[best]:.1f} %) and `{second}`, {shown}"
    return f"with {count} phones `{best}` ({means_of[best]:.1f} %) is ahead of `{second}`, the next, {shown}"


def figure(figures: Mapping[str, Measured]) -> dict[str, Any]:
    data = []
    for panel, found in enumerate(figures.values(), 1):
        for colour, policy in zip(COLOURS, POLICIES, strict=True):
            counts = sorted(count for count, of in found if of == policy)
            of_count = [estimate(found[count, policy]) for count in counts]
            half = [(e.interval.high - e.mean) if e.interval else 0.0 for e in of_count]
            data.append(
                {
                    "name": policy,
                    "legendgroup": policy,
                    "showlegend": panel == 1,
                    "mode": "lines+markers",
                    "line": {"color": colour},
                    "x": counts,
                    "y": [e.mean for e in of_count],
                    "error_y": {"type": "data", "array": half, "thickness": 1, "width": 3},
                    "xaxis": f"x{panel}",
                    "yaxis": f"y{panel}",
                }
            )
    panels: dict[str, Any] = {}
    for panel, name in enumerate(figures, 1):
        left = (panel - 1) * 0.54
        panels[f"xaxis{panel}"] = axis(
            "phones that want another model at once", domain=[left, left + 0.46], anchor=f"y{panel}"
        )
        panels[f"yaxis{panel}"] = axis(TITLES[name], anchor=f"x{panel}", rangemode="tozero")
    return {"data": data, "layout": layout("Slicing policies as load grows: mean and 95 % interval", **panels)}


def _show(values: Sequence[float]) -> str:
    found = estimate(values)
    return f"{found.mean:.1f}" + (f" ± {found.interval.high - found.mean:.1f}" if found.interval else "")


STUDY = Study(FOLDER, points(), SEEDS, partial(sweep.cases, FOLDER / "scenario.yaml", ()), answer)
