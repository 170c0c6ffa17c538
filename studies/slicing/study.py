"""Which slicing policy is best, as the load of a cell grows: accuracy that devices have in time, by the number of phones."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insitu.study import sweep
from insitu.study.design import Point
from insitu.study.statistics import Difference, difference, estimate
from studies.drawing import COLOURS, axis, layout, with_intervals
from studies.study import Answer, Study, apart, shown

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
        [policy, str(count), shown(accuracy[count, policy]), shown(complete[count, policy])]
        for count, policy in sorted(accuracy, key=lambda key: (key[0], POLICIES.index(key[1])))
    ]
    head = ["slicing", "phones", *(f"{title}: mean ± 95 % interval" for title in TITLES.values())]
    alt = "Accuracy on time, and downloads complete on time, against the number of phones, for five slicing policies"
    figures = {ACCURACY: accuracy, COMPLETE: complete}
    return Answer(sentences(accuracy, complete), head, rows, figure(figures), alt, (1000, 460))


def sentences(accuracy: Measured, complete: Measured) -> list[str]:
    counts = sorted({count for count, _ in accuracy})
    return [
        f"**Accuracy on time: {'; '.join(_ahead(accuracy, count) for count in counts)}.**",
        f"Downloads that are complete on time: {'; '.join(_ahead(complete, count) for count in counts)}.",
    ]


def _ahead(found: Measured, count: int) -> str:
    best, second, ahead = verdict(found, count)
    mean = means(found, count)[best]
    if not ahead.shown:
        by = apart(ahead, "points")
        return f"with {count} phones no difference is shown between `{best}` ({mean:.1f} %) and `{second}`, {by}"
    return f"with {count} phones `{best}` ({mean:.1f} %) is ahead of `{second}`, the next, by {apart(ahead, 'points')}"


def figure(figures: Mapping[str, Measured]) -> dict[str, Any]:
    data, panels = [], dict[str, Any]()
    for panel, (name, found) in enumerate(figures.items(), 1):
        for colour, policy in zip(COLOURS, POLICIES, strict=True):
            counts = sorted(count for count, of in found if of == policy)
            data.append(with_intervals(policy, colour, panel, counts, [estimate(found[n, policy]) for n in counts]))
        domain = [0.54 * (panel - 1), 0.54 * (panel - 1) + 0.46]
        panels[f"xaxis{panel}"] = axis("phones that want another model at once", domain=domain, anchor=f"y{panel}")
        panels[f"yaxis{panel}"] = axis(TITLES[name], anchor=f"x{panel}", rangemode="tozero")
    return {"data": data, "layout": layout("Slicing policies as load grows: mean and 95 % interval", **panels)}


STUDY = Study(FOLDER, points(), SEEDS, partial(sweep.cases, FOLDER / "scenario.yaml", ()), answer)
