"""The cache: made once, whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from insitu.cache import cache_dir, cached


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def visible(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock"))


def test_default_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSITU_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere/.cache/insitu")


def test_made_once(folder: Path) -> None:
    calls: list[Path] = []

    def make(into: Path) -> None:
        calls.append(into)
        assert into.parent == folder and not any(into.iterdir())
        (into / "thing").write_text("here")

    first, second = cached("zoo", "abc", make), cached("zoo", "abc", make)
    assert first == second == folder / "zoo-abc"
    assert (first / "thing").read_text() == "here"
    assert len(calls) == 1
    assert visible(folder) == ["zoo-abc"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(folder: Path, error: type[BaseException]) -> None:
    def make(into: Path) -> None:
        (into / "half").write_text("a thing")
        raise error

    with pytest.raises(error):
        cached("zoo", "abc", make)
    assert visible(folder) == []


WORKER = """
import sys, time
from pathlib import Path
from insitu.cache import cached
def make(into):
    with open(sys.argv[1], "a") as log: log.write("made\\n")
    time.sleep(float(sys.argv[2]))
print(cached("zoo", "abc", make))
"""


def start(log: Path, seconds: float) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(log), str(seconds)], env=environment)


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [start(log, 0.5), start(log, 0.5)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert log.read_text() == "made\n"


def test_what_a_killed_process_left_is_removed(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(log, 60)
    while not log.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert any(name.endswith(".partial") for name in visible(folder))
    cached("zoo", "abc", lambda into: None)
    assert visible(folder) == ["zoo-abc"]
