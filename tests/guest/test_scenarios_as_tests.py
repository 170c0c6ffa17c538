"""`pytest --insitu` and `insitu_run` with real runs, two side by side; and the same run made again from its folder."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from insitu import cache
from insitu.vm.kernel import Kernel
from tests.conftest import PROJECT

pytest_plugins = ["pytester"]

CACHE = cache.cache_dir()  # pytester's tests have another home
HELLO = PROJECT / "scenarios" / "hello.yaml"
TEST = """
def test_ten_inferences_a_second_are_twice_as_many(insitu_run):
    run = insitu_run("hello.yaml", seed=3, devices={"phone": {"infer": "10/s"}})
    assert run.events["inference"].height == 100
    assert run.figures["downloads.on_time_share"] == 1
"""


@pytest.fixture(autouse=True)
def _prepared(kernel: Kernel, library: Path) -> None:
    """They are there before anything is measured."""


def test_scenarios_are_tests_beside_others(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSITU_CACHE", str(CACHE))
    pytester.makepyfile(TEST)
    shutil.copy(HELLO, pytester.path)
    expected = "expect: [downloads.on_time == 100 %, downloads.latency_ms.max <= 1 ms]\n"
    (pytester.path / "demanding.yaml").write_text(HELLO.read_text() + expected)
    result = pytester.runpytest_subprocess("--insitu", "--insitu-out=kept", "--junitxml=out.xml", "-n2")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["downloads.latency_ms.max <= 1 ms: measured * ms", f"run: {pytester.path}/kept/*"])
    result.stdout.no_fnmatch_line("*on_time == 100 %*")
    xml = (pytester.path / "out.xml").read_text()
    assert '<property name="downloads.on_time" value="2.0"' in xml
    assert '<property name="hello-3.downloads.on_time" value="2.0"' in xml
    (left,) = (pytester.path / "kept").glob("demanding*")
    assert json.loads((left / "summary.json").read_text())["verdict"]["status"] == "VALID"
    assert not list((pytester.path / "kept").glob(".*"))


def test_the_example_draws_its_figure_and_its_run_is_the_same_again(tmp_path: Path) -> None:
    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python(str(PROJECT / "docs" / "examples" / "one_figure.py"), "figure.html")
    picture = (tmp_path / "figure.html").read_text()
    assert "hello: 8 phones swap their model" in picture
    assert "<script src" not in picture  # it opens without a network
    (first,) = (tmp_path / "runs").iterdir()
    said = python("-m", "insitu.cli", "repeat", "--from", str(first), "--out", "second")
    digest, other = (json.loads((run / "summary.json").read_text())["digest"] for run in (first, tmp_path / "second"))
    assert digest == other
    assert said == f"{digest}: the same bits as on record\nfolder: second\n"
