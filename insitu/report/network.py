"""The network as a picture: layers from the central site to the devices, as the plan has them; links coloured by peak use."""

from collections import Counter, defaultdict
from typing import Any

import polars as pl
from markupsafe import Markup

from insitu.report.page import BAD, INK, QUIET, figure, fold, section, table
from insitu.report.reading import SECOND, Run, group_of, milliseconds
from scenarios.plan import Link, Plan
from scenarios.quantity import about

_LAYERS = ("central site", "core", "regions", "gNBs", "cells", "devices")
_PARTS = 5  # of the scale from no use to full use
_LOOK = {  # of each role: layer, symbol, size, how far beside its switch
    "central": (0, "square", 13, 0.0), "nef": (0.5, "square-open", 11, 0.0), "local": (2, "square", 10, 0.32),
    "edge": (3, "square", 10, 0.32), "core": (1, "circle", 14, 0.0), "region": (2, "circle", 12, 0.0),
    "gnb": (3, "circle", 11, 0.0), "cell": (4, "triangle-up", 11, 0.0),
}  # fmt: skip

Place = tuple[float, float]


def network_section(run: Run, rows: pl.DataFrame) -> Markup:
    """`rows` are the downloads."""
    groups = _groups(run.plan)
    places = _places(run.plan, groups)
    traces = [
        *_links(run, places), *_attachments(run.plan, groups, places), *_faults(run.plan, places), *_nodes(run.plan, places),
        _devices(groups, places, rows),
    ]  # fmt: skip
    lowest = min(y for _, y in places.values())
    layout = {
        "xaxis": {"visible": False, "range": [-0.3, 5.75]},
        "yaxis": {"visible": False, "range": [lowest - 0.7, 1]},
        "annotations": [
            {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "text": name, "showarrow": False, "font": {"color": "@soft"}}
            for x, name in enumerate(_LAYERS)
        ],
        "legend": {"orientation": "h", "x": 0, "y": -0.02, "yanchor": "top"}, "margin": {"l": 8, "r": 8, "t": 30, "b": 30},
    }  # fmt: skip
    told = "Squares are libraries, circles switches, triangles cells. A link has the colour of its peak use, over "
    told += f"{run.plan.sample_interval_ns / 1e6:g} ms, of its rate; devices' own links are not sampled."
    picture = figure(traces, layout, told, max(300, min(1100, int(110 + 34 * -lowest))))
    return section("Network", picture, fold("Links as a table", _table(run)), note=_handovers(run))


def _handovers(run: Run) -> str:
    """What the summary says of them; nothing where there was none."""
    figures = run.summary["handovers"]
    if not figures["count"]:
        return ""
    took = figures["interruption_ms"]
    length = "" if took["p50"] is None else f"; interruptions p50 {took['p50']:.4g} ms, max {took['max']:.4g} ms"
    return f"{figures['count']:,} handovers, {figures['prepared']:,} of them prepared by the controller{length}."


def _groups(plan: Plan) -> dict[tuple[str, str], list[str]]:
    """(name of a group, the cell where it starts) -> its devices."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for device in plan.devices:
        found[group_of(device.host), device.attachments[0].cell].append(device.host)
    return found


def _places(plan: Plan, groups: dict[tuple[str, str], list[str]]) -> dict[str, Place]:
    """Where each node is drawn: a row for each group of devices, and everything above them in the middle of what hangs off it."""
    roles = _roles(plan)
    order = {"core": 0, "region": 1, "gnb": 2, "cell": 3}
    above: dict[str, str] = {}  # a switch or library -> the switch that it hangs off
    for link in plan.links:
        a, b = sorted((end.node for end in link.ends), key=lambda node: order.get(roles[node], 4))
        if order.get(roles[a], 4) < order.get(roles[b], 4):
            above.setdefault(b, a)
    rows: dict[str, float] = {}
    height: dict[str, float] = {}
    next_row = 0.0
    for cell in _cells_in_order(plan, above):
        here = [key for key in groups if key[1] == cell] or [("", cell)]
        for name, _ in here:
            rows[f"{name}@{cell}"] = -next_row
            next_row += 1
        height[cell] = sum(rows[f"{name}@{cell}"] for name, _ in here) / len(here)
    for layer in ("gnb", "region", "core"):
        for switch in (s for s in plan.switches if s.role == layer):
            below = [height[s] for s, top in above.items() if top == switch.name and s in height]
            height[switch.name] = sum(below) / len(below) if below else 0.0
    places = {switch.name: (float(_LOOK[switch.role][0]), height[switch.name]) for switch in plan.switches}
    for host in plan.hosts:
        if host.role in _LOOK:
            x, _, _, beside = _LOOK[host.role]
            y = height[above[host.name]]
            places[host.name] = (x + (0.18 if beside else 0), y + (0.9 if host.role == "nef" else beside))
    return places | {name: (5.0, y) for name, y in rows.items()}


def _roles(plan: Plan) -> dict[str, str]:
    of_switches: dict[str, str] = {switch.name: switch.role for switch in plan.switches}
    return of_switches | {host.name: host.role for host in plan.hosts}


def _cells_in_order(plan: Plan, above: dict[str, str]) -> list[str]:
    """Those of one gNB, and of one region, beside each other."""
    number = {switch.name: switch.dpid for switch in plan.switches}
    cells = [switch.name for switch in plan.switches if switch.role == "cell"]
    return sorted(
        cells, key=lambda cell: (number.get(above.get(above[cell], ""), 0), number[above[cell]], number[cell])
    )


def _links(run: Run, places: dict[str, Place]) -> list[dict[str, Any]]:
    """A trace for each part of the scale, and one of invisible points in the links' middles, which have their records."""
    use = {name: figures["peak_bps"] / figures["rate_bps"] for name, figures in run.summary["links"].items()}
    drawn = [link for link in run.plan.links if link.name in use and all(end.node in places for end in link.ends)]
    traces = []
    for part in range(_PARTS):
        x: list[float | None] = []
        y: list[float | None] = []
        for link in drawn:
            if part == min(_PARTS - 1, int(use[link.name] * _PARTS)):
                for px, py in _path(link, places):
                    x.append(px)
                    y.append(py)
                x.append(None)
                y.append(None)
        name = f"{100 * part // _PARTS}–{100 * (part + 1) // _PARTS} %"
        line = {"color": f"@scale{part}", "width": 2 + 1.1 * part}
        traces.append(
            {"type": "scatter", "mode": "lines", "x": x or [None], "y": y or [None], "name": name, "line": line,
             "hoverinfo": "skip", "showlegend": True, "legendrank": part}
        )  # fmt: skip
    middles = [_path(link, places) for link in drawn]
    points = [
        ((path[0][0] + path[-1][0]) / 2 if len(path) == 2 else path[1][0], sum(p[1] for p in path) / len(path))
        for path in middles
    ]
    traces.append(
        {
            "type": "scatter", "mode": "markers", "showlegend": False, "marker": {"size": 14, "opacity": 0},
            "x": [x for x, _ in points], "y": [y for _, y in points],
            "text": [_link_record(link.name, run.summary["links"][link.name]) for link in drawn],
            "hovertemplate": "%{text}<extra></extra>",
        }
    )  # fmt: skip
    return traces


def _path(link: Link, places: dict[str, Place]) -> list[Place]:
    """A straight line; between two nodes of one layer, around what is between them."""
    a, b = (places[end.node] for end in link.ends)
    return [a, (a[0] - 0.25, (a[1] + b[1]) / 2), b] if a[0] == b[0] else [a, b]


def _link_record(name: str, figures: dict[str, float]) -> str:
    rate, mean, peak = (about(figures[key], "rate") for key in ("rate_bps", "mean_bps", "peak_bps"))
    share = 100 * figures["peak_bps"] / figures["rate_bps"]
    return f"<b>{name}</b>: {rate}<br>peak {peak} ({share:.1f} %), mean {mean}<br>{figures['dropped']:,.0f} packets dropped"


def _attachments(
    plan: Plan, groups: dict[tuple[str, str], list[str]], places: dict[str, Place]
) -> list[dict[str, Any]]:
    """From each group to its cell, and on to those where its devices go."""
    x: list[float | None] = []
    y: list[float | None] = []
    moved: tuple[list[float | None], list[float | None]] = ([], [])
    cells = {device.host: [place.cell for place in device.attachments] for device in plan.devices}
    for (name, cell), hosts in groups.items():
        here, there = places[f"{name}@{cell}"], places[cell]
        x += [there[0], here[0], None]
        y += [there[1], here[1], None]
        for later in sorted({later for host in hosts for later in cells[host][1:]} - {cell}):
            moved[0].extend([here[0], places[later][0], None])
            moved[1].extend([here[1], places[later][1], None])
    line = {"type": "scatter", "mode": "lines", "hoverinfo": "skip"}
    traces = [{**line, "x": x, "y": y, "showlegend": False, "line": {"color": "@line", "width": 1.5}}]
    if moved[0]:
        dashed = {"color": QUIET, "width": 1.2, "dash": "dash"}
        traces.append({**line, "x": moved[0], "y": moved[1], "name": "moves there", "line": dashed})
    return traces


def _faults(plan: Plan, places: dict[str, Place]) -> list[dict[str, Any]]:
    links = {link.name: link for link in plan.links}
    found: dict[Place, list[str]] = defaultdict(list)
    for fault in plan.faults:
        what = f"{fault.kind} {fault.name} {'comes back' if fault.up else 'fails'} at {fault.time_ns / SECOND:g} s"
        if fault.name in places:
            found[places[fault.name]].append(what)
        elif fault.name in links and all(end.node in places for end in links[fault.name].ends):
            path = _path(links[fault.name], places)
            found[(path[0][0] + path[-1][0]) / 2, (path[0][1] + path[-1][1]) / 2].append(what)
    if not found:
        return []
    marker = {"symbol": "x", "size": 13, "color": BAD, "line": {"width": 1, "color": "@paper"}}
    texts = ["<br>".join(texts) for texts in found.values()]
    x, y = [place[0] for place in found], [place[1] for place in found]
    return [
        {"type": "scatter", "mode": "markers", "name": "fails for a time", "x": x, "y": y, "marker": marker, "text": texts,
         "hovertemplate": "%{text}<extra></extra>"}
    ]  # fmt: skip


def _nodes(plan: Plan, places: dict[str, Place]) -> list[dict[str, Any]]:
    roles: dict[str, list[str]] = defaultdict(list)
    for name, role in _roles(plan).items():
        if role in _LOOK:
            roles[role].append(name)
    labelled = {"central", "nef", "core", "region", "gnb"}
    traces = []
    for role, names in roles.items():
        _, symbol, size, _ = _LOOK[role]
        colour = "@green" if role in ("central", "local", "edge") else INK
        traces.append(
            {
                "type": "scatter", "mode": "markers+text", "showlegend": False, "x": [places[n][0] for n in names],
                "y": [places[n][1] for n in names], "text": [name if role in labelled else "" for name in names],
                "textposition": "bottom center", "customdata": [f"{role} {name}" for name in names],
                "marker": {"symbol": symbol, "size": size, "color": colour}, "textfont": {"size": 11},
                "hovertemplate": "%{customdata}<extra></extra>",
            }
        )  # fmt: skip
    return traces


def _devices(groups: dict[tuple[str, str], list[str]], places: dict[str, Place], rows: pl.DataFrame) -> dict[str, Any]:
    """A point a group, as large as it is many; with what became of its downloads."""
    outcomes = Counter(rows.select("device", "outcome").iter_rows()) if rows.height else Counter()
    slowest = dict(rows.group_by("device").agg(pl.col("done").max()).iter_rows()) if rows.height else {}
    at = [places[f"{name}@{cell}"] for name, cell in groups]
    texts = []
    for (name, cell), hosts in groups.items():
        here: Counter[str] = Counter()
        for (device, outcome), number in outcomes.items():
            if device in set(hosts):
                here[outcome] += number
        worst = max((slowest[host] for host in hosts if slowest.get(host) is not None), default=None)
        became = ", ".join(f"{number} {outcome}" for outcome, number in here.items()) or "no downloads"
        texts.append(f"<b>{name}</b>: {len(hosts)} in {cell}<br>downloads: {became}<br>slowest {milliseconds(worst)}")
    return {
        "type": "scatter", "mode": "markers+text", "showlegend": False, "x": [x for x, _ in at], "y": [y for _, y in at],
        "marker": {"color": "@sky", "size": [min(24, 7 + 1.5 * len(hosts) ** 0.5) for hosts in groups.values()]},
        "text": [f"  {name} ×{len(hosts)}" if len(hosts) > 1 else f"  {name}" for (name, _), hosts in groups.items()],
        "textposition": "middle right", "textfont": {"size": 11}, "customdata": texts,
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def _table(run: Run) -> Markup:
    by_use = sorted(run.summary["links"].items(), key=lambda item: -item[1]["peak_bps"] / item[1]["rate_bps"])
    rows = [
        (
            name, *(about(figures[key], "rate") for key in ("rate_bps", "mean_bps", "peak_bps")),
            round(100 * figures["peak_bps"] / figures["rate_bps"], 1), int(figures["dropped"]),
        )
        for name, figures in by_use
    ]  # fmt: skip
    head = ["link", "rate", "mean", "peak", "peak [%]", "dropped packets"]
    return table(head, rows, "Links by peak use; of the two directions that which carried more, drops of both.")
