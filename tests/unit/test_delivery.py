"""The wire: objects are themselves again however they are cut into frames and packets, and a stream that breaks off is noticed."""

import asyncio
from itertools import pairwise

import pytest
from builders import Pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes import delivery
from edge_nodes.delivery import Arriving

SOME = settings(max_examples=50, deadline=None)
OBJECT = st.binary(min_size=1, max_size=300)


def framed(data: bytes, cuts: list[int], name: str = "") -> bytes:
    """An object in frames that begin at these places."""
    starts = [0, *sorted(set(cuts)), len(data)]
    return b"".join(
        delivery.frame_head(name or delivery.digest_of(data), stop - start, start, len(data)) + data[start:stop]
        for start, stop in pairwise(starts)
        if start < stop
    )


def cuts_of(data: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, max(1, len(data) - 1)), max_size=5)


def taken(*pieces: bytes, into: Arriving | None = None) -> Arriving:
    """What a device has of one object after a stream that arrives in these pieces and ends. Raises BrokenStream."""

    async def take() -> Arriving:
        reader = asyncio.StreamReader()

        async def send() -> None:
            for piece in pieces:
                reader.feed_data(piece)
                await asyncio.sleep(0)
            reader.feed_eof()

        sending, arriving = asyncio.create_task(send()), into
        try:
            async for head in delivery.heads(Pieces(reader)):
                arriving = arriving or Arriving(head.object, head.of)
                await arriving.take(head, Pieces(reader), "edge")
        finally:
            await sending
        assert arriving is not None
        return arriving

    return asyncio.run(take())


@SOME
@given(OBJECT, st.data())
def test_an_object_is_as_it_was_however_it_is_cut_into_frames_and_pieces(content: bytes, data: st.DataObject) -> None:
    stream = framed(content, data.draw(cuts_of(content)))
    at = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20))), len(stream)]
    arriving = taken(*(stream[a:b] for a, b in pairwise(at) if a < b))
    assert arriving.is_whole and arriving.unbroken() == content


@SOME
@given(OBJECT, st.data())
def test_an_object_goes_on_where_a_cut_has_left_it(content: bytes, data: st.DataObject) -> None:
    """Cut at any byte of its stream: what came is kept, and the rest alone makes it whole."""
    stream = framed(content, data.draw(cuts_of(content)))
    arriving = Arriving(delivery.digest_of(content), len(content))
    try:
        taken(stream[: data.draw(st.integers(0, len(stream)))], into=arriving)
    except delivery.BrokenStream as error:
        assert "broke off" in str(error)
    at = arriving.arrived
    if at < len(content):
        taken(delivery.frame_head(arriving.name, len(content) - at, at, len(content)) + content[at:], into=arriving)
    assert arriving.unbroken() == content


@SOME
@given(OBJECT, st.data())
def test_other_bytes_than_the_name_promises_are_noticed(content: bytes, data: st.DataObject) -> None:
    wrong = bytearray(content)
    wrong[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    stream = framed(bytes(wrong), [], delivery.digest_of(content))
    assert taken(stream).unbroken() is None


@SOME
@given(OBJECT, st.data())
def test_a_manifest_is_as_it_was_after_its_way_and_a_spoilt_one_is_noticed(text: bytes, data: st.DataObject) -> None:
    sent = bytearray(delivery.deflate(text))
    assert delivery.inflate(sent) == text
    sent[data.draw(st.integers(0, len(sent) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    arriving = Arriving(delivery.digest_of(text), len(sent), deflated=True)
    spoilt = taken(delivery.frame_head(arriving.name, len(sent)) + sent, into=arriving).unbroken()
    assert spoilt is None or spoilt == text  # a few bits of the head say nothing


def test_a_manifest_that_inflates_without_end_is_refused() -> None:
    assert delivery.inflate(delivery.deflate(bytes(delivery.LARGEST_MANIFEST + 1))) is None


@pytest.mark.parametrize(
    ("size", "offset", "of"),
    [(1, 1, 3), (4, 0, 3), (3, 0, 4), (2, 2, 3)],
    ids=["gap", "too long", "other size", "over"],
)
def test_a_frame_that_does_not_go_on_where_the_object_is_is_refused(size: int, offset: int, of: int) -> None:
    arriving = Arriving("x", 3)
    with pytest.raises(delivery.BrokenStream, match="does not go on"):
        taken(delivery.frame_head("x", size, offset, of) + b"abcd"[:size], into=arriving)
    assert arriving.arrived == 0


def test_parts_from_two_tiers_are_remembered() -> None:
    arriving = Arriving("x", 2)

    async def take() -> None:
        for number, host in enumerate(("edge", "local")):
            reader = asyncio.StreamReader()
            reader.feed_data(b"a")
            reader.feed_eof()
            await arriving.take(delivery.Frame("x", 1, number, 2), Pieces(reader), host)

    asyncio.run(take())
    assert arriving.sources == ["edge", "local"]


@pytest.mark.parametrize(
    "stream",
    [
        b"\n",
        b"<html>\n",
        b"[]\n",
        b'{"bytes":3}\nabc',
        b'{"object":"x","bytes":"3"}\nabc',
        b'{"object":"x","bytes":-1}\nabc',
        b'{"object":"x","bytes":1,"of":1,"offset":-1}\nabc',
        b'{"object":"x","bytes":1,"of":99999999999}\nabc',
        b'{"object":"\xff"}\n',
        b"x" * (1 << 20),
        delivery.error_frame("sha256:", "gone")[:-1],
    ],
)
def test_what_is_not_this_protocol_is_broken(stream: bytes) -> None:
    with pytest.raises(delivery.BrokenStream, match="broke off"):
        taken(stream)


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert delivery.digest_of(b"") == f"sha256:{empty}"
