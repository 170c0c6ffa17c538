"""The wire: frames are themselves again however they are cut into packets, and a stream that breaks off is noticed."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes import delivery

SOME = settings(max_examples=50, deadline=None)
DATA = st.tuples(st.text(), st.binary(max_size=200), st.just(""))
ERROR = st.tuples(st.text(), st.just(b""), st.text(min_size=1))
FRAMES = st.lists(st.one_of(DATA, ERROR), min_size=1, max_size=6)
Told = tuple[str, bytes, str]


def written(frames: list[Told]) -> list[bytes]:
    return [
        delivery.error_frame(name, error) if error else delivery.frame_head(name, len(data)) + data
        for name, data, error in frames
    ]


def read(*chunks: bytes) -> list[Told]:
    """What a device reads of a stream that arrives in these pieces and ends."""

    async def collect() -> list[Told]:
        reader = asyncio.StreamReader()

        async def send() -> None:
            for chunk in chunks:
                reader.feed_data(chunk)
                await asyncio.sleep(0)
            reader.feed_eof()

        sending = asyncio.create_task(send())
        got = [(head.object, data, head.error) async for head, data in delivery.frames(reader)]
        await sending
        return got

    return asyncio.run(collect())


@SOME
@given(FRAMES, st.data())
def test_frames_are_read_as_written_however_they_are_cut_into_pieces(frames: list[Told], data: st.DataObject) -> None:
    stream = b"".join(written(frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*(piece for piece in pieces if piece)) == frames


def test_a_stream_without_frames_has_none() -> None:
    assert read() == []


@SOME
@given(FRAMES, st.data())
def test_a_stream_cut_inside_a_frame_is_broken(frames: list[Told], data: st.DataObject) -> None:
    *whole, last = written(frames)
    cut = data.draw(st.integers(1, len(last) - 1))
    with pytest.raises(delivery.BrokenStream, match="broke off"):
        read(*whole, last[:cut])


def test_a_head_without_its_line_end_is_broken() -> None:
    with pytest.raises(delivery.BrokenStream, match="broke off"):
        read(delivery.error_frame("sha256:", "gone")[:-1])


@SOME
@given(FRAMES)
def test_frames_before_a_cut_are_read(frames: list[Told]) -> None:
    async def collect() -> list[Told]:
        reader = asyncio.StreamReader()
        reader.feed_data(b"".join(written(frames)) + b'{"obj')
        reader.feed_eof()
        got = []
        with pytest.raises(delivery.BrokenStream):
            async for head, data in delivery.frames(reader):
                got.append((head.object, data, head.error))
        return got

    assert asyncio.run(collect()) == frames


@pytest.mark.parametrize(
    "stream",
    [
        b"\n",
        b"<html>\n",
        b"[]\n",
        b'{"bytes":3}\nabc',
        b'{"object":"x","bytes":"3"}\nabc',
        b'{"object":"x","bytes":-1}\nabc',
        b'{"object":"\xff"}\n',
        b"x" * (1 << 20),
    ],
)
def test_what_is_not_this_protocol_is_broken(stream: bytes) -> None:
    with pytest.raises(delivery.BrokenStream, match="broke off"):
        read(stream)


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert delivery.digest_of(b"") == f"sha256:{empty}"
