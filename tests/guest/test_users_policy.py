"""A user's own policies decide in the machine: the documented example, run as it is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

from insitu import table
from insitu.vm.kernel import Kernel
from scenarios import records

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
SCENARIO = """\
name: mine
duration: 3 s
network: {gnbs: [{name: square}]}
devices: [{name: phone, count: 2, at: square, infer: 5/s}]
situations: [{time: 1 s.., model: digits@night}, {model: digits}]
policies: {slicing: 'polite:Polite', compression: 'polite:Least'}
"""


FAILING = """\
class Failing:
    def decide(self, view):
        raise ZeroDivisionError("by zero")
"""


def test_a_policy_that_fails_degrades_the_run_and_says_with_what_view(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    scenario = SCENARIO.replace("slicing: 'polite:Polite', compression: 'polite:Least'", "slicing: 'failing:Failing'")
    (tmp_path / "mine.yaml").write_text(scenario)
    command = [sys.executable, "-m", "insitu.cli", "run", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout)["verdict"]
    assert verdict["status"] == "DEGRADED"
    (reason,) = verdict["reasons"]
    assert reason.startswith("policy Failing: raises ZeroDivisionError: by zero, at nef, 1")
    (view,) = re.findall(r"logs/view-\w+\.json", reason)
    assert (tmp_path / "run" / view).is_file()


def test_a_users_policies_are_those_that_decide(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "polite.py").write_text(re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)[0])
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    command = [
        sys.executable,
        "-m",
        "insitu.cli",
        "run",
        str(tmp_path / "mine.yaml"),
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"]["status"] == "VALID"
    events = table.read(tmp_path / "run" / "events.parquet")
    decided = [event for event in events if isinstance(event, records.Session)]
    assert len(decided) == 2 and all(event.granted_bps == event.requested_bps for event in decided)
    chosen = [event for event in events if isinstance(event, records.Chosen)]
    assert {event.variant for event in chosen} == {"d1w1b1"}
    assert all(event.reason == "d1w1b1: the least there is" for event in chosen)
