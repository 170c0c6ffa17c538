"""Mininet's own scripts, unchanged, under `insitu vm exec`. docs/mininet.md says which do not run, and why."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from insitu.vm.kernel import Kernel
from tests.conftest import PROGRAMS, PROJECT

FOLDER = Path("/usr/share/doc/mininet/examples")


class Example(NamedTuple):
    """What is typed at its prompts, and what it prints then: an expression and how often it is found at least."""

    typed: list[str]
    printed: str
    times: int = 1
    needs: str | None = None  # a command of the host that is not Mininet's
    before: str = ""  # in the machine's shell
    arguments: str = ""


EXAMPLES = {
    "bind": Example(["h1 touch /var/mn/mine", "h2 ls /var/mn", "h1 ls /var/mn"], r"(?m)^mine$"),
    "controllers": Example(["pingall"], r"Results: 0% dropped \(12/12 received\)"),
    # It pings before its switches are connected, which it does not wait for; at its prompt they are
    "controllers2": Example(["pingall"], r"Results: 0% dropped \(12/12 received\)"),
    "emptynet": Example(["pingall"], r"Results: 0% dropped \(2/2 received\)"),
    "hwintf": Example(
        ["pingall"],
        r"Results: 0% dropped \(2/2 received\)",
        before="ip link add hw0 type dummy",
        arguments="hw0",
    ),
    "intfoptions": Example([], r"Results: \['9.\d+ Mbits/sec'|h1->h2: 1/1, rtt min/avg/max/mdev 15.00\d", times=2),
    "linuxrouter": Example(["pingall"], r"Results: 0% dropped \(12/12 received\)"),
    "mobility": Example([], r"Results: \d+% dropped", times=4),
    "multilink": Example(["h1 ping -c1 h2"], " 0% packet loss"),
    # Of each six seconds one is for a ping that is lost, and the first lines may go to the command that starts them
    "multiping": Example([], "1 received, 0% packet loss", times=140),
    "multipoll": Example([], r"h\d: 64 bytes from 10.0.0.1", times=9),
    "multitest": Example([], r"Results: 0% dropped \(12/12 received\)"),
    "nat": Example(["h1 ping -c1 h4"], " 0% packet loss", needs="iptables"),
    "natnet": Example(["h1 ping -c1 h0", "h2 ping -c1 h0", "h0 ping -c1 -W1 h1"], " 0% packet loss", 2, "iptables"),
    "numberedports": Example([], r"Validated\.|Results: 0% dropped \(20/20 received\)", times=6),
    "popen": Example([], "5 received, 0% packet loss", times=5),
    "popenpoll": Example([], r"1\d received, 0% packet loss", times=3),
    "scratchnet": Example([], " 0% packet loss"),
    "vlanhost": Example(["pingall 1"], r"Results: 80% dropped \(6/30 received\)", needs="vconfig"),
}


def vm_exec(*command: str, typed: str = "", limit_s: int = 600) -> subprocess.CompletedProcess[str]:
    insitu = [sys.executable, "-m", "insitu.cli", "vm", "exec", "--limit", str(limit_s), "--"]
    return subprocess.run([*insitu, *command], input=typed, capture_output=True, text=True, cwd=PROJECT)


@pytest.fixture(scope="module")
def outcomes(kernel: Kernel) -> dict[str, tuple[int, str]]:
    """All of them in one guest."""
    asked = {
        name: [["sh", "-c", f"{example.before or ':'}; exec {FOLDER / name}.py {example.arguments}"], example.typed]
        for name, example in EXAMPLES.items()
        if example.needs is None or shutil.which(example.needs)
    }
    done = vm_exec("python3", str(PROGRAMS / "mininet_examples.py"), json.dumps(asked))
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_unchanged(outcomes: dict[str, tuple[int, str]], name: str) -> None:
    example = EXAMPLES[name]
    if name not in outcomes:
        pytest.skip(f"{example.needs} is not installed")
    status, output = outcomes[name]
    assert status == 0, output
    assert len(re.findall(example.printed, output)) >= example.times, output


def test_mn_takes_commands_from_standard_input(kernel: Kernel) -> None:
    """Also while a node runs a command, and with the iperf of Debian 12."""
    typed = "h1 ping -c1 h2\niperf h1 h2\npingall\n"
    done = vm_exec("mn", "--link", "tc,bw=10,delay=5ms", typed=typed, limit_s=120)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert " 0% packet loss" in output
    assert re.search(r"Results: \['9.\d+ Mbits/sec', '9.\d+ Mbits/sec'\]", output), output
    assert "Results: 0% dropped (2/2 received)" in output
