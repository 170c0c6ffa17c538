"""A run and its machine: that all is set, and how true the emulation was."""

from typing import Literal

from scenarios.records.event import Event


class Started(Event, frozen=True):
    """The run starts now: everything is ready."""


class Ended(Event, frozen=True):
    """The process wrote all that it had: `events` before this one."""

    events: int


class Checked(Event, frozen=True):
    """All settings of an interface were read back from the kernel; each that is not as planned is a `Setting`."""

    interface: str
    settings: int


class Setting(Event, frozen=True):
    """A setting of an interface that the kernel reads back otherwise than it was planned."""

    interface: str
    setting: str
    planned: str
    read: str


class Ready(Event, frozen=True):
    """A part of the machine is up: `what`, with how many pieces."""

    what: str
    pieces: int


class Clock(Event, frozen=True):
    """The machine woke for something planned at `planned_ns` (ns since the run's start)."""

    planned_ns: int


class Idle(Event, frozen=True):
    """The share of the second before `t` in which the machine's CPU had nothing to do (real clock)."""

    idle: float


class Lateness(Event, frozen=True):
    """By how many ns a timer, or a packet of the probe link, came after its time (real clock)."""

    of: Literal["timer", "packet"]
    late_ns: int


class Lost(Event, frozen=True):
    """Packets that an interface dropped over the run where the plan has no queue; "backlog" is the kernel's between two of them."""

    interface: str
    packets: int


class Process(Event, frozen=True):
    """A process of the run has ended; an exit status other than 0 is a death."""

    status: int
