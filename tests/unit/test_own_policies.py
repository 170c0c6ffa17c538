"""A user's own policies: the documented example works as it is written, and travels with the run."""

import hashlib
import re
from pathlib import Path

import pytest

from controller.policies import slicing
from controller.policies.checking import decide
from controller.policies.view import Flow, Grant, LinkView, SliceView, View
from controller.session import Request
from edge_nodes.choosing.policies import Limits, compression, is_deadline_aware
from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import shipping
from insitu import experiment
from scenarios import own_policies, planner
from scenarios.load import load

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
SCENARIO = """\
name: mine
duration: 4 s
network: {gnbs: [{name: square}]}
devices: [{name: phone, count: 2, at: square, infer: 5/s}]
situations: [{time: 1 s.., model: digits@night}, {model: digits}]
policies: {slicing: 'polite:Polite', compression: 'polite:Least'}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    (tmp_path / "polite.py").write_text(re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)[0])
    file = tmp_path / "mine.yaml"
    file.write_text(SCENARIO)
    return file


def flow(number: int, deadline_ns: int) -> Flow:
    request = Request(f"id{number}", "phone", "edge", "models", "", 40, 0, 1, deadline_ns=deadline_ns)
    return Flow(request, (("radio", 1),))


def test_the_documented_slicing_policy_decides_what_it_says(scenario: Path) -> None:
    policy = slicing("polite:Polite", scenario.parent)
    seen = View(0, {("radio", 1): LinkView(268)}, {"models": SliceView(0.5)}, (flow(1, 9), flow(2, 5), flow(3, 7)))
    assert decide(policy, seen).grants == {"id2": Grant(40), "id3": Grant(30), "id1": Grant(15)}


def test_the_documented_compression_policy_chooses_what_it_says(scenario: Path) -> None:
    policy = compression("polite:Least", scenario.parent)
    manifest = Manifest.load(shipping.SHIPPED / "manifests" / "digits.json")
    assert policy.choose(manifest, Limits(1, 1, 1, 1, 1, frozenset())).variant.name == "d1w1b1"
    assert not is_deadline_aware(policy)


def test_the_example_is_about_as_long_as_promised() -> None:
    (code, *_) = re.findall(r"class Polite:\n(.*?)\n\n\n", DOCS.read_text(), re.S)
    assert len(code.splitlines()) <= 20


def test_a_users_module_stands_in_the_plan_and_goes_into_the_runs_folder(scenario: Path, tmp_path: Path) -> None:
    asked = load(scenario, models=experiment.shipped())
    plan = planner.decide(asked, 0, planner.Published(dict.fromkeys(experiment.shipped(), ""), ""))
    source = (scenario.parent / "polite.py").read_bytes()
    assert plan.policies.files == {"polite.py": "sha256:" + hashlib.sha256(source).hexdigest()}
    run = tmp_path / "run"
    run.mkdir()
    experiment.write_plan(plan, experiment.own_policies(asked), run)
    assert slicing(plan.policies.slicing, run / "policies").decide(View(0, {}, {})).grants == {}


def test_a_module_that_is_installed_does_as_well_and_leaves_no_file_in_the_plan(tmp_path: Path) -> None:
    name = "controller.policies.admission:Fair"
    assert type(slicing(name, tmp_path)).__name__ == "Fair"
    assert own_policies.file_of(name, tmp_path) is None


def test_an_entry_point_is_a_policys_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[insitu.slicing]\nshared = controller.policies.admission:Fair\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own_policies.named("slicing") == ["shared"]
    assert type(slicing("shared")).__name__ == "Fair"
