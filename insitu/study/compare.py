"""Is one side better than another? Runs of the same seed are paired, and each figure's differences are looked at.

The figures that were asked for are decided: their intervals hold all at once with 95 % (Bonferroni: each has 1 - 5 % / m, where
m is the number of such figures times the number of comparisons). All other figures that can be better or worse are exploratory:
each has a 95 % interval of its own, and no decision, for of twenty such one does not contain 0 by chance.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from insitu.study.amounts import amount, scale, scaled, seed_count
from insitu.study.sides import Incomparable, Run, Side, common_seeds, require_comparable, version_notes
from insitu.study.statistics import CONFIDENCE, Difference, Estimate, Interval, Ratio, difference, estimate, ratio
from scenarios.figures import ONE, Figure, figure, flat

DEFAULT = "downloads.late"
_COUNTED = {f"downloads.{word}": f"{word} downloads" for word in ("late", "failed", "completed", "cut")}
_NOT_OF_THE_NETWORK = ("time_s.",)


class Compared(NamedTuple):
    """One figure of two sides, over the seeds in which both have it; the difference is the second side's from the first."""

    figure: Figure
    seeds: list[int]
    first: list[float]
    second: list[float]
    means: tuple[Estimate, Estimate]
    difference: Difference
    ratio: Ratio | None  # of the second side to the first; None for what is a share, and where the first is too near 0

    @property
    def same(self) -> bool:
        """Both sides have the same value with every seed."""
        return self.difference.equal == self.difference.n

    @property
    def better(self) -> int:
        """In how many seeds the second side is better; where neither sense is better, in how many it has more."""
        return self.difference.less if self.figure.better == "less" else self.difference.more


class Comparison(NamedTuple):
    first: str
    second: str
    seeds: list[int]
    confidence: float  # of each interval of a decided figure
    decided: list[Compared]
    exploratory: list[Compared]
    notes: list[str]


def compare(sides: Sequence[Side], names: Sequence[str], asked: Sequence[str] = ()) -> list[Comparison]:
    """Each further side with the first, over the seeds that all have; `names` are what the sides are called.

    Raises Incomparable where sides are of different scenarios, have no seed in common, or have no such figure.
    """
    seeds = common_seeds(sides)
    runs = [[side.runs[seed] for seed in seeds] for side in sides]
    for name, others in zip(names[1:], runs[1:], strict=True):
        require_comparable((names[0], runs[0][0].made), (name, others[0].made))
    asked = tuple(dict.fromkeys(asked)) or (DEFAULT,)
    confidence = 1 - (1 - CONFIDENCE) / (len(asked) * (len(sides) - 1))
    notes = _left_out(sides, names, seeds) + [
        note for name, side in zip(names, runs, strict=True) for note in _degraded(name, side)
    ]
    return [
        _two(names[0], name, runs[0], others, asked, confidence, notes)
        for name, others in zip(names[1:], runs[1:], strict=True)
    ]


def _two(
    first: str,
    second: str,
    runs: list[Run],
    others: list[Run],
    asked: Sequence[str],
    confidence: float,
    notes: list[str],
) -> Comparison:
    seeds = [run.made.plan.seed for run in runs]
    one, other = ([flat(run.summary) for run in side] for side in (runs, others))
    known = list(dict.fromkeys(name for figures in (*one, *other) for name in figures))
    decided = []
    for name in asked:
        found = _compared(name, seeds, one, other, confidence)
        if found is None:
            raise Incomparable(f"--figure {name}: {first} and {second} have no seed in which both have it")
        decided.append(found)
    rest = [name for name in known if name not in asked and _worth_exploring(name)]
    explored = [_compared(name, seeds, one, other, CONFIDENCE) for name in rest]
    return Comparison(
        first,
        second,
        seeds,
        confidence,
        decided,
        [found for found in explored if found and (any(found.first) or any(found.second))],
        notes + version_notes(runs[0], others[0]),
    )


def _worth_exploring(name: str) -> bool:
    return bool(figure(name).better) and not name.startswith(_NOT_OF_THE_NETWORK)


def _compared(
    name: str,
    seeds: Sequence[int],
    one: Sequence[Mapping[str, float | None]],
    other: Sequence[Mapping[str, float | None]],
    confidence: float,
) -> Compared | None:
    """None where no seed has the figure on both sides."""
    pairs = [(seed, a.get(name), b.get(name)) for seed, a, b in zip(seeds, one, other, strict=True)]
    whole = [(seed, a, b) for seed, a, b in pairs if a is not None and b is not None]
    if not whole:
        return None
    its_seeds, first, second = (list(column) for column in zip(*whole, strict=True))
    what = figure(name)
    return Compared(
        what,
        its_seeds,
        first,
        second,
        (estimate(first), estimate(second)),
        difference(first, second, confidence),
        None if what.share_of == ONE else ratio(first, second, confidence),
    )


def decision(compared: Compared) -> str:
    """What the second side is: "better", "worse", "more" or "less" where neither is better, "" where no difference is shown."""
    shown, better = compared.difference.shown, compared.figure.better
    if not shown or not better:
        return shown
    return "better" if shown == better else "worse"


def sentence(comparison: Comparison, compared: Compared) -> str:
    """`joint` is better than `deadline`: 12.1 % [9.8, 14.2] fewer late downloads, 20 seeds"""
    first, second, found = f"`{comparison.first}`", f"`{comparison.second}`", decision(compared)
    what = {
        "better": f"{second} is better than {first}",
        "worse": f"{second} is worse than {first}",
        "": f"no difference shown between {second} and {first}",
    }.get(found, f"{second} differs from {first}")
    n = compared.difference.n
    return f"{what}: {change(compared)}, {seed_count(n)}" + (", and one seed has no interval" if n == 1 else "")


def method(comparisons: Sequence[Comparison]) -> str:
    """Which intervals the sentences have."""
    count, each = sum(len(one.decided) for one in comparisons), f"{100 * comparisons[0].confidence:.4g} %"
    how = "95 %" if count == 1 else f"{each} each, so that all {count} hold at once with 95 %"
    return f"intervals: of paired differences, Student's t (of %: Fieller's), {how}"


def change(compared: Compared) -> str:
    """12.1 % [9.8, 14.2] fewer late downloads; 3.2 points [1.1, 5.3] higher accuracy.mean"""
    name = compared.figure.name
    counted = _COUNTED.get(name)
    what = counted or name
    if compared.same:
        return f"the same {what} in every run"
    value, interval, unit = in_its_unit(compared)
    text = amount(abs(value), scaled(interval, 1 if value >= 0 else -1), unit)
    less, more = ("fewer", "more") if counted else ("lower", "higher")
    return f"{text} {more if value >= 0 else less} {what}"


def in_its_unit(compared: Compared) -> tuple[float, Interval | None, str]:
    """The difference as it is told: points of shares, % of the first side's mean, or in the figure's unit where that is near 0."""
    apart = compared.difference
    if compared.figure.share_of == ONE:
        return 100 * apart.mean, scaled(apart.interval, 100), "points"
    if compared.ratio is not None and apart.effect is not None:
        return 100 * (compared.ratio.value - 1), scaled(compared.ratio.interval, 100, -100), "%"
    factor, unit = scale(compared.figure, apart.mean)
    return factor * apart.mean, scaled(apart.interval, factor), unit


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {
            "first": one.first,
            "second": one.second,
            "seeds": one.seeds,
            "notes": one.notes,
            "decided": [
                {**_plain(found), "confidence": one.confidence, "decision": decision(found) or "no difference shown",
                 "sentence": sentence(one, found)}
                for found in one.decided
            ],
            "exploratory": [{**_plain(found), "confidence": CONFIDENCE} for found in one.exploratory],
        }
        for one in comparisons
    ]  # fmt: skip


def _plain(found: Compared) -> dict[str, Any]:
    apart = found.difference
    return {
        "figure": found.figure.name,
        "unit": found.figure.unit,
        "seeds": found.seeds,
        "first": found.means[0].mean,
        "second": found.means[1].mean,
        "difference": apart.mean,
        "interval": apart.interval,
        "ratio": found.ratio and {"value": found.ratio.value, "interval": found.ratio.interval},
        "effect_d_z": apart.effect,
        "more": apart.more,
        "less": apart.less,
        "equal": apart.equal,
    }


def _left_out(sides: Sequence[Side], names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    return [
        f"{left} of {len(side.runs)} runs of `{name}` left out: not every side has their seeds"
        for name, side in zip(names, sides, strict=True)
        if (left := len(side.runs) - len(seeds))
    ]


def _degraded(name: str, runs: Sequence[Run]) -> list[str]:
    found = [run for run in runs if run.summary["verdict"]["status"] == "DEGRADED"]
    if not found:
        return []
    return [f"{len(found)} of {len(runs)} runs of `{name}` are DEGRADED: {found[0].summary['verdict']['reasons'][0]}"]
