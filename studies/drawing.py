"""A figure of Plotly's as an SVG file: drawn by Chromium, without text as paths, readable on a light and on a dark page."""

import html
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from insitu.study.statistics import Estimate

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito's, for all eyes
QUIET, FAINT = "#808080", "rgba(128,128,128,0.3)"  # on white and on black
DARK = "<style>@media (prefers-color-scheme: dark) { text { fill: #d0d7de !important } }</style>"
LIMIT_S = 120
# Plotly draws when it likes to; Chromium's virtual time ends when nothing is left to wait for.
PAGE = """<!doctype html><script>%s</script><div id="figure"></div><pre id="svg"></pre><script>
Plotly.newPlot("figure", %s).then(figure => Plotly.toImage(figure, {format: "svg", width: %d, height: %d}))
  .then(image => document.getElementById("svg").textContent = decodeURIComponent(image.split(",").slice(1).join(",")))
</script>"""


class NoDrawing(Exception):
    """Chromium is not there, or does not draw: one line."""


def layout(title: str, **more: Any) -> dict[str, Any]:
    """What all figures have in common."""
    return {
        "title": {"text": title, "x": 0.01, "font": {"size": 15}},
        "font": {"family": "sans-serif", "size": 12, "color": "#24292f"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 15, "t": 70, "b": 95},
        "legend": {"orientation": "h", "y": -0.22, "x": 0},
        **more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    lines = {"gridcolor": FAINT, "linecolor": QUIET, "zerolinecolor": FAINT, "showline": True, "ticks": "outside"}
    return {"title": {"text": title}, **lines, **more}


def heading(text: str, left: float) -> dict[str, Any]:
    """An annotation over a panel, whose left edge is at this share of the figure's width."""
    place = {"xanchor": "left", "yanchor": "bottom", "yshift": 4, "showarrow": False}
    return {"text": text, "x": left, "y": 1, "xref": "paper", "yref": "paper", **place}


def line(name: str, colour: str, panel: int, x: Sequence[float], y: Sequence[float], **more: Any) -> dict[str, Any]:
    """A line of the panel, 1, 2, …; a name is in the legend once."""
    where = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "legendgroup": name, "showlegend": panel == 1}
    return {"name": name, "mode": "lines+markers", "line": {"color": colour}, "x": x, "y": y, **where, **more}


def with_intervals(
    name: str, colour: str, panel: int, x: Sequence[float], found: Sequence[Estimate], **more: Any
) -> dict[str, Any]:
    """A line of means, with their intervals where there are any."""
    halves = [one.interval.high - one.mean if one.interval else 0.0 for one in found]
    bars = {"type": "data", "array": halves, "thickness": 1, "width": 3}
    return line(name, colour, panel, x, [one.mean for one in found], error_y=bars, **more)


def write(figure: Mapping[str, Any], file: Path, width: int, height: int) -> None:
    """`figure` has plotly.js's `data` and `layout`. Raises NoDrawing."""
    from plotly.offline import get_plotlyjs

    chromium = shutil.which("chromium")
    if chromium is None:
        raise NoDrawing("chromium, which draws the figure, is not there; apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="insitu-drawing-") as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE % (get_plotlyjs(), json.dumps(figure), width, height))
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += ["--no-first-run", f"--user-data-dir={folder}/profile", "--virtual-time-budget=60000", "--dump-dom"]
        done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    svg = html.unescape(done.stdout.rpartition('<pre id="svg">')[2].partition("</pre>")[0])
    if not svg.startswith("<svg"):
        raise NoDrawing(f"chromium did not draw the figure: {done.stderr[-300:]}")
    start = svg.index(">") + 1
    beside = file.with_name(f".{file.name}.partial")
    beside.write_text(svg[:start] + DARK + svg[start:] + "\n")
    beside.rename(file)
