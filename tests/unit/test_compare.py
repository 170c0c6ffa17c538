"""`insitu compare` of runs that are there: what it says, and what it refuses."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from insitu.cli import main
from tests.unit.runs_on_disk import HELLO, failed_run, made_run

P95 = "downloads.latency_ms.p95"
JOINT = ("policies.slicing=joint",)
Values = Callable[[int], float | None]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made_set(name: str, seeds: Sequence[int], value: Values, figure: str = P95, settings: tuple[str, ...] = ()) -> str:
    for seed in seeds:
        made_run(Path(name) / f"run-{seed}", seed, {figure: value(seed)}, settings)
    return name


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def compared(*arguments: object) -> dict[str, Any]:
    done = compare(*arguments, "--json")
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def refused(*arguments: object) -> str:
    """The one line that says why, without which nothing is written."""
    done = compare(*arguments)
    assert done.exit_code == 2, done.output
    assert not done.stdout
    assert not Path("runs").exists()
    line: str = done.stderr.rstrip("\n")
    assert "\n" not in line
    return line


def noise(seed: int) -> float:
    return float(np.random.default_rng(seed).normal(100.0, 20.0))


def five_percent_less(seed: int) -> float:
    """Of the same seed, and a noise of its own that is as large as the effect."""
    return 0.95 * noise(seed) + float(np.random.default_rng(1000 + seed).normal(0.0, 5.0))


def test_a_made_up_effect_of_5_percent_is_shown() -> None:
    """Although each seed's own value varies four times as much: that is what pairing is for."""
    first = made_set("first", range(20), noise)
    second = made_set("second", range(20), five_percent_less, settings=JOINT)
    (found,) = compared(first, second, "--figure", P95)["comparisons"]
    (decided,) = found["decided"]
    low, high = (100 * (end - 1) for end in decided["ratio"]["interval"])
    assert decided["decision"] == "better"
    assert low < -5 < high < 0
    assert (found["first"], found["second"], found["seeds"]) == ("deadline", "joint", list(range(20)))
    assert decided["sentence"].startswith("`joint` is better than `deadline`: ")
    assert decided["sentence"].endswith(f"] lower {P95}, 20 seeds")


def test_the_same_figures_show_no_difference() -> None:
    first, second = made_set("first", range(20), noise), made_set("second", range(20), noise, settings=JOINT)
    done = compare(first, second, "--figure", P95)
    assert f"no difference shown between `joint` and `deadline`: the same {P95} in every run, 20 seeds" in done.stdout


def test_noise_alone_shows_no_difference() -> None:
    first = made_set("first", range(20), noise)
    second = made_set("second", range(20), lambda seed: noise(seed + 500), settings=JOINT)
    (decided,) = compared(first, second, "--figure", P95)["comparisons"][0]["decided"]
    assert decided["decision"] == "no difference shown"
    assert decided["interval"][0] < 0 < decided["interval"][1]


def test_the_sentence_of_the_issue() -> None:
    """`joint` is better than `deadline`: 12.1 % [9.8, 14.2] fewer late downloads, 20 seeds"""
    first = made_set("first", range(4), lambda seed: 20 + 10 * seed, "downloads.late")
    second = made_set("second", range(4), lambda seed: 17 + 9 * seed, "downloads.late", JOINT)
    done = compare(first, second)
    assert "`joint` is better than `deadline`: 12.9 % [11.8, 16.9] fewer late downloads, 4 seeds" in done.stdout
    back = compare(second, first)
    assert "`deadline` is worse than `joint`: 14.8 % [13.4, 20.4] more late downloads, 4 seeds" in back.stdout


def test_the_page_says_the_same_and_stands_alone() -> None:
    first, second = made_set("first", range(8), noise), made_set("second", range(8), five_percent_less, settings=JOINT)
    content = compared(first, second, "--figure", P95)
    page = (Path(content["folder"]) / "report.html").read_text()
    assert content["comparisons"][0]["decided"][0]["sentence"] in page
    assert "policies.slicing" in page
    assert "src=" not in page.replace("img-src", "").split("<script>")[0]
    assert (Path(content["folder"]) / "report.html").parent.parent.name == "runs"


def test_only_common_seeds_are_compared_and_the_others_are_counted() -> None:
    first, second = made_set("first", range(8), noise), made_set("second", range(3, 12), noise, settings=JOINT)
    done = compare(first, second, "--figure", P95)
    assert "note: 3 of 8 runs of `deadline` left out" in done.stdout
    assert "note: 4 of 9 runs of `joint` left out" in done.stdout
    assert "5 seeds" in done.stdout


def test_one_seed_shows_nothing() -> None:
    first, second = made_run(Path("a"), 3, {P95: 10.0}), made_run(Path("b"), 3, {P95: 5.0}, JOINT)
    done = compare(first, second, "--figure", P95)
    said = f"no difference shown between `joint` and `deadline`: 5 ms lower {P95}, 1 seed, and one seed has no interval"
    assert said in done.stdout


def test_a_figure_that_some_runs_lack_rests_on_the_others() -> None:
    figure = "accuracy.after"
    first = made_set("first", range(6), lambda seed: None if seed == 2 else 0.8 + seed / 100, figure)
    second = made_set("second", range(6), lambda seed: None if seed == 5 else 0.9 + seed / 90, figure, JOINT)
    (decided,) = compared(first, second, "--figure", figure)["comparisons"][0]["decided"]
    assert decided["seeds"] == [0, 1, 3, 4]
    assert "points [" in decided["sentence"]


def test_a_figure_that_no_run_has_is_said() -> None:
    done = compare(made_run(Path("a"), 3), made_run(Path("b"), 3), "--figure", "accuracy.after")
    assert done.exit_code == 2
    assert done.stderr == "--figure accuracy.after: a and b have no seed in which both have it\n"


def test_several_decisions_share_the_5_percent() -> None:
    """Bonferroni: two figures and two comparisons are four decisions."""
    policies = ("none", "fair", "joint")
    sides = [made_set(name, range(6), noise, settings=(f"policies.slicing={name}",)) for name in policies]
    content = compared(*sides, "--figure", P95, "--figure", "downloads.late")
    decided = [one for comparison in content["comparisons"] for one in comparison["decided"]]
    assert [one["confidence"] for one in decided] == [pytest.approx(1 - 0.05 / 4)] * 4
    assert {(one["first"], one["second"]) for one in content["comparisons"]} == {("none", "fair"), ("none", "joint")}


def test_degraded_runs_and_other_versions_are_told() -> None:
    first = made_run(Path("a"), 3, status="DEGRADED")
    second = made_run(Path("b"), 3, settings=JOINT, versions={"kernel": "7.4"})
    done = compare(first, second)
    assert "note: 1 of 1 runs of `deadline` are DEGRADED: a made-up reason" in done.stdout
    assert "note: made by different versions: kernel" in done.stdout


def test_what_was_set_on_purpose_may_differ() -> None:
    slow = made_run(Path("a"), 3, settings=("network.gnbs.square.radio.rate=10 Mbit/s",))
    content = compared(slow, made_run(Path("b"), 3))
    assert content["comparisons"][0]["first"] == "network.gnbs.square.radio.rate=10 Mbit/s"
    assert content["comparisons"][0]["second"] == "as written"


def other_scenario(old: str, new: str) -> Path:
    file = Path("other.yaml")
    text = HELLO.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("name: hello", "name: bye", "the scenario is hello and bye"),
        ("duration: 5 s", "duration: 6 s", "the duration is 5 s and 6 s"),
        ("count: 2", "count: 3", "only one of them has phone3"),
        ("infer: 5/s", "infer: 6/s", "their files differ in devices.phone.infer; change a scenario for a comparison with --set"),
    ],
)  # fmt: skip
def test_another_scenario_is_refused(old: str, new: str, why: str) -> None:
    first, second = made_run(Path("a"), 3), made_run(Path("b"), 3, scenario=other_scenario(old, new))
    assert refused(first, second) == f"a and b cannot be compared: {why}"


def test_other_policies_in_the_file_may_be_compared() -> None:
    other = other_scenario("duration: 5 s", "duration: 5 s\npolicies: {slicing: fair}\n")
    found = compared(made_run(Path("a"), 3), made_run(Path("b"), 3, scenario=other))["comparisons"][0]
    assert (found["first"], found["second"]) == ("deadline", "fair")


def test_an_invalid_run_is_refused() -> None:
    first = made_run(Path("a"), 3)
    assert refused(first, made_run(Path("b"), 3, status="INVALID")) == (
        "b: the run is INVALID, so its figures say nothing: a made-up reason"
    )


def test_a_set_with_a_failed_run_is_refused() -> None:
    made_set("set", range(3), noise)
    failed_run(Path("set/run-3"), 3)
    assert refused("set", made_run(Path("a"), 1)) == "set/run-3: the run failed and has no figures: the guest died"


def test_no_common_seed_is_refused() -> None:
    first, second = made_set("first", [0, 1], noise), made_set("second", [2], noise)
    assert refused(first, second) == (
        "no seed is on all sides: first has seeds 0, 1; second has seed 2; runs are compared with those of the same seed"
    )


def test_a_set_of_several_settings_is_refused() -> None:
    made_set("set", range(2), noise)
    made_run(Path("set/run-2"), 2, settings=JOINT)
    assert "set: run-0 and run-2 differ in more than their seed" in refused("set", "set")


def test_a_set_with_a_seed_twice_is_refused() -> None:
    made_set("set", range(2), noise)
    made_run(Path("set/again"), 1)
    assert refused("set", "set").startswith("set: again and run-1 both have seed 1")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["{run}"], "a comparison needs two sides: A B, or FILE --versus KEY=VALUE"),
        (["{run}", "nothing"], "nothing: no such run, set or file"),
        (["{run}", "{hello} --sett a=b"], '{hello} --sett a=b: no such run, set or file; a side is RUN, SET, FILE or "FILE --set'),
        (["{run}", "{hello} --set"], "{hello} --set: no such run"),
        (["{run}", '{hello} "'], '{hello} ": no such run'),
        (["{run}", "empty"], "empty: this is neither a run's folder nor one with runs"),
        (["{run}", "{run}", "--set", "policies.slicing=joint"], "--set changes a scenario's FILE; these runs have been made"),
        (["{run}", "--versus", "policies.slicing=joint"], "--versus is one more side for one FILE"),
        (["{run}", "{run}", "--figure", "downloads.lat"], "--figure downloads.lat: no such figure; write downloads.late"),
        (["{run}", "broken"], "broken: this is no whole run: "),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(arguments: list[str], why: str) -> None:
    Path("empty").mkdir()
    (made_run(Path("broken"), 3) / "summary.json").write_text("{")
    places = {"run": made_run(Path("a"), 3), "hello": HELLO}
    assert refused(*(argument.format_map(places) for argument in arguments)).startswith(why.format_map(places))
