"""The pages of a comparison and of a repetition in a real browser: drawn whole, with the numbers of the runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser
from reader import Reader, browser, reading
from scipy import stats

from insitu.report import comparison_page, repetition_page
from insitu.study import compare as comparing
from insitu.study.cases import Case, Outcome
from insitu.study.repeat import repetition
from insitu.study.sides import Side, names, read_side
from tests.unit.runs_on_disk import HELLO, made_run

P95 = "downloads.latency_ms.p95"
SEEDS = range(6)
LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two sets of runs; the second's latency is lower by about a tenth."""
    folder = tmp_path_factory.mktemp("sets")
    for name, factor, settings in (("first", 1.0, ()), ("second", 0.9, ("policies.slicing=joint",))):
        for seed in SEEDS:
            value = factor * (100 + 7 * seed) + seed % 2
            made_run(
                folder / name / f"run-{seed}", seed, {P95: value, "accuracy.mean": 0.9 - seed / 100 * factor}, settings
            )
    return [folder / "first", folder / "second"]


def values(side: Side) -> list[float]:
    return [run.summary["downloads"]["latency_ms"]["p95"] for run in side.runs.values()]


def assert_all_is_drawn(reader: Reader) -> None:
    assert reader.complaints == []
    assert reader.asked == []
    for figure in reader.figures():
        assert figure["drawn"] == figure["traces"] > 0, figure
        assert figure["marks"] > 0, figure
    low = [(text, contrast) for text, contrast in reader.contrasts() if contrast < LEAST_CONTRAST]
    assert low == []


def test_a_comparison(chromium: Browser, sets: list[Path], tmp_path: Path) -> None:
    sides = [read_side(folder, folder.name) for folder in sets]
    made = [side.runs[0].made for side in sides]
    (found,) = comparisons = comparing.compare(sides, names(["first", "second"], made), [P95])
    page = tmp_path / "report.html"
    page.write_text(comparison_page.render("hello", made, sides, comparisons, tmp_path))
    with reading(chromium, page) as reader:
        assert_all_is_drawn(reader)
        assert len(reader.figures()) == 3  # both sides and their differences, seed by seed; all other figures
        assert reader.page.inner_text("h1 ~ p") == comparing.sentence(found, found.decided[0])
        assert reader.tiles()["better"][0].startswith("-9.")
        assert reader.tiles()[f"joint: {P95}"][0] == f"{np.mean(values(sides[1])):.0f} ms"
        assert reader.table("What was set")[0] == ["policies.slicing", "deadline", "joint"]


def test_a_repetition(chromium: Browser, sets: list[Path], tmp_path: Path) -> None:
    side = read_side(sets[0], "first")
    outcomes = [
        Outcome(Case(HELLO, (), seed), f"run-{seed}", run.folder, run.summary, None) for seed, run in side.runs.items()
    ]
    dead = Outcome(Case(HELLO, (), 6), "run-6", sets[0], None, "the guest died")
    page = tmp_path / "report.html"
    found = repetition([*outcomes, dead])
    page.write_text(repetition_page.render("hello", Case(HELLO, (), 0), found, [P95, "accuracy.mean"], 0.05))
    with reading(chromium, page) as reader:
        assert_all_is_drawn(reader)
        assert len(reader.figures()) == 4
        mean, (low, high) = (
            np.mean(values(side)),
            stats.t.interval(0.95, 5, np.mean(values(side)), stats.sem(values(side))),
        )
        assert reader.tiles()[P95] == (f"{mean:.0f} ms", f"[{low:.0f}, {high:.0f}] in 95 %, 6 runs")
        assert "seed 6: failed: the guest died" in reader.page.inner_text(".verdict")
