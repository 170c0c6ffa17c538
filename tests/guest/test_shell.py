"""`insitu shell`, as its users meet it: at a terminal, from standard input, with their own topology."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from insitu.vm.kernel import Kernel
from tests.conftest import PROJECT

SCENARIO = """
name: shell
network:
  regions: [{name: west, gnbs: [{name: quad, radio: {rate: 100 Mbit/s, delay: 2 ms}}]}]
slices: [{name: models, guarantee: 40 %, ceiling: 60 %}, {name: default}]
devices: [{name: phone, count: 16, at: quad, slice: models}]
duration: 5 s
"""
TOPOLOGY = """
from mininet.topo import Topo

class Chain(Topo):
    def build(self, n=2, bw=10):
        switches = [self.addSwitch(f"s{i + 1}") for i in range(n)]
        for i, switch in enumerate(switches):
            self.addLink(self.addHost(f"h{i + 1}"), switch, bw=bw, delay="5ms")
        for one, other in zip(switches, switches[1:]):
            self.addLink(one, other)

class Broken(Topo):
    def build(self):
        self.addLink("a", self.addHost("b"))

topos = {"chain": Chain}
"""
INSITU = [sys.executable, "-m", "insitu.cli", "shell"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    (tmp_path / "t.py").write_text(TOPOLOGY)
    return tmp_path


def shell(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [*INSITU, *arguments], input=typed, capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )


COMMANDS = {
    "nodes": r"central core nef phone1 phone10 phone11 .* phone9 quad quad-cell quad-edge west west-local\n",
    "net": r"\nphone1 eth0:ue0\n",
    "dump": r"<Host phone1: eth0:10\.0\.0\.\d+ pid=None> \n",  # no shell yet
    "links": r"\nquad-radio quad-cell:\S+<->quad:\S+ \(OK OK\) \n",
    "phone1 ping -c1 central": r"1 packets transmitted, 1 received, 0% packet loss",
    "py phone1": r"<Host phone1: eth0:10\.0\.0\.\d+ pid=\d+> ",
    "px print(net.get('phone16').cmd('ping -c1 west-local'))": r"PING west-local .* 0% packet loss",
    "px print(phone2.popen('hostname', '-I').communicate()[0])": r"b'10\.0\.0\.\d+ \\n'",
    "px phone2.sendCmd('sleep 1; echo later'); print(phone2.waitOutput())": "later",
    "px phone3.sendCmd('echo monitored'); print(next(net.monitor([phone3])))": r"<Host phone3: .*> , 'monitored",
    "py net.pingPair()": r"central -> nef \nnef -> central \n\*\*\* Results: 0% dropped \(2/2 received\)",
    "iperf phone1 quad-edge": r"Results: \['95\.\d Mbits/sec', '9\d\.\d Mbits/sec'\]",
    "iperfudp 5M phone1 quad-edge": r"Results: \['5M', '5\.2\d Mbits/sec', '5\.2\d Mbits/sec'\]",
    "slices quad-radio": r"quad-radio  quad +models +40 Mbit/s +60 Mbit/s +\d+ B +0\n",
    "link phone1 quad-cell down": "",
    "phone1 ping -c1 -W1 west-local": "1 packets transmitted, 0 received",
    "link phone1 quad-cell up": "",
    "phone1 ping -c1 -W1 west-local  # comments too": "1 packets transmitted, 1 received",
    "dpctl dump-flows": r"\*\*\* quad-cell -+\n.*set_queue",
    "sh pwd; cat": "{folder}\n",
    "source more.txt": r"hello from 10\.0\.0\.\d+",
    "time phone4 true": r"\*\*\* Elapsed time: 0\.\d+ secs",
    "west-local hostname -I": r"10\.0\.0\.\d+ \n",
}
REFUSED = {
    "xterm phone1": "the machine has no display",
    "switch quad stop": "a switch runs with its scenario",
    "link phone1 central down": "no link between phone1 and central",
    "slices nowhere": "no link nowhere; there are central-link, ",
    "nonsense": r"\*\*\* Unknown command: nonsense",
}


def test_a_scenarios_network_from_standard_input(kernel: Kernel, folder: Path) -> None:
    (folder / "more.txt").write_text("# a comment\nphone4 echo hello from phone4\n")
    marked = "".join(f"sh echo @@\n{command}\n" for command in COMMANDS)
    addition = "py net.addHost('x')\npy net.addLink(phone1, phone2)\n"
    done = shell(folder, "s.yaml", typed=marked + "sh echo @@\n" + addition + "\n".join(REFUSED))
    assert done.returncode == 0, done.stderr
    before, *outputs, additions = done.stdout.split("@@\n")
    assert before == ""
    for (command, expected), output in zip(COMMANDS.items(), outputs, strict=True):
        assert re.search(expected.replace("{folder}", re.escape(str(folder))), output, re.DOTALL), (command, output)
    assert additions.count("the network is as its scenario says") == 2
    assert "mininet>" not in done.stdout and "\r" not in done.stdout
    for said, line in zip(REFUSED.values(), done.stderr.splitlines(), strict=True):
        assert re.match(said, line)


def test_one_seed_gives_one_output(kernel: Kernel, folder: Path) -> None:
    typed = "phone1 ping -c3 central\nsh cat /proc/sys/kernel/random/uuid\niperf phone1 phone2\n"
    first, second = (shell(folder, "s.yaml", "--seed", "5", typed=typed) for _ in range(2))
    assert first.returncode == 0 and first.stdout == second.stdout


def test_a_users_topology(kernel: Kernel, folder: Path) -> None:
    typed = "nodes\npingall\nh1 ping -c2 h3\niperf h1 h3\npx print(h1.cmd('ping -c1 h2'))\n"
    done = shell(folder, "--topo", "t.py:chain,3", typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    assert "c0 h1 h2 h3 s1 s2 s3" in done.stdout
    assert "Results: 0% dropped (6/6 received)" in done.stdout
    assert re.search(r"time=20\.\d ms\n(.*\n)*.* 0% packet loss", done.stdout)
    assert re.search(r"Results: \['9\.\d+ Mbits/sec', '9\.\d+ Mbits/sec'\]", done.stdout)
    assert "PING h2 (10.0.0.2)" in done.stdout


def test_a_topology_that_cannot_be_made_is_one_line(kernel: Kernel, folder: Path) -> None:
    done = shell(folder, "--topo", "t.py:Broken", typed="nodes\n")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "t.py:14: KeyError: 'a'\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "insitu shell: give a scenario FILE, or --topo FILE.py:NAME\n"),
        (["--topo", "none.py:X"], "--topo none.py:X: no such file; write FILE.py:NAME\n"),
        (["--topo", "t.py:X", "--set", "a=b"], "--set changes a scenario; a topology's arguments are written"),
        (["none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(folder: Path, arguments: list[str], said: str) -> None:
    done = shell(folder, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said) and done.stderr.count("\n") == 1


class Terminal:
    """A person at a terminal who reads before they type."""

    def __init__(self, *command: str) -> None:
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def read_until(self, wanted: bytes) -> bytes:
        seen, end = b"", time.monotonic() + 120
        while wanted not in seen:
            assert select.select([self._end], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(self._end, 4096)
        return seen

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)


def test_ctrl_c_at_a_terminal_interrupts_the_command_alone(
    kernel: Kernel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    terminal = Terminal(*INSITU, str(folder / "s.yaml"))
    terminal.read_until(b"mininet> ")
    for command, started in ((b"phone1 ping central", b"icmp_seq=2"), (b"sh sleep 1000000000", b"1000000000\r\n")):
        terminal.type(command + b"\r")
        terminal.read_until(started)
        terminal.type(b"\x03")
        terminal.read_until(b"mininet> ")
    terminal.type(b"phone1 ping -c1 central\r")
    assert b"1 received" in terminal.read_until(b"mininet> ")
    terminal.type(b"exit\r")
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 0
