"""Where models should be cached, for so much storage in a town: at its edges, at its local library, at both or not at all."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from insitu.study.cases import Case
from insitu.study.design import Point
from insitu.study.statistics import difference, estimate
from studies.drawing import COLOURS, axis, heading, layout, with_intervals
from studies.study import Answer, Study, apart, shown

FOLDER = Path(__file__).parent
SKEW, STORAGE, PLACE = "demand.skew", "storage.models", "storage.place"  # what the settings of a point are made of
SKEWS, STORAGES, SEEDS = (0.4, 1.2), (6, 18, 48), 3
PLACES = ("central", "edge", "local", "both")
CELLS, MODELS, MODEL_KB = ("a", "b", "c"), 16, 1000  # as the scenario has them
ASKS, EVERY_MS, FIRST_MS = 40, 500, 1000  # of each cell
MARGIN_KB = 500  # for manifests, beside the models

Measured = Mapping[tuple[float, int, str], Sequence[float]]  # one figure of each seed, by (skew, storage, place)


def points(skews: Sequence[float] = SKEWS, storages: Sequence[int] = STORAGES) -> list[Point]:
    """Without caches storage does not matter: once for each skew, as storage 0."""
    return [
        {SKEW: f"{skew:g}", STORAGE: str(storage), PLACE: place}
        for skew in skews
        for storage, place in [(0, "central"), *product(storages, PLACES[1:])]
    ]


def cases(points: Sequence[Point], seeds: int, asks: int = ASKS) -> list[Case]:
    """Common random numbers: of a skew and a seed, all places and storages have the same demand."""
    return [
        Case(
            FOLDER / "scenario.yaml",
            (
                *caches(point[PLACE], int(point[STORAGE])),
                f"situations={situations(demand(float(point[SKEW]), seed, asks))}",
            ),
            seed,
        )
        for point in points
        for seed in range(seeds)
    ]


def caches(place: str, storage: int) -> tuple[str, str]:
    """The storage, in models, as settings: a third of it at each edge, all of it at the local library, or half of both."""
    share = {"central": (0, 0), "edge": (1, 0), "local": (0, 1), "both": (0.5, 0.5)}[place]
    at_edge, at_local = int(share[0] * storage / len(CELLS)), int(share[1] * storage)
    return f"libraries.edge.cache={_cache(at_edge)}", f"libraries.local.cache={_cache(at_local)}"


def _cache(models: int) -> str:
    return f"{models * MODEL_KB + MARGIN_KB} kB"


def demand(skew: float, seed: int, asks: int = ASKS) -> np.ndarray:
    """Which model, from 1 on, is wanted, by ask and cell: independent draws of a Zipf law, the share of the k-th is ~ 1/k^skew.

    Of one seed the uniform numbers are the same for every skew.
    """
    shares = np.arange(1.0, MODELS + 1) ** -skew
    drawn = np.random.default_rng(seed).random((asks, len(CELLS)))
    return 1 + np.searchsorted(np.cumsum(shares / shares.sum())[:-1], drawn, side="right")


def situations(wanted: np.ndarray) -> str:
    """The demand as the scenario's `situations`; the cells' times do not fall together."""
    lines = []
    for (ask, cell), model in np.ndenumerate(wanted):
        begin = FIRST_MS + ask * EVERY_MS + cell * EVERY_MS // len(CELLS)
        lines.append(f"{{location: {CELLS[cell]}, time: {begin} ms..{begin + EVERY_MS} ms, model: m{model}}}")
    unwanted = sorted(set(range(1, MODELS + 1)) - set(wanted.flat))
    lines += [f"{{time: 1 h.., model: m{model}}}" for model in unwanted]  # after the end: every payload has to be named
    return f"[{', '.join(lines)}]"


def answer(table: pl.DataFrame, runs: Path) -> Answer:
    latency = pl.Series("latency", [_mean_latency_ms(runs / key) for key in table["run"]])
    central = 100 * table["libraries.local.bytes_pulled"] / table["downloads.bytes"]
    edge = 100 * table["libraries.edge.bytes_pulled"] / table["downloads.bytes"]
    table = table.with_columns(latency, central.alias("central"), edge.alias("edge"))
    latencies, from_centre, to_edges = (measured(table, column) for column in ("latency", "central", "edge"))
    rows = [
        [
            f"{skew:g}",
            str(storage or "–"),
            place,
            *(shown(of[skew, storage, place]) for of in (latencies, to_edges, from_centre)),
        ]
        for skew, storage, place in latencies
    ]
    head = [
        "skew",
        "models stored",
        "where",
        "mean latency, ms",
        "bytes pulled by the edges, %",
        "bytes from the centre, %",
    ]
    drawn = figure(("mean latency, ms", latencies), ("bytes from the centre, %", from_centre))
    alt = "Mean latency, and bytes from the central library, against the storage, by where it is, for each skew of popularity"
    return Answer(sentences(latencies, from_centre), head, rows, drawn, alt, (1000, 720))


def _mean_latency_ms(run: Path) -> float:
    """Of all downloads: a percentile would see one tier alone."""
    completed = pl.scan_parquet(run / "events.parquet").filter(pl.col("kind") == "completed")
    return float(completed.select(pl.col("latency_ns").mean()).collect().item()) / 1e6


def measured(table: pl.DataFrame, column: str) -> Measured:
    """All in the order of the seeds."""
    runs = table.sort("point", "seed").group_by(SKEW, STORAGE, PLACE, maintain_order=True)
    return {(skew, storage, place): of[column].to_list() for (skew, storage, place), of in runs}


def sentences(latencies: Measured, from_centre: Measured) -> list[str]:
    lines = []
    for skew in sorted({skew for skew, _, _ in latencies}):
        found = [_best(latencies, skew, storage) for storage in _storages(latencies)]
        none = estimate(latencies[skew, 0, "central"]).mean
        lines.append(f"**Skew {skew:g}: without caches a download takes {none:.0f} ms; {'; '.join(found)}.**")
    sent = {
        place: [estimate(values).mean for (_, _, where), values in from_centre.items() if where == place]
        for place in PLACES[1:]
    }
    ranges = ", ".join(f"{place} {min(of):.0f} to {max(of):.0f} %" for place, of in sent.items() if of)
    lines.append(f"So much of what devices get comes from the centre, by storage and skew: {ranges}.")
    return lines


def _best(found: Measured, skew: float, storage: int) -> str:
    """Which place has the lowest mean latency, and whether the next one is shown to be worse, paired by seed."""
    of = {place: estimate(found[skew, storage, place]).mean for place in PLACES[1:]}
    best, second = sorted(of, key=of.__getitem__)[:2]
    more = difference(found[skew, storage, best], found[skew, storage, second])
    takes = f"with {storage} models stored `{best}` takes {of[best]:.0f} ms"
    if not more.shown:
        return f"{takes}, and no difference is shown to `{second}`, {apart(more, 'ms')} more"
    return f"{takes}, the least; `{second}`, the next, takes {apart(more, 'ms')} more"


def _storages(found: Measured) -> list[int]:
    return sorted({storage for _, storage, _ in found if storage})


def figure(*figures: tuple[str, Measured]) -> dict[str, Any]:
    """A row of panels for each figure, which has a title, and a column for each skew."""
    data, panels, notes = [], dict[str, Any](), []
    skews, storages = sorted({skew for skew, _, _ in figures[0][1]}), _storages(figures[0][1])
    wide, high = 1.08 / len(skews), 1.12 / len(figures)  # of a panel with the gap to the next one
    for (row, (title, found)), (column, skew) in product(enumerate(figures), enumerate(skews)):
        panel = 1 + row * len(skews) + column
        left, top = column * wide, 1 - row * high
        for colour, place in zip(COLOURS, PLACES, strict=False):
            of_place = [estimate(found[skew, 0 if place == "central" else storage, place]) for storage in storages]
            data.append(with_intervals(place, colour, panel, storages, of_place))
        name = f"models that the town's storage holds (of {MODELS})" if row == len(figures) - 1 else ""
        across = {"type": "log", "tickvals": storages, "domain": [left, left + wide - 0.08], "anchor": f"y{panel}"}
        up = {"domain": [max(0.0, top - high + 0.12), top], "anchor": f"x{panel}", "rangemode": "tozero"}
        panels |= {f"xaxis{panel}": axis(name, **across), f"yaxis{panel}": axis("" if column else title, **up)}
        if row == 0:
            notes.append(heading(f"skew {skew:g}", left))
    made = layout("Where the town's storage is: mean and 95 % interval", annotations=notes, **panels)
    return {"data": data, "layout": made | {"legend": {"orientation": "h", "y": -0.12, "x": 0}}}


STUDY = Study(FOLDER, points(), SEEDS, cases, answer)
