"""Folders of processes that were killed are found and removed, and nothing else."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from insitu import remains
from tests.conftest import PROJECT

OWNER = """
import sys, time
from pathlib import Path
from insitu.remains import temporary_folder
with temporary_folder(Path(sys.argv[1]), ".made.") as folder:
    (folder / "file").write_text("x")
    if sys.argv[2:]:
        folder.rename(sys.argv[2])
    print("made", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def owner(runs: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = started(runs)
    yield process
    process.kill()
    process.wait()


def started(runs: Path, *renamed: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", OWNER, str(runs), *map(str, renamed)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"made\n"
    return process


def test_a_folder_goes_with_its_block(runs: Path) -> None:
    with pytest.raises(KeyError), remains.temporary_folder(runs, ".made.") as folder:
        assert folder.is_dir() and folder.parent == runs and folder.name.startswith(".made.")
        raise KeyError
    assert list(runs.iterdir()) == []
    assert list(remains.clean()) == []


def test_what_a_killed_process_left_is_removed_and_told(runs: Path, owner: subprocess.Popen[bytes]) -> None:
    (folder,) = runs.iterdir()
    beside = runs / ".made.by-the-user"
    beside.mkdir()
    assert list(remains.clean()) == []  # it lives
    assert folder.exists()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert list(remains.clean()) == [f"removed {folder}"]
    assert list(runs.iterdir()) == [beside]
    assert list(remains.clean()) == []


def test_a_finished_run_is_kept_when_its_process_is_killed_right_then(runs: Path) -> None:
    process = started(runs, runs / "finished")
    process.kill()
    process.wait()
    assert list(remains.clean()) == []
    assert (runs / "finished" / "file").exists()


def test_a_folder_whose_machine_still_runs_is_left(runs: Path, owner: subprocess.Popen[bytes]) -> None:
    owner.kill()
    owner.wait()
    (folder,) = runs.iterdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert list(remains.clean()) == [f"left {folder}: its machine is still running"]
    os.close(descriptor)
    assert list(remains.clean()) == [f"removed {folder}"]
