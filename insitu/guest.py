"""The machine's side of a run: plan -> network, controller, services -> records. Runs as root, in the guest or on a host.

`python -m insitu.guest FOLDER LIBRARY`: FOLDER holds plan.json and takes the records, LIBRARY is the published library.
"""

import asyncio
import ctypes
import gc
import heapq
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path

from edge_nodes import clock
from insitu import fidelity, processes
from insitu.captures import Captures, process_name
from insitu.control import Control
from insitu.controller_service import ControllerService, expected_statuses
from insitu.handovers import Handovers, Move, moves_by_time, prepared_at
from insitu.processes import Channel, ProcessError, Service
from insitu.services import run_devices, run_traffic, serve_library
from insitu.usage import LinkUsage
from linux import namespace, tree
from linux.tree import Reading
from scenarios import plan as plans
from scenarios import recording, records
from scenarios.plan import Change, Device, End, Fault, Library
from topology import openvswitch
from topology.net import Network

SECOND = 1_000_000_000
NUDGE_NS = 10_000_000
CONNECTING_NS = 1_200_000_000  # Open vSwitch tries again after a second
DRAIN_S = 60.0  # in which the processes end after the run; with a real clock one that is late catches up first


class Run:
    """One run in this machine."""

    def __init__(self, folder: Path, published: Path) -> None:
        self.folder, self.published = folder, published
        self.plan = plans.parse((folder / "plan.json").read_bytes())
        for name in ("events", "logs"):
            (folder / name).mkdir(exist_ok=True)
        self.recorder = recording.Recorder(folder / "events", "machine")
        self.services: list[Service] = []
        self.statuses: dict[str, int] = {}
        self._agenda: list[tuple[int, int, int, Callable[[int], None]]] = []  # when, rank, number: a heap
        self._noted = 0
        self._progress = (folder / "progress").open("ab", buffering=0)

    def payloads(self) -> list[Path]:
        """The manifests of payload models."""
        return [self.folder / "payloads" / f"{name}.json" for name in self.plan.payloads]

    def execute(self) -> None:
        """Everything from the first process to the last record. Raises ProcessError when the run cannot go on."""
        self._phase("network")
        network = Network(self.plan)
        control = Control()
        self._controllers = ControllerService(self.plan, self.folder, control)
        self._controller = self._controllers.start()
        network.start()
        self._phase("controller")
        processes.wait_until_ready([self._controller], openvswitch.nudge)
        network.trust_controller()
        self._phase("services")
        self._check_settings(network)
        gc.freeze()
        libraries = [self._spawn(entry.host, entry) for entry in self.plan.libraries]
        workers = [self._spawn_devices(), *([self._spawn_traffic()] if self.plan.flows else [])]
        workers += [self._spawn_sampler()] if self.plan.machine.clock == "real" else []
        self.services = [self._controller, *libraries, *workers]
        processes.wait_until_ready([*libraries, *workers])
        captures = Captures(self.plan.captures, self.folder)
        capturing = captures.spawn()
        self.services += capturing
        captures.wait_until_listening(capturing)
        self._phase("run")
        origin = self._start_time()
        self.recorder.write(records.Started(origin, "machine"))
        processes.start([*libraries, *workers], origin)
        losses = fidelity.Losses(self.plan)
        self._follow_the_plan(network, control, origin)
        self._phase("end")
        self.statuses |= processes.finish([s for s in workers if s.name not in self.statuses], DRAIN_S)
        for lost in losses.events():
            self.recorder.write(lost)
        captures.settle()
        self._count(network)
        self.statuses |= processes.stop([s for s in self.services if s.name not in self.statuses], DRAIN_S)
        for event in captures.events(origin):
            self.recorder.write(event)

    def close(self) -> None:
        """Writes what is known of the processes; those that are left are ended."""
        left = [service for service in self.services if service.name not in self.statuses]
        self.statuses |= processes.stop(left, DRAIN_S)
        for name, status in sorted(self.statuses.items()):
            self.recorder.write(records.Process(self.recorder.now(), name, status))
        self.recorder.close()
        self._phase("down")

    def _start_time(self) -> int:
        """Now; under the virtual clock a full 10 s, so that what came before does not show in the run. The tiers have a second
        at least to get ready for it."""
        now = time.monotonic_ns()
        return now if self.plan.machine.clock == "real" else -(-(now + SECOND) // (10 * SECOND)) * 10 * SECOND

    def _phase(self, name: str) -> None:
        """Tells the host how far the run is."""
        self._progress.write(f"{name}\n".encode())

    def _spawn(self, name: str, entry: Library) -> Service:
        def body(channel: Channel) -> None:
            namespace.enter(entry.host)
            asyncio.Runner(loop_factory=clock.event_loop).run(serve_library(self, entry, channel))

        return processes.spawn(name, body, self.folder / "logs" / f"{name}.log")

    def _spawn_devices(self) -> Service:
        def body(channel: Channel) -> None:
            asyncio.Runner(loop_factory=clock.event_loop).run(run_devices(self, channel))

        return processes.spawn("devices", body, self.folder / "logs" / "devices.log")

    def _spawn_traffic(self) -> Service:
        return processes.spawn(
            "traffic", lambda channel: run_traffic(self, channel), self.folder / "logs" / "traffic.log"
        )

    def _spawn_sampler(self) -> Service:
        return processes.spawn(
            "fidelity",
            lambda channel: fidelity.sample(self.plan, self.folder, channel),
            self.folder / "logs" / "fidelity.log",
        )

    def _check_settings(self, network: Network) -> None:
        for end, readings in groupby(network.read_back(), key=lambda read: read[0]):
            self._record_readings(end, [reading for _, reading in readings])

    def _record_readings(self, end: End, readings: list[Reading]) -> None:
        """Each setting that differs from the plan, and how many were compared."""
        for reading in readings:
            if reading.planned != reading.read:
                self.recorder.write(records.Setting(self.recorder.now(), end.node, end.interface, *reading))
        self.recorder.write(records.Checked(self.recorder.now(), end.node, end.interface, len(readings)))

    def _follow_the_plan(self, network: Network, control: Control, origin: int) -> None:
        """Handovers, faults, changes of links and samples at their times; a process that dies ends the run."""
        # At one time the sample comes first: the others keep this process busy for a while
        plan, usage, handovers = self.plan, LinkUsage(self.plan), Handovers(network, control, self.recorder)
        samples = range(plan.sample_interval_ns, plan.duration_ns + 1, plan.sample_interval_ns)
        for at in samples:
            self._note(at, 0, partial(self._sample, usage))
        for change in plan.changes:
            self._note(change.time_ns, 1, partial(self._change, network, change))
        for fault in plan.faults:
            self._note(fault.time_ns, 2, partial(self._fail, network, fault))
        for at, moves in moves_by_time(plan).items():
            self._note(at, 3, partial(self._hand_over, handovers, moves))
            for device, place in moves:
                self._note(prepared_at(device, place), 4, partial(self._prepare, handovers, device, place))
        while self._agenda:
            at, _, _, action = heapq.heappop(self._agenda)
            time.sleep(max(0, origin + at - time.monotonic_ns()) / SECOND)
            action(at)

    def _note(self, at: int, rank: int, action: Callable[[int], None]) -> None:
        """Has something done at a time of the run; at one time by rank, then in the order of being noted."""
        self._noted += 1
        if at <= self.plan.duration_ns:
            heapq.heappush(self._agenda, (at, rank, self._noted, action))

    def _sample(self, usage: LinkUsage, at: int) -> None:
        for event in usage.sample():
            self.recorder.write(event)
        if at % SECOND == 0:
            self.recorder.write(records.Clock(self.recorder.now(), "machine", at))
            self._phase(f"at {at // SECOND}")
            self._stop_if_one_died(at)

    def _change(self, network: Network, change: Change, _: int) -> None:
        end, readings = network.change(change)
        self._record_readings(end, readings)
        now, shape = self.recorder.now(), change.shape
        what = (shape.rate_bps, shape.delay_ns, shape.jitter_ns, shape.loss)
        self.recorder.write(records.Changed(now, end.node, change.link, *what))

    def _fail(self, network: Network, fault: Fault, at: int) -> None:
        """A thing goes down, or comes back."""
        self.recorder.write(records.Fault(self.recorder.now(), fault.name, fault.kind, fault.up))
        if fault.kind == "link":
            network.set_link(fault.name, fault.up)
        elif fault.kind == "switch":
            network.set_switch(fault.name, fault.up)
        elif fault.up:
            self._controller = self._controllers.start()
            self.services.append(self._controller)
        else:
            self.statuses[self._controller.name] = self._controllers.kill(self._controller)
        if fault.up and fault.kind != "link":
            self._connect(at + CONNECTING_NS, at)

    def _connect(self, until: int, at: int) -> None:
        """Has the switches look at their connections to the controller until each has had the time for one."""
        openvswitch.nudge()
        if at < until:
            self._note(at + NUDGE_NS, 5, partial(self._connect, until))

    def _prepare(self, handovers: Handovers, device: Device, place: int, _: int) -> None:
        handovers.prepare(device, place)

    def _hand_over(self, handovers: Handovers, moves: list[Move], _: int) -> None:
        handovers.carry_out(moves)

    def _stop_if_one_died(self, at: int) -> None:
        self.statuses |= processes.ended([s for s in self.services if s.name not in self.statuses])
        may_end = {"traffic", *(process_name(capture) for capture in self.plan.captures)}  # a full capture ends
        killed = {name: status for name, status in expected_statuses(self.plan).items() if status}
        died = [
            name
            for name, status in self.statuses.items()
            if status != killed.get(name, 0) or at < self.plan.duration_ns and name not in may_end | killed.keys()
        ]
        if died:
            raise ProcessError(f"{died[0]} died {at // SECOND} s into the run; see logs/{died[0]}.log")

    def _count(self, network: Network) -> None:
        names = {tree.ENDED: "ended sessions", **{entry.queue: entry.name for entry in self.plan.slices}}
        for link, end, count in network.counts():
            now = self.recorder.now()
            part = "wire" if count.queue is None else names[count.queue]
            self.recorder.write(records.LinkTotal(now, end.node, link.name, part, count.bytes, count.dropped))


def _wake_on_time() -> None:
    """Without this the kernel lets every sleep of this process and its children be 50 us late, to save power."""
    PR_SET_TIMERSLACK = 29
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)


def main() -> int:
    _wake_on_time()
    run = Run(Path(sys.argv[1]), Path(sys.argv[2]))
    try:
        run.execute()
    except ProcessError as error:
        (run.folder / "failure").write_text(f"{error}\n")
        return 1
    finally:
        run.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
