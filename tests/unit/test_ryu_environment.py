"""`controller: ryu` where Ryu's environment is not there, and the controller started by hand with nothing or nonsense to go by."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from insitu import ryu_environment
from insitu.cli import main
from tests.conftest import PROJECT


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\nnetwork: {gnbs: [{name: quad}]}\ndevices: [{name: phone, at: quad}]\ncontroller: ryu\n"
    )
    return file


@pytest.mark.parametrize("command", ["check", "run", "shell", "slices"])
def test_without_its_environment_a_scenario_that_wants_ryu_is_refused(scenario: Path, command: str) -> None:
    result = CliRunner().invoke(main, [command, str(scenario)])
    assert result.exit_code == 2
    assert result.stderr == "controller: ryu: its environment is not there; run `make ryu`\n"


def test_doctor_says_how_to_get_it(scenario: Path) -> None:
    output = CliRunner().invoke(main, ["doctor"]).output
    assert "absent   for controller: ryu: Ryu's environment\n         make ryu\n" in output


def test_what_pip_says_is_one_line(tmp_path: Path, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ryu_environment, "_TO_BUILD", ("no-such-file/at-all",))
    with pytest.raises(ryu_environment.NoRyu) as raised:
        ryu_environment.make()
    assert "Ryu's environment cannot be made: " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("ryu-*"))


@pytest.mark.parametrize(
    ("configured", "said"),
    [
        ("", "no plan: set INSITU_PLAN to a plan's file, or write `plan = FILE` under [insitu] in the --config-file"),
        ("plan = nowhere.json", "nowhere.json: No such file or directory"),
        ("plan = insitu.conf", "insitu.conf: not a plan: "),
    ],
)
def test_a_controller_that_is_started_by_hand_says_what_it_lacks(configured: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "insitu.conf").write_text(f"[insitu]\n{configured}\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("INSITU_")}
    command = [sys.executable, "-W", "ignore", "-m", "controller.app", "--config-file", "insitu.conf"]
    env["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"insitu: {said}")
