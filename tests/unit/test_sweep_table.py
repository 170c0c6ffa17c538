"""A sweep's table and report: what is in them, whatever the order in which runs ended and how long they took."""

import io
import json
import random
import re
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from insitu.report import sweep_page
from insitu.study.cases import Outcome
from insitu.study.sweep import Sweep, as_json, cases, collect, parameters, table

POINTS = [
    {"devices.phone.count": str(count), "policies.slicing": policy} for count in (5, 20) for policy in ("none", "joint")
]
SEEDS = 3


def summary(share: float, wall_s: float) -> dict[str, Any]:
    return {
        "verdict": {"status": "VALID", "reasons": []},
        "digest": f"sha256:{share}",
        "time_s": {"virtual": 60.0, "wall": wall_s},
        "downloads": {"requested": 10, "on_time_share": share, "latency_ms": {"p95": 100 * share}},
        "accuracy": {"mean": None},
        "slices": {"models": {"sessions": 10, "violations": 2}},
        "links": {},
    }


def swept(order: int = 0, failed: int = -1, invalid: int = -1) -> Sweep:
    wanted = cases(Path("a.yaml"), ["duration=1 s"], POINTS, SEEDS)
    rng, outcomes = random.Random(order), []
    for number, case in enumerate(wanted):
        found = summary((number + 1) / 16, rng.random())
        if number == invalid:
            found["verdict"] = {"status": "INVALID", "reasons": ["it rained", "<b>"]}
        kept = (None, "the disk is full") if number == failed else (found, None)
        outcomes.append(Outcome(case, f"key{number}", Path(f"runs/key{number}"), *kept))
    rng.shuffle(outcomes)
    return collect("mine", POINTS, SEEDS, wanted, outcomes)


def packed(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


@given(st.integers(1, 1000))
def test_neither_the_order_of_arrival_nor_wall_time_shows_in_the_table(order: int) -> None:
    assert packed(table(swept(order, failed=4))) == packed(table(swept(0, failed=4)))


def test_a_row_a_run_with_all_parameters_and_figures() -> None:
    found = table(swept())
    assert found.height == 12
    assert found["point"].to_list() == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert found["seed"].to_list() == [0, 1, 2] * 4
    assert found["devices.phone.count"].to_list() == [5] * 6 + [20] * 6
    assert found["policies.slicing"].to_list() == (["none"] * 3 + ["joint"] * 3) * 2
    assert found["downloads.on_time_share"].to_list() == [number / 16 for number in range(1, 13)]
    assert found["accuracy.mean"].null_count() == 12
    assert "time_s.wall" not in found.columns and "slices.models.violations" in found.columns


def test_a_run_without_figures_has_its_row_and_says_why() -> None:
    found = table(swept(failed=4, invalid=5))
    assert found.select("status", "reasons").rows()[4:6] == [
        ("FAILED", "the disk is full"),
        ("INVALID", "it rained; <b>"),
    ]
    assert found["downloads.on_time_share"][4] is None and found["digest"][4] is None
    assert found["downloads.on_time_share"][5] == 6 / 16
    assert as_json(swept(failed=4, invalid=5), Path("out"))["statuses"] == {"VALID": 10, "FAILED": 1, "INVALID": 1}


def test_parameters_are_numbers_where_all_values_are() -> None:
    points = [
        {"a": "50 ms", "b": "1", "c": "1.5", "d": "5 ms", "e": "10 Mbit/s"},
        {"a": "1 s", "b": "x", "c": "2", "d": "5 MB"},
    ]
    found = {one.column: one.values for one in parameters(points)}
    assert found == {
        "a (ms)": [50.0, 1000.0],
        "b": ["1", "x"],
        "c": [1.5, 2.0],
        "d": ["5 ms", "5 MB"],
        "e (Mbit/s)": [10.0, None],
    }


def test_the_report_has_each_figures_mean_of_the_usable_runs_at_each_point() -> None:
    text = sweep_page.render(swept(failed=4, invalid=5))
    figures = [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', text)]
    shares = [one for one in figures if one["layout"]["yaxis"]["title"]["text"].startswith("downloads.on_time_share")]
    assert len(shares) == 2, "against each of two parameters"
    none, joint = shares[0]["data"]
    assert (none["x"], joint["x"]) == ([5, 20], [5, 20])
    assert none["y"] == [100 * 2 / 16, 100 * 8 / 16]
    assert joint["y"] == [100 * 4 / 16, 100 * 11 / 16], "of point 2 one usable run is left"
    assert none["error_y"]["array"][0] > 0 and joint["error_y"]["array"][0] == 0
    assert "2 of 12 runs are not in the figures" in text and "it rained; &lt;b&gt;" in text
