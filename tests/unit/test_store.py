"""A tier's store on disk: never wrong bytes, never half an object, never over its bound."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from builders import Notes, digest_of, manifest_of, publish
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes import http11
from edge_nodes.tiers import store as stores
from edge_nodes.tiers.caching import Lru
from edge_nodes.tiers.library import read
from edge_nodes.tiers.store import Published, Store
from scenarios import records

SMALL, LARGE = b"small" * 100, b"large" * 100_000
EITHER = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])


def store(folder: Path, capacity: int = 10**9, notes: Notes | None = None) -> Store:
    return Store(folder, Lru(capacity), "edge", notes or Notes())  # type: ignore[arg-type]


def put(into: Store, data: bytes) -> str:
    into.put(digest_of(data), data, 1)
    return digest_of(data)


def file_of(folder: Path, digest: str) -> Path:
    return folder / digest.removeprefix("sha256:")


async def content(of: Store | Published, digest: str, offset: int = 0) -> bytes | None:
    source = of.get(digest)
    return None if source is None else b"".join([bytes(part) async for part in source.parts(offset)])


@EITHER
async def test_what_was_put_comes_back_from_any_offset(tmp_path: Path, data: bytes) -> None:
    kept = store(tmp_path)
    digest = put(kept, data)
    for offset in (0, 1, len(data) - 1, len(data)):
        assert await content(kept, digest, offset) == data[offset:]
    source = kept.get(digest)
    assert source is not None and source.bytes == len(data)


def test_a_large_object_is_left_to_the_kernel(tmp_path: Path) -> None:
    source = store(tmp_path).get(put(store(tmp_path), LARGE))
    assert source is None  # another store that was started before does not know of it
    kept = store(tmp_path)
    assert isinstance(kept.get(digest_of(LARGE)), stores.InFile)


@EITHER
async def test_a_next_process_has_what_was_kept_but_for_what_was_not_finished(tmp_path: Path, data: bytes) -> None:
    digest = put(store(tmp_path), data)
    unfinished = file_of(tmp_path, digest_of(b"unfinished") + ".new")
    unfinished.write_bytes(b"unfin")
    (tmp_path / "a note of somebody").write_text("stays")
    kept = store(tmp_path)
    assert await content(kept, digest) == data
    assert not unfinished.exists()
    assert (tmp_path / "a note of somebody").exists()


async def test_a_next_process_with_less_room_keeps_the_newest(tmp_path: Path) -> None:
    before = store(tmp_path)
    digests = [put(before, bytes([number]) * 100) for number in range(5)]
    for number, digest in enumerate(digests):
        os.utime(file_of(tmp_path, digest), ns=(number, number))
    kept = store(tmp_path, 250)
    assert [await content(kept, digest) is not None for digest in digests] == [False, False, False, True, True]
    assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_spoilt_bytes_are_removed_recorded_and_never_given(tmp_path_factory: Any, data: st.DataObject) -> None:
    """In whatever way, whether they were read before or not, at a store and at the central library."""
    folder, notes = tmp_path_factory.mktemp("spoilt"), Notes()
    whole = data.draw(st.sampled_from([SMALL, LARGE]))
    digest = digest_of(whole)
    kept: Store | Published
    if data.draw(st.booleans()):
        kept = store(folder, notes=notes)
        put(kept, whole)
        file = file_of(folder, digest)
    else:
        publish(folder, (manifest_of("digits", [whole]), [whole]))
        kept = Published(folder, "edge", notes)  # type: ignore[arg-type]
        file = file_of(folder / "blocks", digest)
    if data.draw(st.booleans()):
        assert kept.get(digest) is not None
    spoilt = bytearray(whole)
    spoilt[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(data.draw(st.sampled_from([spoilt, whole[:-1], whole + b"?", b""])))
    os.utime(file, ns=(1, data.draw(st.integers(1, 10**18))))
    assert kept.get(digest) is None
    (event,) = notes.of(records.BlockRejected)
    assert (event.digest, event.source, event.reason) == (
        digest,
        "edge",
        "the disk has other bytes than the digest promises",
    )
    if isinstance(kept, Store):
        assert not file.exists()
        put(kept, whole)
        assert kept.get(digest) is not None


@EITHER
async def test_a_file_that_is_gone_is_as_one_that_is_spoilt(tmp_path: Path, data: bytes) -> None:
    notes = Notes()
    kept = store(tmp_path, notes=notes)
    digest = put(kept, data)
    file_of(tmp_path, digest).unlink()
    assert await content(kept, digest) is None
    assert [event.reason for event in notes.of(records.BlockRejected)] == [os.strerror(errno.ENOENT)]


@EITHER
async def test_an_object_that_is_being_read_is_not_lost_when_it_is_evicted(tmp_path: Path, data: bytes) -> None:
    notes = Notes()
    kept = store(tmp_path, len(data), notes)
    source = kept.get(put(kept, data))
    assert source is not None
    other = b"other" * (len(data) // 5)
    put(kept, other)
    assert kept.get(digest_of(data)) is None
    assert await read(source) == data
    assert [event.object for event in notes.of(records.Evicted)] == [digest_of(data)]


@EITHER
@pytest.mark.parametrize("step", ["write_bytes", "rename"])
async def test_on_a_full_disk_nothing_is_kept_nothing_is_left_and_the_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, step: str
) -> None:
    notes = Notes()
    kept = store(tmp_path, notes=notes)

    def full(path: Path, *arguments: Any) -> None:
        if step == "write_bytes":
            with path.open("wb") as file:
                file.write(arguments[0][: len(data) // 2])
        raise OSError(errno.ENOSPC, "no room", str(path))

    with monkeypatch.context() as during:
        during.setattr(Path, step, full)
        put(kept, data)
    assert list(tmp_path.iterdir()) == []
    assert kept.get(digest_of(data)) is None
    (event,) = notes.of(records.NotKept)
    assert (event.object, event.bytes, event.reason) == (digest_of(data), len(data), os.strerror(errno.ENOSPC))
    assert kept.get(put(kept, data)) is not None  # when there is room again


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300_000), st.lists(st.integers(0, 80_000), max_size=20))
def test_the_folder_never_holds_more_than_it_may(tmp_path_factory: Any, capacity: int, sizes: list[int]) -> None:
    folder = tmp_path_factory.mktemp("bound")
    kept = store(folder, capacity)
    for size in sizes:
        data = size.to_bytes(3, "big") * size
        if kept.get(digest_of(data)) is None:
            put(kept, data)
        assert sum(file.stat().st_size for file in folder.iterdir()) <= capacity
        assert (kept.get(digest_of(data)) is not None) == (len(data) <= capacity)


async def test_nothing_is_put_into_what_was_published(tmp_path: Path) -> None:
    publish(tmp_path, (manifest_of("digits", [SMALL]), [SMALL]))
    with pytest.raises(TypeError):
        Published(tmp_path, "central", Notes()).put(digest_of(SMALL), SMALL, 1)  # type: ignore[arg-type]


async def test_many_objects_need_few_open_files(tmp_path: Path) -> None:
    kept = store(tmp_path)
    digests = [put(kept, number.to_bytes(2, "big") * http11.SMALL) for number in range(300)]
    before = len(os.listdir("/proc/self/fd"))
    for digest in digests:
        assert kept.get(digest) is not None
    assert len(os.listdir("/proc/self/fd")) - before <= 256
