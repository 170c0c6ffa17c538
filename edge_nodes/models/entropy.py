"""Integers to bytes and back: asymmetric numeral systems (J. Duda, 2009, by `constriction`) with small stored distributions.

A stream is a sequence of runs, each of symbols of one distribution. Whatever the decoder needs to know (the weights of a
distribution too) is a run in it, so there is no container. Probabilities are made of stored bytes by integer arithmetic
alone, hence the same on every machine: docs/design.md says how, exactly enough for another implementation.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

Integers = NDArray[np.int32]
AnsCoder, Categorical, Uniform = stream.stack.AnsCoder, stream.model.Categorical, stream.model.Uniform

LARGEST = 2**15 - 1  # magnitude of an integer
EXACT = 8  # magnitudes below it have a symbol each; from it on, two symbols an octave and raw bits
SYMBOL_BITS = 5  # of the largest symbol, which LARGEST has
INTEGER, ZERO, ONE, MORE = range(
    4
)  # what has a distribution of its own: integers, and trits by the magnitude that they refine
SYMMETRIC = (INTEGER, ZERO)  # those whose symbols s and -s are equally probable
END, END_BITS = 1, 8  # the last symbols of every stream: one that ends early or late has something else there
WEIGHTS = np.array([*range(16), *((16 + byte % 16) << (byte // 16 - 1) for byte in range(16, 256))])  # of a stored byte
UNIT = 2**20  # what the frequencies of a distribution sum up to


class Writer:
    """Collects runs, and codes them last to first, as the decoder takes them from a stack."""

    def __init__(self) -> None:
        self._runs: list[tuple[Integers, Any]] = []
        self._last: dict[int, Integers] = {}  # distribution, as stored, by kind

    def raw(self, values: Sequence[int] | NDArray[np.integer[Any]], bits: int) -> None:
        """Add integers of `bits` bits each, 1 to 16."""
        self._runs.append((np.asarray(values, np.int32), Uniform(1 << bits)))

    def integers(self, values: Integers) -> None:
        """Add integers of one distribution. Raises OverflowError where one is beyond LARGEST."""
        magnitudes = np.abs(values)
        if magnitudes.max(initial=0) > LARGEST:
            raise OverflowError(f"a code of {magnitudes.max()}, and {LARGEST} is the largest: the step is too small")
        symbols = _symbols(magnitudes)
        self._symbols(INTEGER, np.where(values < 0, -symbols, symbols), symbols.max(initial=0))
        for bits, where in _with_raw_bits(symbols):
            self.raw(magnitudes[where] & ((1 << bits) - 1), bits)

    def trits(self, trits: Integers, refined: Integers) -> None:
        """Add trits (-1, 0, 1), each of which refines an integer, in the direction of whose sign it is counted."""
        outward = np.where(refined < 0, -trits, trits)
        for kind, where in _contexts(refined):
            self._symbols(kind, outward[where], 1)

    def _symbols(self, kind: int, symbols: Integers, last: int) -> None:
        """Add a run of symbols from -last to last, after their distribution: that of its kind before again, if that is shorter."""
        counts = np.bincount(symbols + last, minlength=2 * last + 1)
        stored = _stored(counts[last:] + counts[last::-1] if kind in SYMMETRIC else counts)
        before = self._last.get(kind)
        if before is not None:
            again = _bits(counts, before, kind) <= _bits(counts, stored, kind) + 8 * stored.size + SYMBOL_BITS
            self.raw([again], 1)
        if before is not None and again:
            stored = before
        else:
            if kind == INTEGER:
                self.raw([last], SYMBOL_BITS)
            self.raw(stored, 8)
        self._last[kind] = stored
        weights = _weights(stored, kind)
        if weights.size > 1:
            self._runs.append((symbols + weights.size // 2, _model(weights)))

    def done(self) -> bytes:
        coder = AnsCoder()
        self.raw([END], END_BITS)
        for symbols, model in reversed(self._runs):
            coder.encode_reverse(symbols, model)
        words: bytes = coder.get_compressed().astype("<u4").tobytes()
        return words.rstrip(b"\0")


class Reader:
    """Takes the runs of a stream. Every method raises ValueError where the stream cannot be what a `Writer` made."""

    def __init__(self, content: bytes) -> None:
        words = np.frombuffer(content + bytes(-len(content) % 4), "<u4")
        self._coder = AnsCoder(words if sys.byteorder == "little" else words.astype(np.uint32))
        self._last: dict[int, Integers] = {}

    def raw(self, count: int, bits: int) -> Integers:
        return self._run(count, Uniform(1 << bits))

    def integers(self, count: int) -> Integers:
        values = self._symbols(INTEGER, count)
        if self._last[INTEGER].size > EXACT:
            magnitudes = np.abs(values)
            for bits, where in _with_raw_bits(magnitudes):
                longer = (2 + magnitudes[where] % 2 << bits) + self.raw(where.size, bits)
                values[where] = np.where(values[where] < 0, -longer, longer)
        return values

    def trits(self, refined: Integers) -> Integers:
        trits = np.empty(refined.size, np.int32)
        for kind, where in _contexts(refined):
            trits[where] = self._symbols(kind, where.size)
        negative = refined >> 31  # all bits set, or none
        return (trits ^ negative) - negative

    def _symbols(self, kind: int, count: int) -> Integers:
        if kind not in self._last or not self.raw(1, 1)[0]:
            size = 1 + self.raw(1, SYMBOL_BITS)[0] if kind == INTEGER else 2 if kind in SYMMETRIC else 3
            self._last[kind] = self.raw(size, 8)
        weights = _weights(self._last[kind], kind)
        if weights.size == 1:
            return np.zeros(count, np.int32)
        symbols = self._run(count, _model(weights))
        symbols -= weights.size // 2
        return symbols

    def _run(self, count: int, model: Any) -> Integers:
        symbols: Integers = self._coder.decode(model, count)
        return symbols

    def done(self) -> None:
        """Raises ValueError where the stream does not end here."""
        (end,) = self.raw(1, END_BITS)
        if end != END or not self._coder.is_empty():
            raise ValueError("the stream holds something else than what is asked of it")


def _symbols(magnitudes: Integers) -> Integers:
    """Map magnitudes to symbols: below EXACT one to one, then two to an octave."""
    symbols = magnitudes.copy()
    large = np.flatnonzero(magnitudes >= EXACT)
    bits = np.frexp(magnitudes[large].astype(np.float64))[1] - 2
    symbols[large] = 2 * (bits + 1) + (magnitudes[large] >> bits)
    return symbols


def _with_raw_bits(symbols: Integers) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield numbers of raw bits, and where the symbols are that so many follow."""
    large = np.flatnonzero(symbols >= EXACT)
    bits = symbols[large] // 2 - 2
    for number in range(2, bits.max(initial=0) + 1):
        yield number, large[bits == number]


def _contexts(refined: Integers) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield the kinds of trits, and where they are."""
    magnitudes = np.abs(refined)
    for kind, chosen in ((ZERO, magnitudes == 0), (ONE, magnitudes == 1), (MORE, magnitudes > 1)):
        where = np.flatnonzero(chosen)
        if where.size:
            yield kind, where


def _stored(counts: NDArray[np.integer[Any]]) -> Integers:
    """Return a byte for each count, the largest 255; whatever is counted at all gets a weight."""
    scaled = counts * (WEIGHTS[-1] / max(counts.max(), 1))
    stored = np.searchsorted((WEIGHTS[1:] + WEIGHTS[:-1]) / 2, scaled)
    return np.where(counts > 0, np.maximum(stored, 1), 0).astype(np.int32)


def _weights(stored: Integers, kind: int) -> NDArray[np.int64]:
    """Return the weight of every symbol, from the negative ones on."""
    weights: NDArray[np.int64] = WEIGHTS[stored]
    return np.concatenate([weights[:0:-1], weights]) if kind in SYMMETRIC else weights


def _bits(counts: NDArray[np.integer[Any]], stored: Integers, kind: int) -> float:
    """Return the length of a run by a stored distribution; infinite where that lacks a symbol."""
    weights = _weights(stored, kind)
    missing = (counts.size - weights.size) // 2  # on either side
    if missing > 0:
        return math.inf
    used = weights[-missing : weights.size + missing]
    if (used[counts > 0] == 0).any():
        return math.inf
    return float((counts * np.log2(max(weights.sum(), 1) / np.maximum(used, 1))).sum())


def _model(weights: NDArray[np.int64]) -> Any:
    """Return the distribution with these weights, in UNITs. Raises ValueError where all are zero.

    Categorical does its sums in float64, which is exact for integers that sum up to a power of two.
    """
    total = weights.sum()
    if total == 0:
        raise ValueError("a distribution of nothing")
    frequencies = weights * UNIT // total
    frequencies[weights.argmax()] += UNIT - frequencies.sum()
    return Categorical(frequencies.astype(np.float64), perfect=False)
