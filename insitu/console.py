"""The machine's side of `insitu shell`: a network, up, with Mininet's CLI.

`python -m insitu.console WORK plan PLAN` or `python -m insitu.console WORK topology FILE:NAME`; WORK is the folder that the
user is in.
"""

import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import mininet.log
from mininet.cli import CLI
from mininet.net import Mininet

from insitu import processes
from insitu.control import Control
from insitu.controller_service import ControllerService
from scenarios import plan as plans
from topology import custom, openvswitch
from topology.link import Link
from topology.net import Network

CONNECT_LIMIT_S = 30  # for a topology's switches to find their controller
HOSTS = Path("/etc/hosts")


class Console(CLI):
    """Mininet's CLI; without a terminal it prints no prompt, and `#` starts a comment in a sourced file too."""

    identchars = CLI.identchars + "-."  # names of nodes have them

    def __init__(self, network: Mininet, commands: TextIO) -> None:
        if not commands.isatty():
            self.prompt, self.use_rawinput = "", False
        super().__init__(network, stdin=commands)

    def onecmd(self, line: str) -> Any:
        return super().onecmd(self.precmd(line))

    def do_EOF(self, line: str) -> Any:
        """Exit"""
        return super().do_EOF(line) if self.isatty() else True

    def do_xterm(self, line: str, term: str = "xterm") -> None:
        """Not here: the machine has no display."""
        mininet.log.error("the machine has no display: give the node's command here, or start another insitu shell\n")

    def do_gterm(self, line: str) -> None:
        """Not here: the machine has no display."""
        self.do_xterm(line)

    def do_x(self, line: str) -> None:
        """Not here: the machine has no display."""
        self.do_xterm(line)


class ScenarioConsole(Console):
    """The CLI of a scenario's network."""

    def do_slices(self, line: str) -> None:
        """The slices of links: what each is guaranteed and may have at most, and what it has sent and dropped.
        Usage: slices [link ...]"""
        links = {link.name for link in self.mn.plan.links}
        wanted = set(line.split()) or links
        if unknown := wanted - links:
            mininet.log.error(f"no link {', '.join(sorted(unknown))}; there are {', '.join(sorted(links))}\n")
            return
        rows = [("link", "from", "slice", "guarantee", "ceiling", "sent", "dropped"), *_slices(self.mn, wanted)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            mininet.log.output("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")

    def do_switch(self, line: str) -> None:
        """Not here: a switch has the flows and queues of the scenario; take its links down (`link A B down`)."""
        mininet.log.error("a switch runs with its scenario; take its links down instead: link A B down\n")


def _slices(network: Network, links: set[str]) -> Iterator[tuple[str, ...]]:
    """A row for each class of each end of the links, one where there are none, and one for the wire, where packets are lost."""
    for link, end, count in network.counts():
        if link.name in links:
            queue = next((queue for queue in end.queues if queue.number == count.queue), None)
            name = "(wire)" if count.queue is None else queue.slice if queue else "-"
            least, most = (queue.rate_bps, queue.ceiling_bps) if queue else (end.shape.rate_bps, end.shape.rate_bps)
            rates = (f"{least / 10**6:g} Mbit/s", f"{most / 10**6:g} Mbit/s")
            yield link.name, end.node, name, *rates, f"{count.bytes} B", str(count.dropped)


def scenario_network(plan_file: Path) -> Network:
    """A plan's network with its controller, every flow set, the names of its hosts known to all. Raises ProcessError."""
    plan = plans.parse(plan_file.read_bytes())
    folder = plan_file.parent
    (folder / "events").mkdir()  # where the controller writes
    with HOSTS.open("a") as file:
        file.writelines(f"{host.ip} {host.name}\n" for host in plan.hosts)
    network = Network(plan)
    controller = ControllerService(plan, folder, Control()).start()
    network.start()
    processes.wait_until_ready([controller], openvswitch.nudge)
    return network


def topology_network(file: Path, wanted: str) -> Mininet:
    """A user's topology with our links and Mininet's default controller. Raises TopologyError."""
    topology = custom.load(file, wanted)
    with custom.errors_of(file, wanted):  # what its nodes and links are given, and classes of its own
        network = Mininet(topo=topology, link=Link, waitConnected=CONNECT_LIMIT_S)
        network.start()
    with HOSTS.open("a") as names:
        names.writelines(f"{host.IP()} {host.name}\n" for host in network.hosts if host.IP())
    return network


def _commands() -> TextIO:
    """Our input: itself if it is a terminal; else a copy, so that what the commands start does not read them."""
    if sys.stdin.isatty():
        return sys.stdin
    commands = os.fdopen(os.dup(0))
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    return commands


def _speak() -> None:
    """What commands print goes to standard output, in order; errors go to standard error."""
    assert isinstance(sys.stdout, TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True)
    log = mininet.log.lg
    log.ch.setStream(sys.stdout)
    log.ch.addFilter(lambda record: record.levelno < mininet.log.LEVELS["warning"])
    errors = mininet.log.StreamHandlerNoNewline(sys.stderr)
    errors.setLevel(mininet.log.LEVELS["warning"])
    log.addHandler(errors)


def main() -> int:
    work, kind, what = sys.argv[1:]
    _speak()
    try:
        if kind == "plan":
            network, console = scenario_network(Path(what)), ScenarioConsole
            os.chdir(work)
        else:
            os.chdir(work)
            file, _, wanted = what.rpartition(":")
            network, console = topology_network(Path(file), wanted), Console
    except custom.TopologyError as error:
        print(error, file=sys.stderr)
        return 2
    except processes.ProcessError as error:
        print(error, file=sys.stderr)
        return 3
    os.environ.pop("PYTHONPATH", None)  # ours is not for what the user runs
    console(network, _commands())
    return 0


if __name__ == "__main__":
    sys.exit(main())
