"""What happened: one event schema for all processes of a run, and how events are written and read.

Each process writes one file of JSON lines. Its last line is `Ended`, with the number of events before it, so that a lost event
or a process that died shows. In the files `t` is ns of the machine's monotonic clock; `read` makes it ns since the run's start.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower, omit_defaults=False):
    """Something that happened at a node."""

    t: int
    node: str


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


class Need(Event, frozen=True):
    """The device noticed that another model fits its situation now."""

    model: str


class Inference(Event, frozen=True):
    model: str
    variant: str
    need: str  # the model that fits what the image shows
    correct: bool


class Requested(Event, frozen=True):
    """A device asked its edge library for a model."""

    download: str
    model: str
    library: str
    deadline_ns: int


class Chosen(Event, frozen=True):
    """A library chose a variant: the reason says what it had to fit."""

    download: str
    variant: str
    missing_bytes: int
    session: str  # "" without one
    reason: str


class FirstByte(Event, frozen=True):
    download: str


class BlockRejected(Event, frozen=True):
    """A block was missing, or its bytes were not those that its name promises."""

    download: str
    digest: str
    source: str
    reason: str


class Interrupted(Event, frozen=True):
    """A library did not give a device what it asked for, or broke off: what it said, and the bytes that had come from it."""

    download: str
    library: str
    bytes: int
    reason: str


class Resumed(Event, frozen=True):
    """A download goes on at a library with what came before: so many bytes, the last `offset` of them of an object in the air."""

    download: str
    library: str
    bytes: int
    object: str  # "" when none was in the air
    offset: int


class Cut(Event, frozen=True):
    """A download ends with a smaller variant than was planned, because the rest would come too late, or not at all."""

    download: str
    planned: str
    kept: str
    planned_bytes: int
    sent_bytes: int
    reason: str


class Runnable(Event, frozen=True):
    """A variant that is part of what is still arriving is loaded, and better than what the device runs."""

    download: str
    model: str
    variant: str
    bytes: int  # that had arrived when it was complete
    latency_ns: int
    on_time: bool
    accuracy: float = 0.0  # the variant's, as it was measured when it was published


class Completed(Event, frozen=True):
    """All blocks of the variant are at the device, each verified, and loaded."""

    download: str
    model: str
    variant: str
    bytes: int
    latency_ns: int
    on_time: bool
    accuracy: float = 0.0  # the variant's, as it was measured when it was published


class Failed(Event, frozen=True):
    download: str
    model: str
    reason: str


class Swapped(Event, frozen=True):
    """The device runs the new model; both accuracies are measured on the same recent images of its situation."""

    download: str
    model: str
    variant: str
    accuracy_before: float
    accuracy_after: float


class RolledBack(Event, frozen=True):
    """The device runs its old model again: of `images` recent ones the new one had `right_after` right, the old `right_before`."""

    download: str
    model: str
    variant: str
    old_model: str
    old_variant: str
    images: int
    right_before: int
    right_after: int


class Served(Event, frozen=True):
    """A library served an object, from its own cache (`hit`) or from upstream."""

    object: str
    bytes: int  # 0 where its size is not known yet
    hit: bool


class Pulled(Event, frozen=True):
    """A library pulled an object, verified, from a tier above (`source`)."""

    object: str
    bytes: int
    source: str


class PullFailed(Event, frozen=True):
    """A tier above was down, too slow or not to be understood when it was asked for so many objects (0: for a connection)."""

    source: str
    objects: int
    reason: str


class Evicted(Event, frozen=True):
    """A library's cache let go of an object, to make room."""

    object: str


class NotKept(Event, frozen=True):
    """A library passed an object on and could not keep it: its disk is full, or broken."""

    object: str
    bytes: int
    reason: str


class Prefetched(Event, frozen=True):
    """A library has pulled what it lacked of a model, `bytes`, as the plan had it; not `complete` where no tier had all."""

    model: str
    bytes: int
    complete: bool


class SessionAsked(Event, frozen=True):
    """Somebody asked the controller for a session; rates at the links, `down_bps` towards the device."""

    session: str
    slice: str
    device: str
    server: str
    profile: str
    download: str  # "" without one
    down_bps: int
    up_bps: int
    duration_ns: int


class Session(Event, frozen=True):
    """The controller's decision about a session: what it granted, and the time that it was charged for deciding."""

    session: str
    slice: str
    device: str
    requested_bps: int
    granted_bps: int
    decision: Literal["granted", "reduced", "refused"]
    variant: str = ""  # "" where the policy leaves it to the library
    charged_ns: int = 0


class SessionAvailable(Event, frozen=True):
    """The kernel has the session's classes at all ports of its path, and all its switches have confirmed its flows."""

    session: str
    slice: str
    queue: int


class SessionChanged(Event, frozen=True):
    """A session that lasts has another rate, variant, path or end. Causes: POLICY, HANDOVER, FAILURE, EXTENDED."""

    session: str
    slice: str
    granted_bps: int
    variant: str
    cause: str


class SessionEnded(Event, frozen=True):
    """Nothing of the session is left. Causes are CAMARA's: DURATION_EXPIRED, DELETE_REQUESTED, NETWORK_TERMINATED."""

    session: str
    slice: str
    cause: str = ""


class PolicyFailed(Event, frozen=True):
    """A policy raised or decided the impossible, and was not followed. `view`: the file in `logs` that made it so, if any."""

    why: str
    view: str = ""


class Notified(Event, frozen=True):
    """A session's sink was told of a status, or could not be: `answer` is its last HTTP status, 0 for none."""

    session: str
    qos_status: str
    attempts: int
    answer: int


class Handover(Event, frozen=True):
    """The device's port moved to another cell; for `away_ns` before it was at none.

    It was `prepared` when its routes led there before. Then these ns are the interruption; else it lasts until `Rerouted`.
    """

    cell: str
    prepared: bool
    away_ns: int


class Rerouted(Event, frozen=True):
    """The controller's flows lead to the device's new cell, all of them confirmed by barriers."""

    device: str
    cell: str
    flows: int


class Fault(Event, frozen=True):
    """The thing called `node` went down, or came back."""

    of: Literal["link", "switch", "controller"]
    up: bool


class Failover(Event, frozen=True):
    """The controller's flows lead over what is up, all of them confirmed by barriers: which links are down, entries changed."""

    down: str  # names, with spaces
    flows: int


class Changed(Event, frozen=True):
    """What the node sends by a link takes another way from now on."""

    link: str
    rate_bps: int
    delay_ns: int
    jitter_ns: int
    loss: float


class LinkUse(Event, frozen=True):
    """Bytes that left one end of a link since the sample before; `node` is that end's."""

    link: str
    bytes: int


class SliceUse(Event, frozen=True):
    """Of a `LinkUse` of a link with several slices: the bytes of one that had any."""

    link: str
    slice: str
    bytes: int


class LinkTotal(Event, frozen=True):
    """One slice's class of one port, or a link's `wire`, from the run's start to its end, as the kernel counted it."""

    link: str
    slice: str
    bytes: int
    dropped: int


class Received(Event, frozen=True):
    """A background flow: payload bytes sent and received over the run."""

    flow: str
    sent: int
    received: int


class Captured(Event, frozen=True):
    """A capture has ended: what its file holds, and what it does not.

    `dropped` packets passed while it was taken and are not in it; it ended with its last packet at `cut_ns` (ns since the run's
    start; 0 where that was before it) when it was full, and -1 says that it holds the whole run. Its time stamps count from 1970 by
    the machine's clock; the run started at `origin_ns` of it.
    """

    capture: str
    packets: int
    dropped: int
    cut_ns: int
    origin_ns: int


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


AnyEvent = (
    Started
    | Ended
    | Checked
    | Setting
    | Ready
    | Clock
    | Need
    | Inference
    | Requested
    | Chosen
    | FirstByte
    | BlockRejected
    | Interrupted
    | Resumed
    | Cut
    | Runnable
    | Completed
    | Failed
    | Swapped
    | RolledBack
    | Served
    | Pulled
    | PullFailed
    | Evicted
    | NotKept
    | Prefetched
    | SessionAsked
    | Session
    | SessionAvailable
    | SessionChanged
    | SessionEnded
    | PolicyFailed
    | Notified
    | Handover
    | Rerouted
    | Fault
    | Failover
    | Changed
    | LinkUse
    | SliceUse
    | LinkTotal
    | Received
    | Captured
    | Idle
    | Lateness
    | Lost
    | Process
)


class Recorder:
    """Writes one process's events to `folder/<process>.jsonl`; without a folder, nowhere."""

    def __init__(self, folder: Path | None, process: str, *, at_once: bool = False) -> None:
        """`at_once`: each event is in the file when `write` returns, also when the process is killed then."""
        self.process = process
        file, mode = (folder / f"{process}.jsonl", "xb") if folder else (Path(os.devnull), "wb")
        self._file: IO[bytes] = file.open(mode, buffering=0 if at_once else -1)
        self._encoder = msgspec.json.Encoder()
        self._count = 0

    def write(self, event: Event) -> None:
        self._file.write(self._encoder.encode(event) + b"\n")
        self._count += 1

    @staticmethod
    def now() -> int:
        """ns of the machine's monotonic clock, the virtual one under a virtual clock."""
        return time.monotonic_ns()

    def close(self) -> None:
        self._file.write(self._encoder.encode(Ended(self.now(), self.process, self._count)) + b"\n")
        self._file.close()


def end(folder: Path, process: str) -> None:
    """Ends the records of a process that was killed as planned, and that wrote each event at once."""
    with (folder / f"{process}.jsonl").open("r+b") as file:
        count = file.read().count(b"\n")
        file.write(msgspec.json.encode(Ended(Recorder.now(), process, count)) + b"\n")


class RecordsError(Exception):
    """Events were lost, or a file of events cannot be read."""


def read(folder: Path) -> list[AnyEvent]:
    """All events of a run, `t` since its start, in one order: by time, then process, then as written.

    What happened while everything was set up has `t` 0: how long that took is not part of the run.

    Raises RecordsError when an event was lost.
    """
    decoder = msgspec.json.Decoder(AnyEvent)
    keyed: list[tuple[int, str, int, AnyEvent]] = []
    for file in sorted(folder.glob("*.jsonl")):
        lines = file.read_bytes().splitlines()
        try:
            events = [decoder.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            raise RecordsError(f"{file.stem}: a record is broken: {error}") from None
        if not events or not isinstance(events[-1], Ended):
            raise RecordsError(f"{file.stem}: its last records are missing; the process ended early")
        if events[-1].events != len(events) - 1:
            raise RecordsError(f"{file.stem}: {events[-1].events} events were written, {len(events) - 1} arrived")
        keyed += [(event.t, file.stem, number, event) for number, event in enumerate(events)]
    start = next((event.t for *_, event in keyed if isinstance(event, Started)), None)
    if start is None:
        raise RecordsError("the run never started")
    keyed.sort(key=lambda key: (max(start, key[0]), key[1], key[2]))
    return [msgspec.structs.replace(event, t=max(0, event.t - start)) for *_, event in keyed]


def digest(events: Iterable[AnyEvent]) -> str:
    """SHA-256 of the canonical events: equal digests mean equal runs."""
    encoder = msgspec.json.Encoder(order="sorted")
    hasher = hashlib.sha256()
    for event in events:
        hasher.update(encoder.encode(event) + b"\n")
    return "sha256:" + hasher.hexdigest()
