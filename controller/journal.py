"""What outlives the controller's process: a line for each step of a session, written before the step has any effect.

The file is JSON lines, only ever appended to. A process that dies may leave its last line torn: that step has had no effect. Any
other line that cannot be read is an error. `State` is what a prefix of the lines says; every prefix says something consistent:
a session is in it that may have something set, and is AVAILABLE if whoever asked for it may have been told so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from controller.session import Session


class Line(msgspec.Struct, frozen=True, tag_field="step", tag=str.lower):
    """One step."""


class Numbered(Line, frozen=True):
    """The ids of sessions up to this number have been given out."""

    number: int


class Written(Line, frozen=True):
    """A session is, or is about to be, as it stands here, with flows on `switches`; `shared` says that it has its slice's class."""

    session: Session
    switches: tuple[str, ...]
    shared: bool


class Ended(Line, frozen=True):
    """A session is about to go, whatever is set of it."""

    id: str


class Known(Line, frozen=True):
    """What the northbound has to know of a resource to answer for it."""

    id: str
    content: msgspec.Raw


class Forgotten(Line, frozen=True):
    """There is no such resource any more."""

    id: str


AnyLine = Numbered | Written | Ended | Known | Forgotten


class JournalError(Exception):
    """The file is not a journal; the message says which line."""


@dataclass
class State:
    """What a journal says at its end: the last id's number, sessions by id, resources by id."""

    number: int = 0
    sessions: dict[str, Written] = field(default_factory=dict)
    resources: dict[str, msgspec.Raw] = field(default_factory=dict)

    def take(self, line: AnyLine) -> None:
        match line:
            case Numbered(number):
                self.number = number
            case Written(session):
                self.sessions[session.request.id] = line
            case Ended(id):
                self.sessions.pop(id, None)
            case Known(id, content):
                self.resources[id] = content
            case Forgotten(id):
                self.resources.pop(id, None)


def state(lines: Iterable[AnyLine]) -> State:
    result = State()
    for line in lines:
        result.take(line)
    return result


class Journal:
    """The file, with what it says: `found` is of those that wrote it before."""

    def __init__(self, file: Path) -> None:
        """Raises JournalError."""
        whole = _whole_lines(file)
        self.found = state(_read(whole, file.name))
        self._file: IO[bytes] = file.open("ab", buffering=0)
        self._file.truncate(len(whole))  # a torn line would spoil the next

    @property
    def is_new(self) -> bool:
        return self.found == State()

    def write(self, line: AnyLine) -> None:
        """It is in the file when this returns, also when the process is killed then."""
        self._file.write(msgspec.json.encode(line) + b"\n")


def _whole_lines(file: Path) -> bytes:
    """All but a last line that was torn."""
    data = file.read_bytes() if file.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def _read(data: bytes, name: str) -> Iterable[AnyLine]:
    decoder = msgspec.json.Decoder(AnyLine)
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise JournalError(f"{name}, line {number}: {error}") from None
