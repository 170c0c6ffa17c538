"""Streams hold any integers and trits, and are what docs/design.md says: a decoder written from that reads them."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_nodes.models.entropy import LARGEST, Integers, Reader, Writer

SOME = settings(deadline=None)
MANY = st.one_of(st.integers(-3, 3), st.integers(-40, 40), st.integers(-LARGEST, LARGEST))
VALUES = arrays(np.int32, st.integers(0, 100), elements=MANY)


def written(values: Integers, trits: Integers) -> bytes:
    writer = Writer()
    writer.raw([1, 65535], 16)
    for part in (
        values,
        values // 2,
        2 * values[:10] // 3,
    ):  # the last of a distribution that may be close to the one before
        writer.integers(part)
    writer.trits(trits, values)
    writer.trits(-trits, values)
    return writer.done()


@SOME
@given(VALUES, st.data())
def test_whatever_is_written_is_read(values: Integers, data: st.DataObject) -> None:
    trits = data.draw(arrays(np.int32, values.shape, elements=st.integers(-1, 1)))
    reader = Reader(written(values, trits))
    assert reader.raw(2, 16).tolist() == [1, 65535]
    for part in (values, values // 2, 2 * values[:10] // 3):
        assert np.array_equal(reader.integers(part.size), part)
    assert np.array_equal(reader.trits(values), trits)
    assert np.array_equal(reader.trits(values), -trits)
    reader.done()


@SOME
@given(VALUES, st.data())
def test_another_decoder_reads_the_same(values: Integers, data: st.DataObject) -> None:
    trits = data.draw(arrays(np.int32, values.shape, elements=st.integers(-1, 1)))
    stack = Stack(written(values, trits))
    assert [stack.raw(16), stack.raw(16)] == [1, 65535]
    for part in (values, values // 2, 2 * values[:10] // 3):
        assert stack.integers(part.size) == part.tolist()
    assert stack.trits(values.tolist()) == trits.tolist()
    assert stack.trits(values.tolist()) == (-trits).tolist()
    assert stack.raw(8) == 1
    assert stack.state == 0
    assert not stack.words


class Stack:
    """A decoder of one symbol after the other, in integers only, after the section on blocks of docs/design.md."""

    def __init__(self, content: bytes) -> None:
        self.words = [int.from_bytes(content[i : i + 4], "little") for i in range(0, len(content), 4)]
        self.state = 0
        self.refill()
        self.last: dict[str, list[int]] = {}

    def refill(self) -> None:
        while self.words and self.state < 2**32:
            self.state = self.state << 32 | self.words.pop()

    def symbol(self, lefts: list[int]) -> int:
        quantile = self.state % 2**24
        symbol = max(i for i, left in enumerate(lefts) if left <= quantile)
        self.take(lefts[symbol], (*lefts, 2**24)[symbol + 1])
        return symbol

    def take(self, left: int, right: int) -> None:
        self.state = (right - left) * (self.state >> 24) + self.state % 2**24 - left
        self.refill()

    def raw(self, bits: int) -> int:
        value = self.state % 2**24 >> (24 - bits)
        self.take(value << (24 - bits), (value + 1) << (24 - bits))
        return value

    def weights(self, kind: str) -> list[int]:
        if kind not in self.last or not self.raw(1):
            size = 1 + self.raw(5) if kind == "integers" else 2 if kind == "trits of 0" else 3
            self.last[kind] = [self.raw(8) for _ in range(size)]
        weights = [byte if byte < 16 else (16 + byte % 16) << (byte // 16 - 1) for byte in self.last[kind]]
        return weights[:0:-1] + weights if kind in ("integers", "trits of 0") else weights

    def run(self, weights: list[int], count: int) -> Iterator[int]:
        frequencies = [(weight << 20) // sum(weights) for weight in weights]
        frequencies[weights.index(max(weights))] += 2**20 - sum(frequencies)
        n = len(weights)
        lefts = [(sum(frequencies[:i]) * (2**24 - n) >> 20) + i for i in range(n)]
        return (self.symbol(lefts) for _ in range(count))

    def integers(self, count: int) -> list[int]:
        weights = self.weights("integers")
        if len(weights) == 1:
            return [0] * count
        symbols = [symbol - len(weights) // 2 for symbol in self.run(weights, count)]
        magnitudes = [abs(symbol) for symbol in symbols]
        for bits in range(2, 14):
            for i, symbol in enumerate(symbols):
                if abs(symbol) >= 8 and abs(symbol) // 2 - 2 == bits:
                    magnitudes[i] = (2 + symbol % 2 << bits) + self.raw(bits)
        return [-m if symbol < 0 else m for symbol, m in zip(symbols, magnitudes, strict=True)]

    def trits(self, refined: list[int]) -> list[int]:
        trits = [0] * len(refined)
        for context in range(3):
            where = [i for i, value in enumerate(refined) if min(abs(value), 2) == context]
            if where:
                weights = self.weights(f"trits of {context}")
                for i, symbol in zip(where, self.run(weights, len(where)), strict=True):
                    trits[i] = (symbol - 1) * (-1 if refined[i] < 0 else 1)
        return trits


def test_an_integer_too_large_for_a_stream_is_an_error() -> None:
    with pytest.raises(OverflowError, match="32767 is the largest"):
        Writer().integers(np.array([LARGEST + 1], np.int32))


@SOME
@given(st.binary(max_size=100), st.integers(0, 50))
def test_any_bytes_are_read_or_refused(content: bytes, count: int) -> None:
    try:
        reader = Reader(content)
        values = reader.integers(count)
        assert np.abs(values).max(initial=0) <= LARGEST
        assert set(reader.trits(values).tolist()) <= {-1, 0, 1}
    except ValueError:
        return
    with pytest.raises(ValueError, match="something else"):
        reader.done()


def test_a_stream_that_goes_on_after_its_end_is_refused() -> None:
    writer = Writer()
    writer.raw([7, 1, 5], 8)  # the second is what stands at an end
    reader = Reader(writer.done())
    assert reader.raw(1, 8).tolist() == [7]
    with pytest.raises(ValueError, match="something else"):
        reader.done()


def test_a_distribution_that_comes_again_costs_a_bit() -> None:
    values = np.random.default_rng(1).integers(-7, 8, 400).astype(np.int32)

    def size(times: int) -> int:
        writer = Writer()
        for _ in range(times):
            writer.integers(values)
        return len(writer.done())

    weights = 8  # bytes, of the magnitudes 0 to 7
    assert size(3) - size(2) < size(1) - weights + 3
