"""A run made again: what of its folder is needed, and what is said to differ."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import planned
from click.testing import CliRunner

from insitu import again, experiment, provenance
from insitu.cli import main
from insitu.experiment import NoRun, Result
from insitu.provenance import Source
from insitu.verify import MOST_SHOWN
from scenarios import plan as plans
from scenarios.load import load

PLAN = planned(faults=[{"link": "square-link", "at": "1 s", "for": "1 s"}])
SCENARIO = "name: made\nnetwork: {gnbs: [{name: square}]}\ndevices: [{name: phone, at: square}]\n"
SOURCE = Source("/home/somebody/made.yaml", "sha256:00", ["policies.slicing=none"], ["downloads.failed == 0"])


def left(folder: Path, plan: plans.Plan = PLAN, source: Source = SOURCE) -> Path:
    """The folder of a run, as far as it is read."""
    folder.mkdir()
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    (folder / "summary.json").write_text(json.dumps({"digest": "sha256:aa"}))
    (folder / "scenario.yaml").write_text("name: made\n")
    (folder / "payloads").mkdir()
    (folder / "payloads" / "vgg16.json").write_text("{}")
    provenance.write(provenance.of(plan, source, {"torch": "2.13"}, "vm", ["insitu"]), folder)
    return folder


def test_provenance_holds_what_a_row_takes_to_be_repeated(tmp_path: Path) -> None:
    written = json.loads((left(tmp_path / "run") / "provenance.json").read_text())
    assert written["scenario"] == msgspec.to_builtins(SOURCE)
    assert (written["seed"], written["clock"], written["on"]) == (7, "virtual", "vm")
    assert (written["plan"], written["models"]) == (plans.digest(PLAN), PLAN.models)
    assert provenance.read(tmp_path / "run") == msgspec.convert(written, provenance.Provenance)


def test_all_that_the_plan_needs_is_taken_from_the_folder(tmp_path: Path) -> None:
    made = again.read(left(tmp_path / "run"))
    assert made.prepared is not None
    assert made.prepared.plan == PLAN
    assert made.prepared.scenario == b"name: made\n"
    assert made.prepared.payloads == {"vgg16": b"{}"}


def test_a_plan_of_another_format_is_not_carried_out(tmp_path: Path) -> None:
    other = msgspec.structs.replace(PLAN, format=plans.FORMAT - 1)
    assert again.read(left(tmp_path / "run", other)).prepared is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.json", None, "no plan.json: this is no run's folder"),
        ("summary.json", None, "no summary.json: this is no run's folder"),
        ("scenario.yaml", None, "no scenario.yaml: this is no run's folder"),
        ("provenance.json", "{", "this is no whole run: "),
        ("provenance.json", '{"command": []}', "this is no whole run: "),
        ("plan.json", "[]", "this is no whole run: "),
        ("summary.json", "{}", "this is no whole run: "),
    ],
)
def test_a_folder_that_lacks_something_is_said_in_a_line(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    file = left(tmp_path / "run") / name
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(NoRun) as caught:
        again.read(tmp_path / "run")
    assert str(caught.value).startswith(f"{tmp_path}/run: {message}")
    assert "\n" not in str(caught.value)


def test_a_real_clocks_run_cannot_be_the_same(tmp_path: Path) -> None:
    real = msgspec.structs.replace(PLAN, machine=msgspec.structs.replace(PLAN.machine, clock="real"))
    with pytest.raises(NoRun, match="real clock is not the same to the bit"):
        again.again(again.read(left(tmp_path / "run", real)))


def result(folder: Path, digest: str, versions: dict[str, str], plan: plans.Plan = PLAN) -> Result:
    """A run that was made again."""
    folder.mkdir()
    provenance.write(provenance.of(plan, SOURCE, versions, "vm", []), folder)
    return Result(folder, {"digest": digest})


def test_the_same_digest_is_the_same_run(tmp_path: Path) -> None:
    outcome = again.compare(again.read(left(tmp_path / "one")), result(tmp_path / "two", "sha256:aa", {}))
    assert outcome == (True, ["sha256:aa: the same bits as on record"])


def test_what_a_digest_depends_on_and_differs_is_named(tmp_path: Path) -> None:
    made = again.read(left(tmp_path / "one"))
    other = msgspec.structs.replace(PLAN, seed=8)
    outcome = again.compare(made, result(tmp_path / "two", "sha256:bb", {"torch": "2.14"}, other))
    assert outcome == (
        False,
        [
            "sha256:bb: on record is sha256:aa",
            f"plan: on record {plans.digest(PLAN)}, here {plans.digest(other)}",
            "torch: on record 2.13, here 2.14",
        ],
    )


@pytest.mark.parametrize("moved", [False, True])
def test_the_scenario_is_planned_anew_where_it_was_or_from_the_runs_copy(tmp_path: Path, moved: bool) -> None:
    """Its own policy is beside the file only where that was, so the copy cannot be planned, and that is said."""
    (tmp_path / "polite.py").write_text("class Polite:\n    def decide(self, view): ...\n")
    file = tmp_path / "made.yaml"
    file.write_text(f"{SCENARIO}policies: {{slicing: 'polite:Polite'}}\n")
    plan = experiment.prepare(load(file), file, 7, experiment.model_library(print)).plan
    folder = left(tmp_path / "run", plan, provenance.source(file, file.read_bytes(), [], []))
    (folder / "policies").mkdir()
    (folder / "policies" / "polite.py").write_bytes((tmp_path / "polite.py").read_bytes())
    (folder / "scenario.yaml").write_bytes(file.read_bytes())
    if moved:
        file.write_text(file.read_text() + "# and a change\n")
    made = again.read(folder)
    fresh, library, why_not = again.plan_anew(made, print)
    assert again.models_are_there(made, library)
    if moved:
        assert fresh is None
        assert why_not.startswith(f'{folder}/scenario.yaml:4: policies.slicing: "polite:Polite": no module polite')
    else:
        assert fresh is not None
        assert again.plan_differences(made.plan, plain(fresh.plan)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "HERE", "-n", "3"], "a run is made again as it is; only --out and --json go with it"),
        (["made.yaml", "--from", "HERE"], "a run is made again as it is; only --out and --json go with it"),
        (["--from", "HERE/nowhere"], "HERE/nowhere: no plan.json: this is no run's folder"),
        (["--from", "HERE", "--out", "HERE"], "HERE exists already; name another folder with --out, or remove it"),
        ([], "give a scenario FILE, or --from RUN"),
    ],
)
def test_what_cannot_be_made_again_is_said_in_a_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    run = str(left(tmp_path / "run"))
    done = CliRunner().invoke(main, ["repeat", *(word.replace("HERE", run) for word in arguments)])
    assert done.exit_code == 2
    assert message.replace("HERE", run) in done.output
    assert done.output.count("\n") == 1


def plain(plan: plans.Plan = PLAN) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plans.canonical(plan))
    return found


def test_equal_plans_do_not_differ() -> None:
    assert again.plan_differences(plain(), plain()) == []


def test_what_is_planned_otherwise_is_named_by_its_place() -> None:
    other = plain()
    other["links"][0]["ends"][1]["shape"]["rate_bps"] = 7
    other["devices"][0]["image_seed"] = 8
    link, device, before = other["links"][0]["name"], other["devices"][0]["host"], plain()
    assert set(again.plan_differences(before, other)) == {
        f"planned anew, links.{link}.ends.2.shape.rate_bps is 7 instead of "
        f"{before['links'][0]['ends'][1]['shape']['rate_bps']}",
        f"planned anew, devices.{device}.image_seed is 8 instead of {before['devices'][0]['image_seed']}",
    }


def test_a_link_that_fails_and_comes_back_is_two_things() -> None:
    other = plain()
    other["faults"][0]["time_ns"] = 5
    (line,) = again.plan_differences(plain(), other)
    assert line == "planned anew, faults.1.time_ns is 5 instead of 1000000000"


def test_what_came_or_went_is_said_and_many_differences_are_counted() -> None:
    other = plain()
    del other["held_out"]
    assert again.plan_differences(plain(), other)[0].startswith("planned anew, held_out is not there instead of ")
    lines = again.plan_differences({}, plain())
    assert len(lines) == MOST_SHOWN + 1
    assert lines[-1].endswith(" more things of the plan differ")
