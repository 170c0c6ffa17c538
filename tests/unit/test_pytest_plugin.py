"""pytest with scenarios: what is a test, and what is said of one that fails. The runs are made up; tests/guest has a real one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import planned

from insitu import api, provenance
from insitu.provenance import Source
from insitu.summary import summarise
from scenarios.load import load

pytest_plugins = ["pytester"]

SCENARIO = """\
name: hello
network: {gnbs: [{name: square}]}
devices: [{name: phone, at: square}]
"""
PLAN = planned()


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands in for `insitu.run`: nothing happens in these runs. Gives what was asked for."""
    asked: list[dict[str, Any]] = []

    def run(file: Path, *, seed: int = 0, set: Any = None, out: Path) -> api.Run:
        asked.append({"file": file, "seed": seed, "set": set, "out": out})
        with api.errors():
            scenario = load(file, api.settings(set or {}))
        summary = summarise(PLAN, [], None, 1.0)
        summary["verdict"] = {"status": "INVALID" if scenario.name == "bad" else "VALID", "reasons": ["a", "b"]}
        source = Source(str(file), "", [], [expectation.text for expectation in scenario.expect])
        return api.Run(out, summary, provenance.of(PLAN, source, {}, "vm", []))

    monkeypatch.setattr(api, "run", run)
    return asked


Write = Callable[..., None]


@pytest.fixture
def write(pytester: pytest.Pytester) -> Write:
    def scenarios(**expectations: str) -> None:
        for name, expect in expectations.items():
            pytester.makefile(".yaml", **{name: SCENARIO + expect})

    return scenarios


def text(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_a_scenario_with_expectations_is_a_test_when_asked_for(pytester: pytest.Pytester, write: Write) -> None:
    write(one="expect: [downloads.failed == 0]", two="expect: [downloads.bytes == 0 B]", none="", empty="expect: []")
    pytester.makefile(".yaml", compose="services: {web: {image: nginx}}\nnetwork: none\n", tabs="\tno: yaml")
    pytester.runpytest("--insitu").assert_outcomes(passed=2)
    pytester.runpytest().assert_outcomes()


def test_one_that_fails_says_what_was_measured_and_where_and_shows_no_code(
    pytester: pytest.Pytester, write: Write
) -> None:
    write(hello="expect: [downloads.failed > 0, downloads.bytes == 0 B, accuracy.after >= 90 %]")
    result = pytester.runpytest("--insitu", "--insitu-out", "kept")
    result.assert_outcomes(failed=1)
    said = text(result)
    assert "downloads.failed > 0: measured 0\naccuracy.after >= 90 %: measured none: no model was swapped\n" in said
    assert f"run: {pytester.path}/kept/hello.yaml-hello" in said
    assert "Traceback" not in said and ".py:" not in said and "downloads.bytes" not in said


def test_an_invalid_run_fails_whatever_its_figures(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", bad=SCENARIO.replace("hello", "bad") + "expect: [downloads.failed == 0]")
    result = pytester.runpytest("--insitu")
    result.assert_outcomes(failed=1)
    assert "the run is INVALID: a\nthe run is INVALID: b\nrun: " in text(result)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (SCENARIO + "expect: [downloads.on_tme > 0]", 'expect.1: no figure "downloads.on_tme"; did you mean'),
        ("expect: [downloads.failed == 0]\nnetwork: [", "is not YAML"),
        ("devices: []\nexpect: [downloads.failed == 0]", '"network" is missing'),
    ],
)
def test_a_broken_scenario_is_an_error_of_a_line(pytester: pytest.Pytester, content: str, line: str) -> None:
    pytester.makefile(".yaml", wrong=content)
    result = pytester.runpytest("--insitu")
    result.assert_outcomes(errors=1)
    assert re.search(rf"^{re.escape(str(pytester.path))}/wrong.yaml:\d+: .*{re.escape(line)}", text(result), re.M)
    assert "Traceback" not in text(result)


def test_junit_carries_the_figures(pytester: pytest.Pytester, write: Write) -> None:
    write(hello="expect: [downloads.failed == 0]")
    pytester.runpytest("--insitu", "--junitxml=out.xml").assert_outcomes(passed=1)
    xml = (pytester.path / "out.xml").read_text()
    assert '<property name="downloads.requested" value="0.0"' in xml
    assert '<property name="verdict" value="VALID"' in xml
    assert "accuracy.after" not in xml  # it has no value


def test_runs_do_not_share_a_folder(pytester: pytest.Pytester, write: Write, made: list[dict[str, Any]]) -> None:
    for folder in ("a", "b"):
        pytester.mkdir(folder).joinpath("hello.yaml").write_text(SCENARIO + "expect: [downloads.failed == 0]")
    pytester.runpytest("--insitu", "--insitu-out", "kept").assert_outcomes(passed=2)
    assert [run["out"].name for run in made] == ["a-hello.yaml-hello", "b-hello.yaml-hello"]


FIXTURE = """
import insitu, pytest

def test_one(insitu_run):
    run = insitu_run("hello.yaml", seed=3, policies={"slicing": "joint"}, devices={"phone": {"count": 2}})
    assert run.figures["downloads.failed"] == 0

def test_wrong(insitu_run):
    with pytest.raises(insitu.InsituError, match="did you mean"):
        insitu_run("hello.yaml", policy={"slicing": "joint"})
"""


@pytest.mark.parametrize("beside", [True, False])
def test_the_fixture_runs_a_scenario_beside_the_test_or_from_the_root(
    pytester: pytest.Pytester, write: Write, made: list[dict[str, Any]], beside: bool
) -> None:
    folder = pytester.mkpydir("inner")
    (folder / "test_it.py").write_text(FIXTURE)
    scenario = (folder if beside else pytester.path) / "hello.yaml"
    scenario.write_text(SCENARIO)
    pytester.runpytest("--junitxml=out.xml").assert_outcomes(passed=2)
    assert (made[0]["file"], made[0]["seed"]) == (scenario, 3)
    assert made[0]["set"] == {"policies": {"slicing": "joint"}, "devices": {"phone": {"count": 2}}}
    assert '<property name="hello-3.downloads.requested" value="0.0"' in (pytester.path / "out.xml").read_text()


def test_the_fixture_gives_no_invalid_run(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", bad=SCENARIO.replace("hello", "bad"))
    pytester.makepyfile("def test_bad(insitu_run):\n    insitu_run('bad.yaml')\n")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    assert "the run is INVALID: a" in text(result)


def test_a_wrong_scenario_in_a_test_points_at_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_none(insitu_run):\n    insitu_run('nowhere.yaml')\n")
    said = text(pytester.runpytest())
    assert "nowhere.yaml: cannot be read: No such file or directory" in said
    assert "insitu/" not in said.replace(str(pytester.path), "").replace("pytest_plugin", "")
