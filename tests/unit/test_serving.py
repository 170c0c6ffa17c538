"""`insitu library serve` as it is typed: what it says, and what it refuses."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from builders import manifest_of, publish
from click.testing import CliRunner

from insitu.serving import serve

PROJECT = Path(__file__).resolve().parents[2]
BLOCKS = [b"block"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--upstream", "127.0.0.1:5000"], "--upstream 127.0.0.1:5000: write http://HOST:PORT"),
        (["--upstream", "https://host"], "--upstream https://host: write http://HOST:PORT"),
        (["--upstream", "http://host:port"], "--upstream http://host:port: Port could not be cast"),
        (["--cache", "2"], '--cache: "2": no unit; write a size such as'),
        (["--caching", "best"], "'best' is not one of 'lfu', 'lru', 'pinned', 'popularity'"),
        (["nowhere"], "nowhere has no manifests/*.json: it is not a published library"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(serve, arguments)
    assert done.exit_code == 2
    assert message in done.stderr.splitlines()[-1]


def test_a_tier_with_nothing_above_that_answers_and_nothing_from_before_does_not_start(tmp_path: Path) -> None:
    done = CliRunner().invoke(serve, ["--upstream", "http://127.0.0.1:1", str(tmp_path / "store")])
    assert done.exit_code == 2
    assert done.stderr.startswith("127.0.0.1:1 does not say which models it has: [Errno 111]")


def test_a_tier_serves_what_those_above_have_and_starts_again_without_them(tmp_path: Path) -> None:
    publish(tmp_path / "library", (manifest_of("digits", BLOCKS), BLOCKS))
    central, at = started(tmp_path / "library")
    edge, below = started(tmp_path / "store", "--upstream", at)
    catalogue = urllib.request.urlopen(f"{below}/insitu/v1/catalogue").read()
    assert catalogue == urllib.request.urlopen(f"{at}/insitu/v1/catalogue").read()
    image = urllib.request.urlopen(f"{below}/v2/digits/manifests/base").read()
    assert (ended(central), ended(edge)) == (0, 0)
    edge, below = started(tmp_path / "store", "--upstream", at)
    assert urllib.request.urlopen(f"{below}/v2/digits/manifests/base").read() == image
    assert ended(edge) == 0
    (tmp_path / "store" / "catalogue.json").write_bytes(b"spoilt")
    done = CliRunner().invoke(serve, ["--upstream", at, str(tmp_path / "store")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)


def started(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "insitu.serving", str(folder), "--port", "0", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.endswith(" serves digits:base\n"), line + process.stderr.read()
    return process, line.split()[0]


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=20)
