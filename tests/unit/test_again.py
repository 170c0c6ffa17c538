"""A run made again: what of its folder is needed, and what is said to differ."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import planned

from insitu import again, provenance
from insitu.experiment import NoRun
from insitu.provenance import Source
from insitu.verify import MOST_SHOWN
from scenarios import plan as plans

PLAN = planned(faults=[{"link": "square-link", "at": "1 s", "for": "1 s"}])
SOURCE = Source("/home/somebody/made.yaml", "sha256:00", ["policies.slicing=none"], ["downloads.failed == 0"])


def left(folder: Path, plan: plans.Plan = PLAN) -> Path:
    """The folder of a run, as far as it is read."""
    folder.mkdir()
    (folder / "plan.json").write_bytes(plans.canonical(plan))
    (folder / "summary.json").write_text(json.dumps({"digest": "sha256:aa"}))
    (folder / "scenario.yaml").write_text("name: made\n")
    (folder / "payloads").mkdir()
    (folder / "payloads" / "vgg16.json").write_text("{}")
    provenance.write(provenance.of(plan, SOURCE, {"torch": "2.13"}, "vm", ["insitu"]), folder)
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
