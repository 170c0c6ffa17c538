"""What the figures of a summary are, each named by its place: `downloads.latency_ms.p95`, `links.quad-radio.peak_bps`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from scenarios import quantity

ONE = "1"


class Figure(NamedTuple):
    """`share_of` is what a percentage of it is a percentage of: another figure; ONE where it is a share itself, 0 … 1; or "".

    `better` is whether more or less of it is better, "" where that depends.
    """

    name: str
    unit: Literal["", "s", "ms", "B", "bit/s"] = ""
    better: Literal["", "more", "less"] = ""
    share_of: str = ""

    def show(self, value: float | None) -> str:
        """As people read it: 77 -> "77 ms", 0.9613 -> "96.13 %"; "none: …" says why there is no value."""
        if value is None:
            return f"none: {next(why for of, why in _NONE.items() if self.name.startswith(of))}"
        if self.share_of == ONE:
            return f"{100 * value:.4g} %"
        if self.unit in ("B", "bit/s"):
            return quantity.about(value, of_unit(self.unit)[0])
        return f"{value:.7g} {self.unit}".rstrip()

    def measure(self, summary: Mapping[str, Any]) -> float | None:
        """Its value in a summary; None where it has none, such as an accuracy at swaps when there was no swap."""
        place: Any = summary
        for key in self.name.split("."):
            place = place.get(key) if isinstance(place, Mapping) else None
        return None if place is None else float(place)


_DOWNLOADS, _SESSIONS, _RATE = "downloads.requested", "slices.*.sessions", "links.*.rate_bps"


def _of_tier(place: str) -> tuple[Figure, ...]:
    return (
        Figure(f"{place}.hits", "", "more"),
        Figure(f"{place}.misses", "", "less"),
        Figure(f"{place}.hit_share", "", "more", ONE),
        Figure(f"{place}.bytes_served", "B"),
        Figure(f"{place}.bytes_pulled", "B", "less"),
    )


# `*` stands for the name of a slice or a link.
_FIGURES = (
    Figure("time_s.virtual", "s"),
    Figure("time_s.wall", "s", "less"),
    Figure("downloads.requested"),
    Figure("downloads.completed", "", "more", _DOWNLOADS),
    Figure("downloads.failed", "", "less", _DOWNLOADS),
    Figure("downloads.on_time", "", "more", _DOWNLOADS),
    Figure("downloads.on_time_share", "", "more", ONE),
    Figure("downloads.late", "", "less", _DOWNLOADS),
    Figure("downloads.better_on_time", "", "more", _DOWNLOADS),
    Figure("downloads.accuracy_on_time", "", "more", ONE),
    Figure("downloads.cut", "", "", _DOWNLOADS),
    Figure("downloads.resumed", "", "", _DOWNLOADS),
    Figure("downloads.rolled_back", "", "less", _DOWNLOADS),
    Figure("downloads.bytes", "B"),
    *(Figure(f"downloads.latency_ms.{q}", "ms", "less") for q in ("p50", "p95", "p99", "max")),
    Figure("accuracy.mean", "", "more", ONE),
    Figure("accuracy.before", "", "", ONE),
    Figure("accuracy.after", "", "more", ONE),
    *(figure for tier in ("edge", "local", "central") for figure in _of_tier(f"libraries.{tier}")),
    Figure("handovers.count"),
    Figure("handovers.prepared", "", "more", "handovers.count"),
    Figure("handovers.unmeasured", "", "less", "handovers.count"),
    *(Figure(f"handovers.interruption_ms.{q}", "ms", "less") for q in ("p50", "max")),
    Figure(_SESSIONS),
    Figure("slices.*.granted", "", "more", _SESSIONS),
    Figure("slices.*.reduced", "", "less", _SESSIONS),
    Figure("slices.*.refused", "", "less", _SESSIONS),
    Figure("slices.*.changed", "", "", _SESSIONS),
    Figure("slices.*.lost", "", "less", _SESSIONS),
    Figure("slices.*.violations", "", "less", _SESSIONS),
    Figure(_RATE, "bit/s"),
    Figure("links.*.mean_bps", "bit/s", "", _RATE),
    Figure("links.*.peak_bps", "bit/s", "", _RATE),
    Figure("links.*.dropped", "", "less"),
)
# Why a figure can be without a value
_NONE = {
    "downloads.latency_ms": "no download was completed",
    "downloads": "no download was asked for",
    "accuracy.mean": "nothing was inferred",
    "accuracy": "no model was swapped",
    "libraries": "it was asked for nothing",
    "handovers": "no handover was followed",
    "": "this summary does not have it",
}
_KNOWN = {figure.name: figure for figure in _FIGURES}


def figures(slices: Sequence[str], links: Sequence[str]) -> list[str]:
    """The names of all figures that a summary has, for these slices and links."""
    names = [figure.name for figure in _FIGURES if "*" not in figure.name]
    for group, members in (("slices", slices), ("links", links)):
        of_group = [figure.name for figure in _FIGURES if figure.name.startswith(f"{group}.")]
        names += [name.replace("*", member) for member in members for name in of_group]
    return names


def figure(name: str) -> Figure:
    """What the figure of this name is. Raises KeyError where no summary has it."""
    if name in _KNOWN:
        return _KNOWN[name]
    group, _, rest = name.partition(".")
    member, _, last = rest.partition(".")
    found = _KNOWN[f"{group}.*.{last}"]
    return found._replace(name=name, share_of=found.share_of.replace("*", member))


def flat(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """All figures of a summary by name; None where one has no value."""
    names = figures(list(summary["slices"]), list(summary["links"]))
    return {name: figure(name).measure(summary) for name in names}


def of_unit(unit: str) -> tuple[str, int]:
    """A unit's dimension, and how many of the dimension's base units it is."""
    dimension = next(dimension for dimension, units in quantity.UNITS.items() if unit in units)
    return dimension, int(quantity.UNITS[dimension][unit])
