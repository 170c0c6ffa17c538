"""A run's report as a browser shows it: whole, without the network, in both themes and on paper, with the summary's numbers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import folder_of, made_up, town_plan
from playwright.sync_api import Browser
from reader import Reader, browser, reading

from insitu.report import run_page
from scenarios.quantity import about

LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 devices."""
    plan = town_plan(4, 6)
    return folder_of(plan, made_up(plan), tmp_path_factory.mktemp("small") / "run")


@pytest.fixture(scope="module")
def report(chromium: Browser, small: Path) -> Iterator[Reader]:
    with reading(chromium, run_page.write(small)) as reader:
        yield reader


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def assert_all_is_drawn(reader: Reader) -> None:
    assert reader.complaints == []
    assert reader.asked == []
    for figure in reader.figures():
        assert figure["drawn"] == figure["traces"] > 0, figure
        assert figure["marks"] > 0, figure
        assert figure["svg"] == pytest.approx(figure["width"], abs=2), figure


def test_every_picture_is_drawn_and_nothing_is_asked_of_the_network(report: Reader) -> None:
    assert_all_is_drawn(report)
    assert len(report.figures()) >= 9


def test_no_button_sends_a_figure_anywhere(report: Reader) -> None:
    buttons = report.page.evaluate(
        "[...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)"
    )
    assert set(buttons) == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_the_figures_that_matter_are_those_of_the_summary(report: Reader, small: Path) -> None:
    summary, tiles = summary_of(small), report.tiles()
    downloads, models = summary["downloads"], summary["slices"]["models"]
    assert tiles["downloads on time"][0] == f"{downloads['on_time']} of {downloads['requested']}"
    assert tiles["latency, p95"][0] == f"{downloads['latency_ms']['p95']:.4g} ms"
    assert tiles["accuracy, mean"][0] == f"{100 * summary['accuracy']['mean']:.1f} %"
    assert tiles["violations"] == (
        str(models["violations"]),
        f"{models['granted']} of {models['sessions']} sessions granted in full",
    )
    assert tiles["downloaded"][0] == about(downloads["bytes"], "size")


def test_the_verdict_and_each_of_its_reasons_are_there(report: Reader, small: Path) -> None:
    said = report.page.inner_text(".verdict")
    verdict = summary_of(small)["verdict"]
    assert said.startswith(verdict["status"])
    assert all(reason in report.page.locator(".verdict").text_content() for reason in verdict["reasons"])  # type: ignore[operator]


def test_expectations_stand_beside_what_was_measured(report: Reader, small: Path) -> None:
    figures = summary_of(small)["downloads"]
    [row] = report.table("What the scenario expects")
    assert row[:2] == ["downloads.on_time >= 95 %", "holds" if figures["on_time_share"] >= 0.95 else "does not hold"]
    assert row[2].startswith(f"{figures['on_time']} of {figures['requested']}")


def test_the_tables_are_those_of_the_summary(report: Reader, small: Path) -> None:
    summary = summary_of(small)
    sessions = {row[0]: row[3:] for row in report.table("Slices and their sessions")}
    for name, figures in summary["slices"].items():
        named = ("sessions", "granted", "reduced", "refused", "changed", "lost", "violations")
        assert sessions[name] == [str(figures[figure]) for figure in named]
    links = {row[0]: row for row in report.table("Links by peak use")}
    assert links.keys() == summary["links"].keys()
    for name, figures in summary["links"].items():
        assert links[name][3] == about(figures["peak_bps"], "rate")
    tiers = {row[0]: row for row in report.table("Tiers")}
    for tier, figures in summary["libraries"].items():
        assert tiers[tier][3] == str(figures["hits"])
        assert tiers[tier][5] == about(figures["bytes_served"], "size")
        assert tiers[tier][7] == about(figures["bytes_pulled"], "size")


def test_there_is_a_row_for_each_download(report: Reader, small: Path) -> None:
    rows = report.table("All downloads")
    figures = summary_of(small)["downloads"]
    assert len(rows) == figures["requested"]
    assert sum(row[-1] == "on time" for row in rows) == figures["on_time"]
    assert sum(row[-1] == "failed" for row in rows) == figures["failed"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 800), ("dark", 1280)])
def test_it_reads_well_in_both_themes_and_on_a_small_screen(
    chromium: Browser, small: Path, scheme: Any, width: int
) -> None:
    with reading(chromium, run_page.write(small), scheme, width) as reader:
        assert_all_is_drawn(reader)
        texts = reader.contrasts()
        assert len(texts) > 100
        assert [(text, round(contrast, 2)) for text, contrast in texts if contrast < LEAST_CONTRAST] == []
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_is_white_whatever_the_theme_and_nothing_is_cut_off(chromium: Browser, small: Path) -> None:
    with reading(chromium, run_page.write(small), "dark") as reader:
        assert reader.page.pdf(format="A4", print_background=True).startswith(b"%PDF")
        dark = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
        reader.to_paper()
        assert reader.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
        assert reader.complaints == []
        assert all(contrast >= LEAST_CONTRAST for _, contrast in reader.contrasts())
        assert max(figure["svg"] for figure in reader.figures()) <= 702


def test_a_change_of_theme_is_followed(report: Reader) -> None:
    ink = "getComputedStyle(document.querySelector('.xtick text')).fill"
    before = report.page.evaluate(ink)
    report.page.emulate_media(color_scheme="dark")
    report.page.wait_for_timeout(2000)
    after = report.page.evaluate(ink)
    report.page.emulate_media(color_scheme="light")
    assert before != after
    assert report.complaints == []


def test_a_thousand_devices_make_a_page_that_is_small_and_quick_to_draw(chromium: Browser, tmp_path: Path) -> None:
    plan = town_plan(20, 50)
    folder = folder_of(plan, made_up(plan), tmp_path / "run")
    file = run_page.write(folder)
    assert file.stat().st_size < 10_000_000
    assert (folder / "trace.json").stat().st_size < 10_000_000
    with reading(chromium, file) as reader:
        assert_all_is_drawn(reader)
        # Elements are what takes a browser its time: 30,000 are drawn in about a second
        assert reader.page.evaluate("document.querySelectorAll('*').length") < 30_000
        figures = summary_of(folder)["downloads"]
        assert reader.tiles()["downloads on time"][0] == f"{figures['on_time']:,} of {figures['requested']:,}"
        told = " ".join(figure["caption"] for figure in reader.figures())
        assert f"All {figures['requested']:,} downloads" in told
