"""What a run's report makes of the records: the rows of downloads, and the numbers that its pictures draw."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from made_runs import MS, SECOND, folder_of, made_up, town_plan
from markupsafe import Markup
from msgspec.structs import replace

from insitu.cli import main
from insitu.report import latency, page, reading, run_page, use
from insitu.report.downloads import downloads
from insitu.report.reading import Run
from scenarios import records as r

PLAN = town_plan(4, 2)
DEVICE = PLAN.devices[0].host
EDGE = "n0-edge"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return reading.read(folder_of(PLAN, made_up(PLAN), tmp_path_factory.mktemp("run") / "run"))


def run_of(folder: Path, *events: r.AnyEvent) -> Run:
    return reading.read(folder_of(PLAN, [r.Started(0, "machine"), *events], folder / "run"))


def figures_of(html: Markup) -> list[dict[str, Any]]:
    """What plotly.js is given to draw."""
    return [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', html, re.S)]


def test_a_download_is_a_row_with_the_time_of_each_step_since_it_was_asked_for(tmp_path: Path) -> None:
    at = 5 * SECOND
    run = run_of(
        tmp_path,
        r.Requested(at, DEVICE, "d1", "digits@rain", EDGE, 400 * MS),
        r.SessionAsked(at + 1 * MS, "nef", "s1", "models", DEVICE, EDGE, "p", "d1", 8_000, 8_000, SECOND),
        r.Session(at + 2 * MS, "nef", "s1", "models", DEVICE, 8_000, 4_000, "reduced"),
        r.Chosen(at + 3 * MS, EDGE, "d1", "d2w1b4", 1000, "s1", "it fits"),
        r.FirstByte(at + 4 * MS, DEVICE, "d1"),
        r.Runnable(at + 5 * MS, DEVICE, "d1", "digits@rain", "d1w1b1", 10, 5 * MS, True),
        r.Runnable(at + 6 * MS, DEVICE, "d1", "digits@rain", "d1w1b2", 20, 6 * MS, True),
        r.Completed(at + 7 * MS, DEVICE, "d1", "digits@rain", "d2w1b4", 30, 7 * MS, True),
        r.Swapped(at + 8 * MS, DEVICE, "d1", "digits@rain", "d2w1b4", 0.1, 0.9),
    )
    [row] = downloads(run).iter_rows(named=True)
    assert [row[name] for name in ("granted", "first_byte", "runnable", "done", "swapped")] == [
        n * MS for n in (2, 4, 5, 7, 8)
    ]
    assert (row["asked"], row["device"], row["decision"], row["granted_bps"]) == (at, DEVICE, "reduced", 4_000)
    assert (row["outcome"], row["variant"], row["bytes"], row["reason"]) == ("on time", "d2w1b4", 30, "it fits")


def test_what_became_of_a_download_is_told_apart(tmp_path: Path) -> None:
    run = run_of(
        tmp_path,
        *(r.Requested(n, DEVICE, f"d{n}", "digits", EDGE, MS) for n in range(4)),
        r.Completed(2 * MS, DEVICE, "d0", "digits", "d1w1b1", 10, MS, True),
        r.Completed(3 * MS, DEVICE, "d1", "digits", "d1w1b1", 10, 3 * MS, False),
        r.Failed(4 * MS, DEVICE, "d2", "digits", "no tier has it"),
    )
    assert downloads(run)["outcome"].to_list() == ["on time", "late", "failed", "unfinished"]
    assert downloads(run)["reason"][2] == "no tier has it"


def test_the_distribution_counts_what_never_came_as_never(run: Run) -> None:
    rows = downloads(run)
    *_, distribution = figures_of(latency.downloads_section(run, rows))
    loaded = next(trace for trace in distribution["data"] if trace["name"] == "all is loaded")
    assert loaded["y"] == sorted(loaded["y"])
    assert loaded["x"] == sorted(loaded["x"])
    assert loaded["y"][-1] == pytest.approx(100 * rows["done"].count() / rows.height, abs=0.01)


def test_of_many_downloads_none_is_left_out(tmp_path: Path) -> None:
    plan = town_plan(8, 250)
    run = reading.read(folder_of(plan, [e for e in made_up(plan) if not isinstance(e, r.Inference)], tmp_path / "run"))
    rows = downloads(run)
    over_time, timeline, _ = figures_of(latency.downloads_section(run, rows))
    counted = [
        int(name.replace(",", "")) for text in _texts(over_time) for name in re.findall(r"<b>([\d,]+) downloads", text)
    ]
    assert sum(counted) == rows.height == 4000
    ranks = timeline["layout"]["yaxis"]["ticktext"]
    assert ranks[0].startswith("1–")
    bars = [text for trace in timeline["data"] if trace["type"] == "bar" for text in trace["text"]]
    assert len({text.partition(" of ")[0] for text in bars}) == 80


def test_a_slice_is_drawn_with_as_many_bytes_as_it_carried(run: Run) -> None:
    picture = figures_of(use.use_section(run))[1]
    name = re.search(r"<figcaption>(\S+) → (\S+),", str(use.use_section(run)).split('class="grid"')[1])
    assert name is not None
    sender = next(end.node for link in PLAN.links if link.name == name[1] for end in link.ends if end.node != name[2])
    compared = 0
    for trace in picture["data"]:
        carried = run.of("sliceuse").filter(
            (pl.col("link") == name[1]) & (pl.col("node") == sender) & (pl.col("slice") == trace["name"])
        )
        if carried.height:
            width_s = trace["x"][1] - trace["x"][0]
            scale = {"Gbit/s": 1e9, "Mbit/s": 1e6, "kbit/s": 1e3}[picture["layout"]["yaxis"]["title"]["text"]]
            assert sum(trace["y"]) * scale * width_s / 8 == pytest.approx(carried["bytes"].sum(), rel=1e-3)
            compared += 1
    assert compared == 3


@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(1, 2000))
def test_bins_are_whole_samples_and_not_more_than_asked_for(samples: int, interval_ms: int, most: int) -> None:
    plan = replace(PLAN, duration_ns=samples * interval_ms * MS, sample_interval_ns=interval_ms * MS)
    width = reading.bin_ns(Run(Path(), plan, pl.DataFrame(), {}, None), most)  # type: ignore[arg-type]
    assert width % plan.sample_interval_ns == 0
    assert -(-plan.duration_ns // width) <= max(most, 1)


def test_a_run_in_which_nothing_happened_has_a_page_too(tmp_path: Path) -> None:
    html = run_page.run_page(run_of(tmp_path))
    for said in (
        "No device asked for a model.",
        "No device made an inference.",
        "No link carried anything.",
        "INVALID",
    ):
        assert said in html


def test_what_a_name_holds_is_text() -> None:
    made = page.table(["<i>"], [("<script>alert(1)</script>",)], "a & b")
    assert "<script>" not in made
    assert "&lt;script&gt;" in made
    assert "</script><b>" not in page.figure([{"name": "</script><b>"}], {}, "it")


def test_numbers_stand_as_numbers_and_what_is_missing_as_a_dash() -> None:
    made = page.table(["what", "much"], [("a", 1234567), ("b", 0.123456), ("c", None), ("d", float("nan"))], "them")
    assert ">1,234,567<" in made
    assert ">0.1235<" in made
    assert made.count("–") == 2


def insitu_report(folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["report", str(folder)])
    return result.exit_code, result.output


def test_the_command_writes_both_files_and_says_where(tmp_path: Path) -> None:
    folder = folder_of(PLAN, made_up(PLAN), tmp_path / "run")
    before = {path.name for path in folder.iterdir()}
    assert insitu_report(folder) == (0, f"{folder}/report.html\n")
    assert {path.name for path in folder.iterdir()} - before == {"report.html", "trace.json"}


@pytest.mark.parametrize("gone", ["plan.json", "events.parquet", "summary.json", "provenance.json"])
def test_half_a_folder_is_refused_in_a_line_and_nothing_is_written(tmp_path: Path, gone: str) -> None:
    folder = folder_of(PLAN, [r.Started(0, "machine")], tmp_path / "run")
    (folder / gone).unlink()
    assert insitu_report(folder) == (2, f"{folder}: no {gone}: this is no run's folder\n")
    (folder / gone).write_bytes(b"{}")
    code, said = insitu_report(folder)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"{folder / gone}: ")
    assert not (folder / "report.html").exists()


def test_a_run_that_has_failed_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "FAILED").write_text("the guest's program ended with status 1\n")
    assert insitu_report(tmp_path) == (2, f"{tmp_path}: no plan.json: the run failed; see FAILED there\n")


def _texts(figure: dict[str, Any]) -> list[str]:
    return [text for trace in figure["data"] for text in trace.get("text", ())]
