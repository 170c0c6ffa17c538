"""`insitu run` as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from edge_nodes.publication import shipping
from insitu import experiment
from insitu.cache import cache_dir
from insitu.summary import summarise
from insitu.vm.kernel import Kernel
from tests.conftest import PROJECT

INSITU = [str(Path(sys.executable).with_name("insitu"))]
HELLO = PROJECT / "scenarios" / "hello.yaml"
CAMPUS = PROJECT / "scenarios" / "campus.yaml"


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before any test looks at a clock."""


def insitu(
    *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = INSITU + [str(argument) for argument in arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}), cwd=cwd, check=False)


def run(out: Path, *arguments: object, scenario: Path = HELLO, **options: Any) -> dict[str, Any]:
    """A run that has to go well; its summary."""
    done = insitu("run", scenario, "--out", out, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hello") / "run"
    run(out, "--seed", 7)
    return out


@pytest.fixture(scope="module")
def campus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("campus") / "run"
    run(out, "--seed", 7, scenario=CAMPUS)
    return out


@pytest.fixture(scope="module")
def campus(campus_folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((campus_folder / "summary.json").read_text())
    return summary


def test_the_folder_holds_all_that_a_run_leaves(hello: Path) -> None:
    names = {path.name for path in hello.iterdir()}
    assert {"scenario.yaml", "plan.json", "events.parquet", "summary.json", "provenance.json", "logs"} <= names
    assert {"report.html", "trace.json"} <= names
    assert not names & {"FAILED", "failure", "progress", "events"}
    assert pl.read_parquet(hello / "events.parquet").filter(pl.col("kind") == "swapped").height == 2


def test_the_summary_can_be_computed_again_from_the_records(hello: Path) -> None:
    summary = json.loads((hello / "summary.json").read_text())
    assert summarise(*experiment.read_run(hello), None, summary["time_s"]["wall"]) == summary


def test_what_slices_carry_sample_by_sample_adds_up_to_what_the_kernel_counted(campus_folder: Path) -> None:
    events = pl.read_parquet(campus_folder / "events.parquet")

    def bytes_of(kind: str) -> dict[tuple[str, ...], int]:
        carried = events.filter((pl.col("kind") == kind) & (pl.col("bytes") > 0))
        sums = carried.group_by("link", "node", "slice").agg(pl.col("bytes").sum())
        return {(link, node, name): size for link, node, name, size in sums.iter_rows()}

    totals, samples = bytes_of("linktotal"), bytes_of("sliceuse")
    assert len(samples) > 20
    for key, size in samples.items():
        assert 0 <= totals[key] - size < 5000, key  # what was sent before the first sample or after the last


def test_nothing_of_this_machine_is_in_the_records(hello: Path) -> None:
    records = str(pl.read_parquet(hello / "events.parquet").select(pl.col(pl.String)).rows())
    for trace in (str(PROJECT), str(Path.home()), os.uname().nodename):
        assert trace not in records


def test_the_same_seed_gives_the_same_digest_on_a_busy_machine_elsewhere(hello: Path, tmp_path: Path) -> None:
    """Another checkout, another home, another place for temporary files, both cores busy."""
    checkout = tmp_path / "a folder" / "elsewhere"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(PROJECT, checkout, ignore=ignored)
    home = tmp_path / "home" / "somebody-else"
    home.mkdir(parents=True)
    env = {"HOME": str(home), "INSITU_CACHE": str(cache_dir()), "TMPDIR": str(home), "LANG": "de_DE.UTF-8"}
    env |= {"PYTHONPATH": str(checkout)}
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        command = [sys.executable, "-m", "insitu.cli", "run", "scenarios/hello.yaml", "--seed", "7", "--json"]
        done = subprocess.run(command, cwd=checkout, env=os.environ | env, capture_output=True, text=True, check=True)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert json.loads(done.stdout)["digest"] == json.loads((hello / "summary.json").read_text())["digest"]
    assert (checkout / "runs" / "hello-7" / "summary.json").exists()


def test_another_seed_gives_another_digest(hello: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "run", "--seed", 8)
    assert other["digest"] != json.loads((hello / "summary.json").read_text())["digest"]


def test_a_real_clock_run_goes_too(tmp_path: Path) -> None:
    done = insitu("run", HELLO, "--clock", "real", "--out", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["downloads"]["completed"] == 2


def test_campus_keeps_what_it_promises(campus: dict[str, Any]) -> None:
    downloads, accuracy = campus["downloads"], campus["accuracy"]
    assert campus["verdict"] == {"status": "VALID", "reasons": []}
    assert downloads["requested"] == downloads["completed"] >= 24
    assert downloads["on_time"] >= 0.95 * downloads["requested"]
    assert accuracy["after"] >= accuracy["before"] + 0.10


def without_guarantees(campus: str) -> str:
    """Neither the models' slice nor sessions."""
    for piece in ("  - {name: models, guarantee: 40 %}\n", ", slice: models", "  - slices.models.violations == 0\n"):
        campus = campus.replace(piece, "")
    return campus.replace("slicing: deadline", "slicing: none")


def share(downloads: dict[str, Any]) -> float:
    """Of the downloads that were on time."""
    return float(downloads["on_time"] / downloads["requested"])


def test_campus_without_guarantees_is_slower_and_has_downloads_cut(campus: dict[str, Any], tmp_path: Path) -> None:
    scenario = tmp_path / "without.yaml"
    scenario.write_text(without_guarantees(CAMPUS.read_text()))
    done = insitu("run", scenario, "--seed", 7, "--out", tmp_path / "run", "--json")
    without = json.loads(done.stdout)
    assert done.returncode == 1, "campus expects most downloads on time"
    one, other = campus["downloads"], without["downloads"]
    assert other["latency_ms"]["p95"] >= 3 * one["latency_ms"]["p95"]
    assert other["cut"] > one["cut"]
    assert share(other) <= share(one) - 0.09


def test_an_expectation_that_does_not_hold_gives_exit_code_1(tmp_path: Path) -> None:
    scenario = tmp_path / "demanding.yaml"
    scenario.write_text(HELLO.read_text() + "expect: [downloads.latency_ms.max <= 1 ms]\n")
    done = insitu("run", scenario, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "does not hold" in done.stdout


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = insitu("run", HELLO, "--out", tmp_path)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_wrong_scenario_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = insitu("run", PROJECT / "tests" / "broken" / "duration-of-zero.yaml", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [*INSITU, "run", str(CAMPUS), "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert process.stderr is not None
    while b"starting libraries" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    began = time.monotonic()
    process.wait(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert guests_in(tmp_path) == []


def guests_in(folder: Path) -> list[str]:
    """Processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append(process.name)
        except OSError:
            continue  # it has ended, or is another user's
    return found


def broken_library(library: Path, cache: Path) -> Path:
    """A cache of its own with the same kernel and a copy of the library that may be broken."""
    for entry in cache_dir().iterdir():
        if entry.name.startswith("kernel"):
            (cache / entry.name).symlink_to(entry)
    copy = cache / f"library-{shipping.key()}"
    shutil.copytree(library, copy)
    return copy


def test_a_broken_block_is_never_loaded_and_is_on_record(library: Path, tmp_path: Path) -> None:
    """Every block of the night model that clear weather does not share is broken at the central library."""
    cache = tmp_path / "cache"
    cache.mkdir()
    blocks = broken_library(library, cache) / "blocks"
    manifests = {
        name: json.loads((library / "manifests" / f"{name}.json").read_text()) for name in ("digits", "digits@night")
    }
    clear, night = ({block["digest"] for block in manifest["blocks"]} for manifest in manifests.values())
    for digest in night - clear:
        (blocks / digest.removeprefix("sha256:")).write_bytes(b"not what the name promises")
    done = insitu("run", HELLO, "--out", tmp_path / "run", "--json", env={"INSITU_CACHE": str(cache)})
    summary = json.loads(done.stdout)
    assert summary["downloads"]["completed"] == 0
    assert summary["downloads"]["failed"] == summary["downloads"]["requested"] > 0
    table = pl.read_parquet(tmp_path / "run" / "events.parquet")
    rejected = table.filter(pl.col("kind") == "blockrejected")
    assert {"central", "region-local"} <= set(rejected["source"])
    assert table.filter(pl.col("kind") == "swapped").is_empty()


def test_a_process_that_dies_makes_the_run_invalid(tmp_path: Path, library: Path) -> None:
    """The devices' process cannot load its images."""
    cache = tmp_path / "cache"
    cache.mkdir()
    copy = broken_library(library, cache)
    (copy / "held_out.safetensors").write_bytes(b"")
    done = insitu("run", HELLO, "--out", tmp_path / "run", env={"INSITU_CACHE": str(cache)})
    assert done.returncode == 3
    assert "devices" in done.stderr
    assert (tmp_path / "run" / "FAILED").exists()
    assert (tmp_path / "run" / "logs" / "devices.log").read_text()
