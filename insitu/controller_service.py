"""The controller's process: started, killed by a fault and started again. Its northbound socket outlives it, so requests wait."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from insitu.control import Control
from insitu.processes import Service
from linux import namespace
from scenarios import plan as plans
from scenarios import recording
from scenarios.plan import Plan


def name_of(number: int) -> str:
    """The controller that a run starts with is number 0."""
    return "controller" if number == 0 else f"controller{number + 1}"


def expected_statuses(plan: Plan) -> dict[str, int]:
    """How each controller of a run ends: one that the plan kills with minus the signal's number, the others with 0."""
    faults = [fault for fault in plan.faults if fault.kind == "controller"]
    killed = sum(not fault.up for fault in faults)
    started = 1 + sum(fault.up for fault in faults)
    return {name_of(number): -signal.SIGKILL if number < killed else 0 for number in range(started)}


_LISTENS = ("--ofp-listen-host=127.0.0.1", f"--ofp-tcp-listen-port={plans.OPENFLOW_PORT}")


class ControllerService:
    """One controller at a time. Each has a name, and so a log and records of its own; all have one journal."""

    def __init__(self, plan: Plan, folder: Path, control: Control) -> None:
        nef = next(host for host in plan.hosts if host.role == "nef")
        self._northbound = namespace.listening_socket(nef.name, plans.NORTHBOUND_PORT)
        self._folder, self._control, self._framework = folder, control, plan.controller
        self._started = 0

    def start(self) -> Service:
        name = name_of(self._started)
        self._started += 1
        ready, child_ready = os.pipe()
        channel = self._control.controllers_end()
        told = {
            "INSITU_NAME": name,
            "INSITU_PLAN": str(self._folder / "plan.json"),
            "INSITU_EVENTS": str(self._folder / "events"),
            "INSITU_JOURNAL": str(self._folder / "logs" / "controller.journal"),
            "INSITU_NORTHBOUND": str(self._northbound.fileno()),
            "INSITU_READY": str(child_ready),
            "INSITU_CONTROL": str(channel.fileno()),
            "INSITU_CONTROLLER": self._framework,
        }
        if self._framework == "ryu":
            told["PYTHONPATH"] = f"{plans.RYU_PACKAGES}:{os.environ['PYTHONPATH']}"
        with (self._folder / "logs" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *_as_we_are(), "-m", "controller.app", *_LISTENS],
                env=os.environ | told,
                pass_fds=(self._northbound.fileno(), child_ready, channel.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        process.returncode = 0  # so that subprocess does not wait for it when it is next used; we do
        os.close(child_ready)
        channel.close()
        return Service(name, process.pid, ready, None)

    def kill(self, service: Service) -> int:
        """As a crash does; gives the exit status. Its records are ended in its place, with the number that it had written."""
        os.kill(service.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(service.pid, 0)[1])
        recording.end(self._folder / "events", service.name)
        return status


def _as_we_are() -> list[str]:
    """An interpreter that looks for packages where this one does."""
    return ["-S"] if sys.flags.no_site else []
