"""Where a tier keeps objects: files named by their SHA-256.

A file gets its name when it is whole (written beside, renamed), so a process that dies leaves nothing that is read as an
object. Bytes are verified when a process first reads what it has not written itself, and again whenever the file has changed
since; what is found wrong is removed, recorded, and pulled again. Bytes that change while they are on their way are left to the
receiver's own check.
"""

import hashlib
import io
import os
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Protocol

from edge_nodes import http11
from edge_nodes.delivery import digest_of
from edge_nodes.http11 import Body, Data, Extent
from edge_nodes.tiers.caching import Policy
from scenarios import records

_NAME = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = ".new"
_READY = 256  # objects that are kept at hand: in memory when they are small, as an open file otherwise

_Stamp = tuple[int, int, int]  # inode, size and time of change of a file


class Unavailable(Exception):
    """No tier has the object, or none has it unbroken; the message says what each of them said."""


class Source(Protocol):
    """An object to be sent. It is not lost while somebody holds it, whatever is evicted meanwhile."""

    @property
    def bytes(self) -> int: ...

    def parts(self, offset: int = 0) -> AsyncIterator[Body]:
        """What comes from `offset` on, in parts, as it arrives. Raises Unavailable where no tier has it to its end."""


class Recorder(Protocol):
    """The part of a recorder that is needed."""

    def now(self) -> int: ...
    def write(self, event: records.Event) -> None: ...


class Objects(Protocol):
    """A store as a tier sees it."""

    def models(self, models: dict[str, Collection[str]]) -> None:
        """Tells which objects make up each model."""

    def get(self, digest: str) -> Source | None:
        """An object whose bytes are those that its name promises."""

    def put(self, digest: str, data: Data, asks: int) -> None:
        """Offers a verified object, for which there were so many asks."""


class Held:
    """An object in memory."""

    def __init__(self, data: Data) -> None:
        self._data = memoryview(data)
        self.bytes = len(data)

    async def parts(self, offset: int = 0) -> AsyncIterator[Body]:
        if offset < self.bytes:
            yield self._data[offset:]


class _File(io.FileIO):
    """A file that is closed when nobody refers to it any more."""

    def __del__(self) -> None:
        self.close()


class InFile:
    """An object in an open file: it stays readable when the file has lost its name."""

    def __init__(self, file: _File, size: int) -> None:
        self._file, self.bytes = file, size

    async def parts(self, offset: int = 0) -> AsyncIterator[Body]:
        if offset < self.bytes:
            yield Extent(self._file, offset, self.bytes - offset)


class Corrupt(Exception):
    """A file has other bytes than its name promises."""


class _Reader:
    """Reads verified objects from files."""

    def __init__(self) -> None:
        self._verified: dict[str, _Stamp] = {}
        self._ready: OrderedDict[str, Held | InFile] = OrderedDict()

    def read(self, digest: str, path: Path) -> Source:
        """Raises Corrupt, or OSError where it cannot be read."""
        stamp = _stamp(os.stat(path))
        if self._verified.get(digest) != stamp or digest not in self._ready:
            self._ready[digest] = self._open(digest, path)
            if len(self._ready) > _READY:
                self._ready.popitem(last=False)
        self._ready.move_to_end(digest)
        return self._ready[digest]

    def trust(self, digest: str, path: Path) -> None:
        """The file has just been written from verified bytes."""
        self._verified[digest] = _stamp(os.stat(path))

    def forget(self, digest: str) -> None:
        self._verified.pop(digest, None)
        self._ready.pop(digest, None)

    def _open(self, digest: str, path: Path) -> Held | InFile:
        file = _File(path)
        status = os.fstat(file.fileno())
        small = status.st_size <= http11.SMALL
        data = file.read() if small else b""
        if self._verified.get(digest) != _stamp(status):
            found = digest_of(data) if small else "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise Corrupt("the disk has other bytes than the digest promises")
            self._verified[digest] = _stamp(status)
        return Held(data) if small else InFile(file, status.st_size)


class Published:
    """The central library's store: the folder that publishing has made. Holds everything, takes nothing."""

    def __init__(self, folder: Path, host: str, recorder: Recorder) -> None:
        self._folder, self._host, self._recorder = folder, host, recorder
        self._reader = _Reader()
        manifests = sorted((folder / "manifests").glob("*.json"))
        self._manifests = {digest_of(file.read_bytes()): file for file in manifests}

    def models(self, models: dict[str, Collection[str]]) -> None:
        pass

    def get(self, digest: str) -> Source | None:
        name = digest.removeprefix("sha256:")
        if not _NAME.fullmatch(name):
            return None
        path = self._manifests.get(digest, self._folder / "blocks" / name)
        try:
            return self._reader.read(digest, path)
        except FileNotFoundError:
            return None
        except (Corrupt, OSError) as error:
            _reject(self._recorder, self._host, digest, error)
            return None

    def put(self, digest: str, data: Data, asks: int) -> None:
        raise TypeError("the central library holds what was published, nothing is put into it")


class Store:
    """A folder that is bounded in bytes; the policy says what goes. What is in the folder at the start is kept as far as it may."""

    def __init__(self, folder: Path, policy: Policy, host: str, recorder: Recorder) -> None:
        self._folder, self._policy, self._host, self._recorder = folder, policy, host, recorder
        self._reader = _Reader()
        self._held: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)
        self._take_stock()

    def models(self, models: dict[str, Collection[str]]) -> None:
        self._policy.models(models)

    def get(self, digest: str) -> Source | None:
        if digest not in self._held:
            return None
        try:
            source = self._reader.read(digest, self._path(digest))
        except (Corrupt, OSError) as error:
            _reject(self._recorder, self._host, digest, error)
            self._policy.remove(digest)
            self._remove(digest)
            return None
        self._policy.asked(digest, source.bytes)
        return source

    def put(self, digest: str, data: Data, asks: int) -> None:
        """Without room on the disk the object is not kept, and the record says so."""
        for _ in range(asks):
            self._policy.asked(digest, len(data))
        try:
            if not self._make_room(digest, len(data)):
                return
            _write(self._path(digest), data)
            self._reader.trust(digest, self._path(digest))
        except OSError as error:
            self._policy.remove(digest)
            self._note_not_kept(digest, len(data), error)
        else:
            self._held.add(digest)

    def _take_stock(self) -> None:
        """What a process before has left, the oldest first; what it had not finished goes."""
        files = [(entry.stat().st_mtime_ns, entry.name, entry.stat().st_size) for entry in os.scandir(self._folder)]
        for _, name, size in sorted(files):
            if name.endswith(_UNFINISHED):
                (self._folder / name).unlink()
            elif _NAME.fullmatch(name):
                digest = f"sha256:{name}"
                self._policy.asked(digest, size)
                self._held.add(digest)
                if not self._make_room(digest, size):
                    self._remove(digest)

    def _make_room(self, digest: str, size: int) -> bool:
        evicted = self._policy.admit(digest, size)
        for old in evicted or ():
            self._recorder.write(records.Evicted(self._recorder.now(), self._host, old))
            self._remove(old)
        return evicted is not None

    def _remove(self, digest: str) -> None:
        self._held.discard(digest)
        self._reader.forget(digest)
        self._path(digest).unlink(missing_ok=True)

    def _note_not_kept(self, digest: str, size: int, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else str(error)
        self._recorder.write(records.NotKept(self._recorder.now(), self._host, digest, size, reason))

    def _path(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")


def _write(path: Path, data: Data) -> None:
    """Beside, then renamed; nothing is left of it where it fails. Raises OSError."""
    beside = path.with_name(path.name + _UNFINISHED)
    try:
        beside.write_bytes(data)
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _reject(recorder: Recorder, host: str, digest: str, error: Exception) -> None:
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    recorder.write(records.BlockRejected(recorder.now(), host, "", digest, host, reason))
