"""A mean with its interval in a picture, and how axes with such values are named."""

from typing import Any

from insitu.report.page import INK
from insitu.study.statistics import Interval


def room(values: list[float], interval: Interval | None) -> list[float]:
    """The range of an axis that shows all values and the interval; shapes alone do not widen it."""
    shown = [*values, *(interval or ())]
    margin = 0.08 * (max(shown) - min(shown)) or 0.05 * abs(shown[0]) or 1.0
    return [min(shown) - margin, max(shown) + margin]


def axis(what: str, unit: str = "", **more: object) -> dict[str, Any]:
    return {"title": {"text": what + (f", {unit}" if unit else "")}, **more}


def band(mean: float, interval: Interval | None) -> list[dict[str, Any]]:
    """Shapes: the mean as a line over the whole width, and its interval as a band behind it."""
    across = {"x0": 0, "x1": 1, "xref": "paper", "layer": "between"}
    line = {**across, "type": "line", "y0": mean, "y1": mean, "line": {"color": INK, "width": 1.5}}
    if interval is None:
        return [line]
    behind = {"type": "rect", "y0": interval.low, "y1": interval.high, "fillcolor": "@sky", "opacity": 0.25}
    return [{**across, **behind, "line": {"width": 0}}, line]


def dots(seeds: list[str], values: list[float], name: str, colour: str, symbol: str = "circle") -> dict[str, Any]:
    """A trace: the value of each run by its seed."""
    return {
        "type": "scatter",
        "mode": "markers",
        "x": seeds,
        "y": values,
        "name": name,
        "marker": {
            "color": colour,
            "symbol": symbol,
            **({"size": 12, "line": {"width": 2}} if "open" in symbol else {"size": 8}),
        },
        "hovertemplate": f"{name}, seed %{{x}}: %{{y:.4g}}<extra></extra>",
    }
