"""Cases and a study's folder: which runs are equal, and that nothing in the folder is half done or written by two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insitu.study.cases import Case, key_of, outcome_of, prepare
from insitu.study.folder import FolderInUse, pack, study_folder, unpack
from insitu.study.progress import time_left_s
from scenarios.load import ScenarioError

SCENARIO = """\
name: mine
duration: 3 s
network: {gnbs: [{name: square}]}
payloads: {blob: {size: 1 MB}}
devices: [{name: phone, count: 2, at: square, application: blob}]
situations: [{time: 1 s.., model: blob}]
"""
VERSIONS = {"insitu": "1", "kernel": "7.3.4 abc"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    return tmp_path / "mine.yaml"


def keys(*cases: Case, versions: dict[str, str] = VERSIONS) -> list[str]:
    return [key_of(ready.prepared.plan, versions) for ready in prepare(cases)]


def test_equal_runs_have_equal_keys_however_they_are_asked_for(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.yaml"
    other.write_text(f"# the same\n{SCENARIO}")
    same = [
        Case(file, (), 1),
        Case(other, (), 1),
        Case(file, ("devices.1.count=2",), 1),
        Case(file, ("duration=3000 ms",), 1),
    ]
    assert len(set(keys(*same))) == 1


def test_a_seed_a_setting_and_a_version_make_another_run(file: Path) -> None:
    cases = [
        Case(file, (), 0),
        Case(file, (), 1),
        Case(file, ("devices.phone.count=3",), 0),
        Case(file, ("name=other",), 0),
    ]
    found = [*keys(*cases), *keys(cases[0], versions=VERSIONS | {"kernel": "7.3.5 abc"})]
    assert len(set(found)) == len(found)


def test_a_change_of_an_own_policy_makes_another_run(file: Path) -> None:
    file.write_text(f"{SCENARIO}policies: {{compression: 'own:Own'}}\n")
    found = []
    for answer in ("None", "1"):
        (file.parent / "own.py").write_text(f"class Own:\n    def choose(self, *asked):\n        return {answer}\n")
        found += keys(Case(file, (), 0))
    assert found[0] != found[1]


def test_a_bad_case_is_found_before_anything_runs(file: Path) -> None:
    with pytest.raises(ScenarioError, match="--set devices.phone.count=0: devices.phone.count: must be at least 1"):
        prepare([Case(file, (), 0), Case(file, ("devices.phone.count=0",), 0)])


def test_the_command_of_a_case_makes_its_run_alone() -> None:
    case = Case(Path("a.yaml"), ("x=1", "y=[2, 3]"), 4)
    assert case.command == ["insitu", "run", "a.yaml", "--seed", "4", "--set", "x=1", "--set", "y=[2, 3]"]


def test_an_outcome_is_read_from_the_runs_folder(tmp_path: Path) -> None:
    case = Case(Path("a.yaml"), (), 0)
    with pytest.raises(FileNotFoundError):
        outcome_of(case, "k", tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps({"verdict": {"status": "INVALID", "reasons": ["x"]}}))
    assert not outcome_of(case, "k", tmp_path).usable
    (tmp_path / "summary.json").write_text(json.dumps({"verdict": {"status": "DEGRADED", "reasons": ["x"]}}))
    assert outcome_of(case, "k", tmp_path).usable
    (tmp_path / "FAILED").write_text("the disk is full\n")
    failed = outcome_of(case, "k", tmp_path)
    assert (failed.failure, failed.usable) == ("the disk is full", False)


def test_the_same_study_goes_on_in_its_folder_and_another_one_gets_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with study_folder("x-sweep", {"points": 1}) as first:
        (first / "kept").touch()
    with study_folder("x-sweep", {"points": 2}) as second:
        pass
    with study_folder("x-sweep", {"points": 1}) as again:
        assert (again / "kept").exists()
    assert (first, second) == (Path("runs/x-sweep"), Path("runs/x-sweep-2"))


def test_two_studies_at_once_in_a_folder_are_refused_and_the_lock_goes_with_its_owner(tmp_path: Path) -> None:
    out = tmp_path / "study"
    holding = f"""
import sys, time
from pathlib import Path
from insitu.study.folder import study_folder
with study_folder("x", {{}}, Path({str(out)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse) as refused, study_folder("x", {"other": 1}, out):
            pass
        assert str(refused.value) == f"{out}: another study is running in it; wait for its end, or use --out"
        assert json.loads((out / "study.json").read_text()) == {}, "the other one's study is left as it is"
        owner.kill()
    with study_folder("x", {}, out):
        pass


def test_a_folder_that_is_no_studys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderInUse, match="exists and is no study's folder"), study_folder("x", {}, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_arrives_as_it_was_sent_in_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    sent, target = tmp_path / "sent", tmp_path / "runs" / "key"
    (sent / "logs").mkdir(parents=True)
    (sent / "policies").mkdir()
    (sent / "logs" / "a.log").write_bytes(bytes(range(256)))
    target.mkdir(parents=True)
    (target / "FAILED").touch()
    unpack(pack(sent), target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["logs", "logs/a.log", "policies"]
    assert (target / "logs" / "a.log").read_bytes() == bytes(range(256))
    assert [path.name for path in target.parent.iterdir()] == ["key"]


@given(st.lists(st.floats(0.1, 100), max_size=20), st.integers(0, 100), st.integers(0, 8))
def test_the_estimate_waits_until_it_means_something(walls: list[float], remaining: int, workers: int) -> None:
    left = time_left_s(walls, remaining, workers)
    if not remaining or not workers or len(walls) < workers:
        assert left is None
    else:
        assert left is not None
        assert min(walls) * remaining / workers * 0.999 <= left <= max(walls) * (remaining / workers + 1) * 1.001
