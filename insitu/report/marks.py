"""What happened to the network and to the devices' situations, as a strip over a picture's time axis."""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

from insitu.report.page import BAD, INK, QUIET
from insitu.report.reading import SECOND, Run

_MOST_LINES = 12  # with more, the strip has them, and the picture below stays clear
_LOOK = {"situation": ("triangle-down", INK), "handover": ("diamond-open", "@blue"), "fault": ("x", BAD)}
_STRIP, _AROUND = 24, 100  # CSS pixels: the strip, and what of a picture is beside its axes


class Mark(NamedTuple):
    t_s: float
    kind: str  # a key of _LOOK
    text: str


def marks(run: Run) -> list[Mark]:
    """Changes of situation as planned; handovers and faults as they were recorded. What happened at one time is one mark."""
    needs = Counter((need.time_ns, need.model) for device in run.plan.devices for need in device.needs[1:])
    found = [Mark(t / SECOND, "situation", f"{model}: {_count(n, 'device')}") for (t, model), n in needs.items()]
    moves = Counter((t, cell) for t, cell in run.of("handover").select("t", "cell").iter_rows())
    found += [Mark(t / SECOND, "handover", f"{_count(n, 'device')} to {cell}") for (t, cell), n in moves.items()]
    faults = run.of("fault").select("t", "of", "node", "up").iter_rows()
    found += [Mark(t / SECOND, "fault", f"{of} {node} {'comes back' if up else 'fails'}") for t, of, node, up in faults]
    at: dict[tuple[float, str], list[str]] = defaultdict(list)
    for mark in sorted(found):
        at[round(mark.t_s, 2), mark.kind].append(mark.text)
    return [Mark(t, kind, "<br>".join(texts)) for (t, kind), texts in at.items()]


def strip(found: list[Mark]) -> list[dict[str, Any]]:
    """The traces of the strip, on the axis y9 of `layout`."""
    traces = []
    for kind, (symbol, colour) in _LOOK.items():
        here = [mark for mark in found if mark.kind == kind]
        if here:
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": kind, "yaxis": "y9",
                    "x": [mark.t_s for mark in here], "y": [0] * len(here),
                    "marker": {"symbol": symbol, "size": 9, "color": colour},
                    "text": [mark.text for mark in here],
                    "hovertemplate": f"<b>{kind}</b> at %{{x:.2f}} s<br>%{{text}}<extra></extra>",
                }
            )  # fmt: skip
    return traces


def layout(run: Run, found: list[Mark], y: dict[str, Any], height: int) -> dict[str, Any]:
    """A layout with time below, `y` at the left and the strip above; `height` is the picture's."""
    below = 1 - _STRIP / (height - _AROUND) if found else 1
    lines = [
        {
            "type": "line", "x0": mark.t_s, "x1": mark.t_s, "y0": 0, "y1": below, "yref": "paper", "layer": "below",
            "line": {"color": BAD if mark.kind == "fault" else QUIET, "width": 1, "dash": "dot"},
        }
        for mark in found
    ]  # fmt: skip
    return {
        "xaxis": {"title": {"text": "time of the run [s]"}, "range": [0, run.duration_s]},
        "yaxis": {**y, "domain": [0, below]},
        "yaxis9": {"domain": [below, 1], "range": [-1, 1], "visible": False, "fixedrange": True},
        "shapes": lines if len(lines) <= _MOST_LINES else [],
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
