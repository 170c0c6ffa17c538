"""What the libraries' tiers gave, and what became of the sessions."""

import polars as pl
from markupsafe import Markup

from insitu.report import marks
from insitu.report.page import BAD, WARN, figure, fold, section, table
from insitu.report.reading import Run, bin_ns
from scenarios.quantity import about

_TIERS = ("edge", "local", "central")
_BINS = 120
_HEIGHT = 290  # CSS pixels
_DECISIONS = {"granted": "@blue", "reduced": WARN, "refused": BAD}


def tiers_section(run: Run) -> Markup:
    libraries = _libraries(run)
    if libraries.is_empty():
        return section("Libraries", note="No library served anything.")
    tiers = libraries.group_by("tier").agg(pl.exclude("library", "tier").sum(), pl.len().alias("libraries"))
    rows = sorted(tiers.iter_rows(named=True), key=lambda row: _TIERS.index(row["tier"]))
    bars = [
        {
            "type": "bar", "orientation": "h", "name": name, "marker": {"color": colour}, "y": [row["tier"] for row in rows],
            "x": [row[column] / 1e6 for row in rows], "text": [about(row[column], "size") for row in rows], "textposition": "auto",
            "insidetextfont": {"color": "@paper"},
            "hovertemplate": f"%{{y}}: %{{text}} {name}<extra></extra>",
        }
        for name, colour, column in (("from its own store", "@blue", "stored"), ("pulled for it first", "@orange", "pulled_first"))
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "served [MB]"}},
        "yaxis": {"autorange": "reversed", "title": {"text": "tier"}},
    }
    head = ["objects served", "hits", "hits [%]", "served", "from its own store", "pulled from above"]
    by_tier = [(row["tier"], row["libraries"], *_figures(row)) for row in rows]
    by_library = [(row["library"], row["tier"], *_figures(row)) for row in libraries.iter_rows(named=True)]
    return section(
        "Libraries",
        figure(bars, layout, "Bytes that each tier served, to devices or to the tier below", 230),
        table(["tier", "libraries", *head], by_tier, "Tiers: what they served and pulled"),
        fold("Each library", table(["library", "tier", *head], by_library, "Libraries: what they served and pulled")),
    )


def _libraries(run: Run) -> pl.DataFrame:
    """A row a library that served or pulled: its tier, objects, hits, and in bytes: served, stored (of these, from its own store),
    pulled_first, pulled."""
    tiers = {library.host: library.tier for library in run.plan.libraries}
    served = run.of("served").group_by("node").agg(
        pl.len().alias("objects"), pl.col("hit").sum().alias("hits"), pl.col("bytes").sum().alias("served"),
        pl.col("bytes").filter("hit").sum().alias("stored"), pl.col("bytes").filter(~pl.col("hit")).sum().alias("pulled_first"),
    )  # fmt: skip
    pulled = run.of("pulled").group_by("node").agg(pl.col("bytes").sum().alias("pulled"))
    both = served.join(pulled, on="node", how="full", coalesce=True).fill_null(0).rename({"node": "library"})
    return both.with_columns(
        tier=pl.col("library").replace_strict(tiers, default=""), objects=pl.col("objects").cast(pl.Int64)
    ).sort("library")


def _figures(row: dict[str, int]) -> tuple[object, ...]:
    share = round(100 * row["hits"] / row["objects"], 1) if row["objects"] else None
    return (
        row["objects"],
        row["hits"],
        share,
        *(about(row[name], "size") for name in ("served", "stored", "pulled")),
    )


def sessions_section(run: Run) -> Markup:
    head = [
        "slice",
        "guarantee",
        "ceiling",
        "sessions",
        "granted",
        "reduced",
        "refused",
        "changed",
        "lost",
        "violations",
    ]
    rows = [
        (
            entry.name, f"{100 * entry.guarantee:.3g} %", f"{100 * entry.ceiling:.3g} %",
            *(run.summary["slices"][entry.name][name] for name in head[3:]),
        )
        for entry in run.plan.slices
    ]  # fmt: skip
    listed = table(head, rows, "Slices and their sessions. Guarantee and ceiling are shares of every link.")
    decided = run.of("session").select("t", "decision")
    if decided.is_empty():
        return section("Sessions", listed, note="Nobody asked for a session.")
    width = bin_ns(run, _BINS)
    binned = decided.with_columns(bin=pl.col("t") // width * width / 1e9).group_by("decision", "bin").len().sort("bin")
    found = marks.marks(run)
    bars = []
    for decision, colour in _DECISIONS.items():
        part = binned.filter(pl.col("decision") == decision)
        bars.append(
            {
                "type": "bar", "name": f"{decision} ({part['len'].sum():,})", "x": part["bin"].round(4).to_list(),
                "y": part["len"].to_list(), "width": width / 1e9, "offset": 0, "marker": {"color": colour, "line": {"width": 0}},
                "hovertemplate": f"%{{y}} {decision} from %{{x:.2f}} s on<extra></extra>",
            }
        )  # fmt: skip
    layout = marks.layout(run, found, {"title": {"text": "sessions decided"}, "rangemode": "tozero"}, _HEIGHT)
    told = f"Sessions by the controller's decision, {width / 1e6:g} ms each."
    return section("Sessions", figure([*bars, *marks.strip(found)], layout, told, _HEIGHT), listed)
