"""The same application under Ryu 4.34 and os-ken: in a run, in a shell's network, and by `ryu-manager` as docs/ryu.md has it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from insitu import ryu_environment, table
from insitu.vm.kernel import Kernel
from scenarios import plan as plans
from scenarios import planner, records
from scenarios.load import load
from tests.conftest import PROJECT

HELLO = PROJECT / "scenarios" / "hello.yaml"
FRAMEWORKS = ("os-ken", "ryu")
MOST_APART_NS = 1_000_000
PACKETS = (records.LinkUse, records.SliceUse, records.LinkTotal)  # an acknowledgement more or less
SESSION = {
    "device": {"ipv4Address": {"publicAddress": "10.0.0.5", "privateAddress": "10.0.0.5"}},
    "applicationServer": {"ipv4Address": "10.0.0.4"},
    "qosProfile": "QOS_M",
    "duration": 60,
}
TYPED = f"""\
nef curl -sS http://10.0.0.2:8080/quality-on-demand/v1/sessions -H 'Content-Type: application/json' -d '{json.dumps(SESSION)}'
dpctl dump-flows --no-stats
"""


@pytest.fixture(scope="module", autouse=True)
def _prepared(kernel: Kernel, library: Path) -> None:
    """What all of them need."""
    ryu_environment.make()


def insitu(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insitu.cli", *map(str, arguments)]
    return subprocess.run(command, input=typed, capture_output=True, text=True, cwd=PROJECT, check=False)


def tables_with_a_session(framework: str) -> str:
    done = insitu("shell", HELLO, "--set", f"controller={framework}", typed=TYPED)
    assert done.returncode == 0, done.stderr
    assert '"qosStatus":"AVAILABLE"' in done.stdout, done.stdout
    return done.stdout[done.stdout.index("*** ") :]


def test_both_set_the_same_flow_tables() -> None:
    under = [tables_with_a_session(framework) for framework in FRAMEWORKS]
    assert under[0].count("set_queue:64") == 2 * 2, under[0]  # both directions at the gNB and its cell
    assert under[0] == under[1]


def fields(event: Any) -> tuple[list[Any], list[int]]:
    """What an event says; times apart, and without the reason, which names some."""
    said = msgspec.to_builtins(event)
    said.pop("reason", None)
    times = [said.pop(name) for name in list(said) if name == "t" or name.endswith("_ns")]
    return [type(event).__name__, *said.values()], times


def test_both_give_the_same_run_but_for_the_clocks_phase(tmp_path: Path) -> None:
    """How long a framework takes to start shifts the run's phase, by which a switch answers earlier or later."""
    sequences = []
    for framework in FRAMEWORKS:
        done = insitu("run", HELLO, "--set", f"controller={framework}", "--out", tmp_path / framework, "--json")
        assert done.returncode == 0, done.stderr
        events = [e for e in table.read(tmp_path / framework / "events.parquet") if not isinstance(e, PACKETS)]
        sequences.append([fields(event) for event in sorted(events, key=lambda event: event.node)])
    ours, theirs = sequences
    assert [said for said, _ in ours] == [said for said, _ in theirs]
    apart = [
        abs(a - b) for (_, mine), (_, other) in zip(ours, theirs, strict=True) for a, b in zip(mine, other, strict=True)
    ]
    assert max(apart) <= MOST_APART_NS
    versions = json.loads((tmp_path / "ryu" / "provenance.json").read_text())["versions"]
    assert versions["ryu"] == ryu_environment.require().name


def test_ryu_manager_runs_it_as_the_page_says(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "ryu.md").read_text()
    (script,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (tmp_path / "session.sh").write_text(script)
    plan = planner.decide(load(HELLO), 0, planner.Published({}, ""))
    (tmp_path / "plan.json").write_bytes(plans.canonical(plan))
    environment = [f"RYU={ryu_environment.require() / 'bin'}", f"PYTHONPATH={PROJECT}"]
    done = insitu("vm", "exec", "--", "env", *environment, "bash", tmp_path / "session.sh", tmp_path / "plan.json")
    said = done.stdout + done.stderr  # Mininet prints what its commands say as errors
    assert done.returncode == 0, said
    assert "every switch is set; sessions are asked for at 127.0.0.1:8080" in said
    assert '"name":"QOS_M"' in said
    assert " 0% packet loss" in said
    assert '"qosStatus":"AVAILABLE"' in said
    assert said.count("set_queue:64") == 2 * 2
    assert re.search(r"class htb 1:41 parent 1:f000 .* rate 8Mbit", said), said


def test_without_a_plan_it_says_so_and_ends() -> None:
    bin = ryu_environment.require() / "bin"
    done = subprocess.run(
        [bin / "ryu-manager", "controller/app.py"], capture_output=True, text=True, cwd=PROJECT, env={}
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("insitu: no plan: set INSITU_PLAN")
