"""The HTML around every report: one self-contained file, with plotly.js inside, that asks the network for nothing.

    page("campus, seed 7", [
        section("Latency", figure(traces, layout, "Latency of 41 downloads."), table(["device", "ms"], rows, "The slowest.")),
    ])

Text is escaped where it is put into HTML; what is `Markup` already is left as it is. Figures are plotly.js's own JSON, as dicts:
Plotly's Python classes check it for half a second and add nothing. A colour in a figure is a name of style.css, "@blue", and so
follows the reader's light or dark theme, and is dark on white on paper.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup

COLOURS = ("@blue", "@orange", "@green", "@pink", "@brown", "@grey", "@sky")  # of series; Okabe and Ito's, for all eyes
_REASONS = 5  # of a verdict that are seen at once
GOOD, BAD, WARN, QUIET, INK = "@green", "@bad", "@orange", "@grey", "@ink"
SCALE = [[0, "@panel"], [0.25, "@scale1"], [0.5, "@scale2"], [0.75, "@scale3"], [1, "@scale4"]]  # from little to much

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; form-action 'none'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
<noscript><p class="note">The pictures need JavaScript; the tables do not.</p></noscript>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
""")


class Tile(NamedTuple):
    """A figure that matters: large on the page. `state` is one of "", "good", "warn" and "bad", and `note` says why."""

    name: str
    value: str
    note: str = ""
    state: str = ""


def page(title: str, sections: Iterable[Markup]) -> str:
    """A whole HTML document."""
    from plotly.offline import get_plotlyjs

    parts = {name: Markup(files(__package__).joinpath(name).read_text()) for name in ("style.css", "page.js")}
    return _PAGE.format(
        title=title,
        style=parts["style.css"],
        body=Markup("\n").join(sections),
        plotly=Markup(get_plotlyjs()),
        script=parts["page.js"],
    )


def section(title: str, *parts: Markup, note: str = "") -> Markup:
    """A part of a page under a heading of its own; `note` is a sentence on how to read it."""
    told = Markup('<p class="note">{}</p>').format(note) if note else Markup("")
    return Markup("<section>\n<h2>{}</h2>\n{}\n{}\n</section>").format(title, told, Markup("\n").join(parts))


def figure(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], caption: str, height: int = 340) -> Markup:
    """A picture: plotly.js's traces and layout, its caption, its height in CSS pixels; as wide as there is room."""
    content = msgspec.json.encode({"data": traces, "layout": layout}, enc_hook=_plain)
    return Markup(
        '<figure><div class="plot" style="height:{}px" role="img" aria-label="{}"></div>'
        '<script type="application/json">{}</script><figcaption>{}</figcaption></figure>'
    ).format(height, caption, Markup(content.decode().replace("<", "\\u003c")), caption)


def grid(figures: Iterable[Markup]) -> Markup:
    """Small figures beside each other."""
    return Markup('<div class="grid">{}</div>').format(Markup("\n").join(figures))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str) -> Markup:
    """A table. Numbers stand to the right, None is a dash, and the first column names its row."""
    names = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in head)
    body = Markup("\n").join(
        Markup("<tr>{}{}</tr>").format(
            Markup('<th scope="row">{}</th>').format(row[0]), Markup("").join(_cell(value) for value in row[1:])
        )
        for row in rows
    )
    return Markup(
        '<div class="table"><table><caption>{}</caption><thead><tr>{}</tr></thead>\n<tbody>{}</tbody></table></div>'
    ).format(caption, names, body)


def tiles(figures: Iterable[Tile]) -> Markup:
    """The few figures that matter, in a row."""
    return Markup('<dl class="tiles">{}</dl>').format(
        Markup("\n").join(
            Markup('<div class="{}"><dt>{}</dt><dd>{}<small>{}</small></dd></div>').format(
                tile.state, tile.name, tile.value, tile.note
            )
            for tile in figures
        )
    )


def verdict(status: str, reasons: Sequence[str]) -> Markup:
    """VALID, DEGRADED or INVALID, and why."""
    state = {"VALID": "good", "DEGRADED": "warn"}.get(status, "bad")
    first, rest = _list(reasons[:_REASONS]), reasons[_REASONS:]
    more = fold(f"{len(rest)} more reasons", _list(rest)) if rest else ""
    return Markup('<div class="verdict {}"><strong>{}</strong>{}{}</div>').format(state, status, first, more)


def _list(lines: Sequence[str]) -> Markup:
    items = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup("<ul>{}</ul>").format(items) if lines else Markup("")


def paragraph(*parts: str) -> Markup:
    return Markup("<p>{}</p>").format(Markup(" ").join(parts))


def fold(title: str, *parts: Markup) -> Markup:
    """What few will want to see: closed until it is clicked; on paper when it is open."""
    return Markup("<details><summary>{}</summary>{}</details>").format(title, Markup("\n").join(parts))


def _cell(value: object) -> Markup:
    if value is None or isinstance(value, float) and math.isnan(value):
        return Markup("<td>–</td>")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Markup('<td class="number">{}</td>').format(f"{value:,}" if isinstance(value, int) else f"{value:,.4g}")
    return Markup("<td>{}</td>").format(value)


def _plain(value: object) -> object:
    """NumPy's arrays and numbers as JSON has them."""
    return value.tolist()  # type: ignore[attr-defined]
