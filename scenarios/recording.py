"""How the events of a run are written and read.

Each process writes one file of JSON lines. Its last line is `Ended`, with the number of events before it, so that a lost event
or a process that died shows.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import msgspec

from scenarios import records


class Recorder:
    """Writes one process's events to `folder/<process>.jsonl`; without a folder, nowhere."""

    def __init__(self, folder: Path | None, process: str, *, at_once: bool = False) -> None:
        """`at_once`: each event is in the file when `write` returns, also when the process is killed then."""
        self.process = process
        file, mode = (folder / f"{process}.jsonl", "xb") if folder else (Path(os.devnull), "wb")
        self._file: IO[bytes] = file.open(mode, buffering=0 if at_once else -1)
        self._encoder = msgspec.json.Encoder()
        self._count = 0

    def write(self, event: records.Event) -> None:
        self._file.write(self._encoder.encode(event) + b"\n")
        self._count += 1

    @staticmethod
    def now() -> int:
        """ns of the machine's monotonic clock, the virtual one under a virtual clock."""
        return time.monotonic_ns()

    def close(self) -> None:
        self._file.write(self._encoder.encode(records.Ended(self.now(), self.process, self._count)) + b"\n")
        self._file.close()


def end(folder: Path, process: str) -> None:
    """Ends the records of a process that was killed as planned, and that wrote each event at once."""
    with (folder / f"{process}.jsonl").open("r+b") as file:
        count = file.read().count(b"\n")
        file.write(msgspec.json.encode(records.Ended(Recorder.now(), process, count)) + b"\n")


class RecordsError(Exception):
    """Events were lost, or a file of events cannot be read."""


def read(folder: Path) -> list[records.AnyEvent]:
    """All events of a run, `t` since its start, in one order: by time, then process, then as written.

    What happened while everything was set up has `t` 0: how long that took is not part of the run.

    Raises RecordsError when an event was lost.
    """
    decoder = msgspec.json.Decoder(records.AnyEvent)
    keyed: list[tuple[int, str, int, records.AnyEvent]] = []
    for file in sorted(folder.glob("*.jsonl")):
        lines = file.read_bytes().splitlines()
        try:
            events = [decoder.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            raise RecordsError(f"{file.stem}: a record is broken: {error}") from None
        if not events or not isinstance(events[-1], records.Ended):
            raise RecordsError(f"{file.stem}: its last records are missing; the process ended early")
        if events[-1].events != len(events) - 1:
            raise RecordsError(f"{file.stem}: {events[-1].events} events were written, {len(events) - 1} arrived")
        keyed += [(event.t, file.stem, number, event) for number, event in enumerate(events)]
    start = next((event.t for *_, event in keyed if isinstance(event, records.Started)), None)
    if start is None:
        raise RecordsError("the run never started")
    keyed.sort(key=lambda key: (max(start, key[0]), key[1], key[2]))
    return [msgspec.structs.replace(event, t=max(0, event.t - start)) for *_, event in keyed]


def digest(events: Iterable[records.AnyEvent]) -> str:
    """SHA-256 of the canonical events: equal digests mean equal runs."""
    encoder = msgspec.json.Encoder(order="sorted")
    hasher = hashlib.sha256()
    for event in events:
        hasher.update(encoder.encode(event) + b"\n")
    return "sha256:" + hasher.hexdigest()
