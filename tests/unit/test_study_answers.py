"""The studies that ship, without their runs: which runs they want, and what they say of figures that are given."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu import experiment
from insitu.study.cases import Case
from scenarios.load import load
from scenarios.schema import Scenario
from studies import drawing, study
from studies.caching import study as caching
from studies.connectivity import study as connectivity
from studies.slicing import study as slicing

STUDIES = (connectivity.STUDY, slicing.STUDY, caching.STUDY)
RATES = st.lists(st.integers(1, 10**5), min_size=2, max_size=6, unique=True)


def loaded(case: Case) -> Scenario:
    return load(case.file, case.settings, experiment.shipped())


@pytest.mark.parametrize("one", STUDIES, ids=lambda one: one.name)
def test_the_first_and_the_last_point_are_scenarios(one: study.Study) -> None:
    for point in (one.points[0], one.points[-1]):
        for case in one.cases([point], 1):
            assert loaded(case).name == one.name


# Connectivity


@given(RATES, st.floats(0, 0.5), st.floats(1, 1e4), st.floats(0.01, 0.99))
def test_the_needed_rate_is_exact_where_latency_is_linear_in_the_time_of_a_bit(
    rates: list[int], fixed: float, bits: float, share: float
) -> None:
    latencies = [fixed + bits / rate for rate in rates]
    deadline = min(latencies) + share * (max(latencies) - min(latencies))
    found = connectivity.needed_mbps(rates, latencies, deadline)
    assert found is not None
    assert fixed + bits / found == pytest.approx(deadline)


def test_a_rate_that_was_not_measured_is_not_made_up() -> None:
    assert connectivity.needed_mbps([10, 20], [2.0, 1.0], 0.9) is None
    assert connectivity.needed_mbps([10, 20], [2.0, 1.0], 2.1) is None


def test_no_run_has_a_radio_beyond_the_links_behind_it_or_sends_too_much() -> None:
    for point in connectivity.points():
        megabytes = float(point[connectivity.SIZE].removesuffix(" MB")) * int(point[connectivity.DEVICES])
        assert megabytes <= connectivity.MOST_MB
        assert int(point[connectivity.RATE].removesuffix(" kbit/s")) <= 30_000_000


def runs_of_connectivity(latency_s: float = 1.0) -> pl.DataFrame:
    """One and four devices of 64 MB; four take as long as one at four times the rate."""
    rows = [(64.0, n, n * kbps, 1e3 * s) for n in (1, 4) for kbps, s in ((300_000.0, 2.0), (600_000.0, latency_s))]
    names = [
        f"{connectivity.SIZE} (MB)",
        connectivity.DEVICES,
        f"{connectivity.RATE} (kbit/s)",
        "downloads.latency_ms.max",
    ]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_the_answer_says_what_more_than_the_bare_size_is_needed_and_which_rows_are_short() -> None:
    answer = connectivity.answer(runs_of_connectivity(), Path())
    assert "1.17 to 1.17 times that within 1 s" in answer.sentences[0]  # 600 Mbit/s; 8 · 64 MB / 1 s are 512
    assert answer.sentences[1].startswith("4 that ask at the same moment need 4.00 to 4.00 times the rate of one")
    assert answer.sentences[2].endswith("1 of 1 need more than it gives, in Mbit/s: 3 (600 instead of 512).")
    assert answer.rows == [["64 MB", "1", "–", "600", "–"], ["64 MB", "4", "–", "2400", "–"]]


# Slicing


def runs_of_slicing(of: dict[str, Sequence[float]]) -> pl.DataFrame:
    """One load: the accuracy on time of each seed by policy."""
    rows = [(16, policy, seed, value, value) for policy, values in of.items() for seed, value in enumerate(values)]
    names = [slicing.PHONES, slicing.SLICING, "seed", slicing.ACCURACY, slicing.COMPLETE]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_a_policy_that_is_ahead_on_all_seeds_is_named_with_its_interval() -> None:
    runs = runs_of_slicing({"none": [0.1, 0.2, 0.1], "joint": [0.6, 0.7, 0.65], "fair": [0.5, 0.61, 0.54]})
    first, *_ = slicing.answer(runs, Path()).sentences
    assert "with 16 phones `joint` (65.0 %) is ahead of `fair`, the next, by 10.0 points [7.5, 12.5]" in first


def test_what_chance_may_have_done_is_no_difference() -> None:
    runs = runs_of_slicing({"joint": [0.6, 0.7, 0.5], "fair": [0.7, 0.5, 0.55]})
    first, *_ = slicing.answer(runs, Path()).sentences
    assert "no difference is shown between `joint` (60.0 %) and `fair`" in first


# Caching


@given(st.integers(0, 1000), st.floats(0, 2), st.floats(0, 2))
def test_of_one_seed_more_skew_never_asks_for_a_less_popular_model(seed: int, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert (caching.demand(more, seed) <= caching.demand(less, seed)).all()


@pytest.mark.parametrize("skew", [0.0, 0.4, 1.2])
def test_the_demand_has_the_shares_of_zipf(skew: float) -> None:
    counts = np.bincount(caching.demand(skew, 1, 20_000).ravel(), minlength=caching.MODELS + 1)[1:]
    shares = np.arange(1.0, caching.MODELS + 1) ** -skew
    assert counts / counts.sum() == pytest.approx(shares / shares.sum(), abs=0.005)


@pytest.mark.parametrize("skew", ["0", "1.2"])
def test_every_ask_of_the_demand_is_one_of_a_device(skew: str) -> None:
    point = {caching.SKEW: skew, caching.STORAGE: "6", caching.PLACE: "edge"}
    [case] = caching.cases([point], 1)
    plan = experiment.plan_alone(loaded(case))
    needs = [(n.time_ns, d.host[-1], int(n.model[1:])) for d in plan.devices for n in d.needs]
    wanted = caching.demand(float(skew), 0)
    assert len(needs) == wanted.size
    for cell, name in enumerate(caching.CELLS):
        assert [model for _, where, model in sorted(needs) if where == name] == list(wanted[:, cell])


@pytest.mark.parametrize("storage", caching.STORAGES)
def test_every_place_has_the_same_storage(storage: int) -> None:
    def models(setting: str) -> int:
        return (int(setting.partition("=")[2].removesuffix(" kB")) - caching.MARGIN_KB) // caching.MODEL_KB

    for place in ("edge", "local", "both"):
        at_edge, at_local = map(models, caching.caches(place, storage))
        assert len(caching.CELLS) * at_edge + at_local == storage
    assert list(map(models, caching.caches("central", 0))) == [0, 0]


def runs_of_caching() -> pl.DataFrame:
    rows = [
        (1 + n, seed, 0.4, storage, place, 100.0, 1.0)
        for n, (storage, place) in enumerate([(0, "central"), (6, "edge"), (6, "local"), (6, "both")])
        for seed in range(2)
    ]
    names = ["point", "seed", caching.SKEW, caching.STORAGE, caching.PLACE, "downloads.bytes", "run"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_the_best_place_is_named_and_a_tie_is_one() -> None:
    table = runs_of_caching()
    took = pl.Series("latency", [160.0, 162.0, 120.0, 122.0, 100.0, 103.0, 101.0, 102.0])
    latencies = caching.measured(table.with_columns(took), "latency")
    [line, *_] = caching.sentences(latencies, caching.measured(table.with_columns(took.alias("central")), "central"))
    assert "Skew 0.4: without caches a download takes 161 ms" in line
    assert "with 6 models stored `local` takes 102 ms, and no difference is shown to `both`, 0.0 ms [" in line


# What is published


def test_a_readme_keeps_what_people_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "write", lambda figure, file, width, height: file.write_text("<svg/>"))
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / study.README).write_text(f"Before.\n{study.BEGIN}old\n{study.END}After.\n")
    made = connectivity.STUDY._replace(folder=folder)
    study.publish(made, connectivity.answer(runs_of_connectivity(), Path()), folder)
    text = (folder / study.README).read_text()
    assert text.startswith(f"Before.\n{study.BEGIN}") and text.endswith(f"{study.END}After.\n")
    assert "old" not in text and "| 64 MB | 1 | – | 600 | – |" in text


@pytest.mark.parametrize("one", STUDIES, ids=lambda one: one.name)
def test_what_ships_has_its_answer_and_its_figure(one: study.Study) -> None:
    text = (one.folder / study.README).read_text()
    measured = text.partition(study.BEGIN)[2].partition(study.END)[0]
    assert f"]({study.FIGURE})" in measured and f"{len(one.points) * one.seeds} runs" in measured
    assert (one.folder / study.FIGURE).read_text().startswith("<svg")
