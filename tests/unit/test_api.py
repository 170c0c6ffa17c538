"""insitu from Python: light to import, the command's words, figures and frames of a run's folder."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import planned
from hypothesis import given
from hypothesis import strategies as st
from runs_on_disk import made_run

import insitu
from insitu import api, experiment, provenance, table
from insitu.provenance import Source
from insitu.summary import summarise
from scenarios import records as r
from scenarios.load import load
from tests.conftest import PROJECT

PLAN = planned()
EVENTS = [
    r.Started(0, "machine"),
    r.Requested(5, "phone", "phone-0", "digits", "square-edge", 10**9),
    r.Completed(9, "phone", "phone-0", "digits", "d1w1b1", 1000, 10**7, True, 0.9),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    summary = summarise(PLAN, EVENTS, None, 1.0)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    source = Source("made.yaml", "", [], ["downloads.on_time == 100 %", "downloads.latency_ms.max < 10 ms"])
    provenance.write(provenance.of(PLAN, source, {}, "vm", []), tmp_path)
    table.write(EVENTS, tmp_path / "events.parquet")
    return tmp_path


def test_importing_insitu_imports_nothing_else() -> None:
    """Every process of the guest imports the package."""
    script = "import sys; before = set(sys.modules); import insitu; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["insitu"]


def test_it_has_what_it_says_and_nothing_else() -> None:
    assert (insitu.run, insitu.load, insitu.Run) == (api.run, api.load, api.Run)
    with pytest.raises(AttributeError, match="module 'insitu' has no attribute 'rum'"):
        insitu.rum  # noqa: B018


def test_a_run_that_is_there_has_its_figures_and_expectations(folder: Path) -> None:
    run = insitu.load(folder)
    assert run.figures["downloads.accuracy_on_time"] == 0.9
    assert run.figures["accuracy.after"] is None
    assert [(one.text, one.holds, one.said) for one in run.expectations] == [
        ("downloads.on_time == 100 %", True, "1 of 1, 100 %"),
        ("downloads.latency_ms.max < 10 ms", False, "10 ms"),
    ]
    assert run.verdict == run.summary["verdict"]["status"]


def test_events_are_frames_by_kind(folder: Path) -> None:
    events = insitu.load(folder).events
    assert events["completed"].rows(named=True) == [
        {
            "t": 9,
            "node": "phone",
            "download": "phone-0",
            "model": "digits",
            "variant": "d1w1b1",
            "bytes": 1000,
            "latency_ns": 10**7,
            "on_time": True,
            "accuracy": 0.9,
        }
    ]
    assert events["cut"].height == 0
    assert "kept" in events["cut"].columns
    assert sum(frame.height for frame in events.values()) == len(EVENTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", None, "no summary.json: this is no run's folder"),
        ("provenance.json", None, "no provenance.json: this is no run's folder"),
        ("provenance.json", "{}", "this is no whole run: "),
        ("summary.json", "{", "this is no whole run: "),
    ],
)
def test_a_folder_that_is_no_runs_is_said_in_a_line(folder: Path, name: str, content: str | None, message: str) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(insitu.InsituError) as caught:
        insitu.load(folder)
    assert str(caught.value).startswith(f"{folder}: {message}")
    assert "\n" not in str(caught.value)
    assert caught.value.code == 2


def test_a_table_that_cannot_be_read_is_said(folder: Path) -> None:
    (folder / "events.parquet").write_bytes(b"no")
    with pytest.raises(insitu.InsituError, match="events.parquet: "):
        insitu.load(folder).events  # noqa: B018


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"file": "nowhere.yaml"}, "nowhere.yaml: cannot be read: No such file or directory"),
        ({"set": {"policies": {"slicing": "jiont"}}}, "--set policies.slicing=jiont: policies.slicing: no slicing"),
        ({"clock": "virtual", "on": "host"}, "the host's clock is real"),
        ({"out": "."}, "exists already"),
    ],
)
def test_what_is_asked_wrongly_is_said_as_the_command_says_it(asked: dict[str, Any], message: str) -> None:
    file = experiment.program.PROJECT / "scenarios" / "hello.yaml"
    with pytest.raises(insitu.InsituError, match=message) as caught:
        insitu.run(**{"file": file, **asked})
    assert caught.value.code == 2


def test_nested_values_are_settings() -> None:
    values = {"policies": {"slicing": "joint"}, "devices.phone.count": 4, "network": {"links": []}, "capture": ["a"]}
    assert api.settings(values) == [
        "policies.slicing=joint", "devices.phone.count=4", "network.links=[]", 'capture=["a"]',
    ]  # fmt: skip


@given(
    st.integers(1, 999),
    st.sampled_from(["none", "joint"]),
    st.lists(st.sampled_from(["square-radio", "phone"]), unique=True),
)
def test_settings_reach_the_scenario(tmp_path_factory: Any, count: int, slicing: str, capture: list[str]) -> None:
    file = tmp_path_factory.mktemp("set") / "made.yaml"
    file.write_text(
        "name: made\nnetwork: {gnbs: [{name: square}]}\ndevices: [{name: phone, at: square}, {name: many, at: square}]"
    )
    values = {"devices": {"many": {"count": count}}, "policies": {"slicing": slicing}, "capture": capture}
    scenario = load(file, api.settings(values))
    assert (scenario.devices[1].count, scenario.policies.slicing, scenario.capture) == (count, slicing, capture)
    assert scenario.settings == tuple(api.settings(values))


def test_sets_of_runs_are_compared_as_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for side, late in (("a", 5), ("b", 3)):
        for seed in range(8):
            made_run(Path(side) / str(seed), seed, {"downloads.late": late + seed % 2})
    compared = insitu.compare("a", "b")
    assert compared.sentences == ["`b` is better than `a`: 2 fewer late downloads, 8 seeds"]
    assert (compared.folder / "report.html").exists()
    with pytest.raises(insitu.InsituError, match="no such figure; write downloads.late") as raised:
        insitu.compare("a", "b", figures=["downloads.lat"])
    assert raised.value.code == 2


def test_a_sweep_s_points_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(insitu.InsituError, match="unknown") as raised:
        insitu.sweep(PROJECT / "scenarios" / "hello.yaml", grid={"requests.deadline": ["1 s", "2 fortnights"]})
    assert raised.value.code == 2
    with pytest.raises(insitu.InsituError, match="policies.slicing"):
        insitu.sweep("hello.yaml", grid={"policies.slicing": ["joint"]}, points=[{"policies.slicing": "none"}])
    assert not list(tmp_path.iterdir())
