"""Integers to bytes and back: asymmetric numeral systems (J. Duda, 2009, by `constriction`) with small stored tables.

A stream is a sequence of runs, each of symbols of one distribution. Whatever the decoder needs to know (the weights of a
table too) is a run in it, so there is no container. Probabilities are made of stored bytes by integer arithmetic alone,
hence the same on every machine: docs/design.md says how, exactly enough for another implementation.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from constriction import stream
from numpy.typing import NDArray

Integers = NDArray[np.int32]
AnsCoder, Categorical, Uniform = stream.stack.AnsCoder, stream.model.Categorical, stream.model.Uniform

LARGEST = 2**15 - 1  # magnitude of an integer
EXACT = 8  # magnitudes below it have a symbol each; from it on, two symbols an octave and raw bits
SYMBOL_BITS = 5  # of the largest symbol, which LARGEST has
CONTEXTS = 3  # of a trit: the magnitude that it refines, all from 2 on being one
END, END_BITS = 1, 8  # the last symbols of every stream: one that ends early or late has something else there
WEIGHTS = np.array([*range(16), *((16 + byte % 16) << (byte // 16 - 1) for byte in range(16, 256))])  # of a stored byte
UNIT = 2**20  # what the frequencies of a distribution sum up to


class Table(NamedTuple):
    """A distribution of integers that is symmetric about zero; `None` where there are only zeros."""

    last: int  # the largest symbol; the smallest is -last
    model: Any


class Writer:
    """Collects runs, and codes them last to first, as the decoder takes them from a stack."""

    def __init__(self) -> None:
        self._runs: list[tuple[Integers, Any]] = []

    def raw(self, values: Sequence[int] | NDArray[np.integer[Any]], bits: int) -> None:
        """Add integers of `bits` bits each, 1 to 16."""
        self._runs.append((np.asarray(values, np.int32), Uniform(1 << bits)))

    def table(self, values: Integers) -> Table:
        """Add the table that suits these values. Raises OverflowError where one is beyond LARGEST."""
        magnitudes = np.abs(values)
        if magnitudes.max(initial=0) > LARGEST:
            raise OverflowError(f"a code of {magnitudes.max()}, and {LARGEST} is the largest: the step is too small")
        counts = np.bincount(_symbols(magnitudes), minlength=1)
        counts[0] *= 2  # every other symbol stands for two, one of each sign
        stored = _stored(counts)
        self.raw([stored.size - 1], SYMBOL_BITS)
        self.raw(stored, 8)
        return _table(stored)

    def integers(self, values: Integers, table: Table) -> None:
        if table.last == 0:
            return
        magnitudes = np.abs(values)
        symbols = _symbols(magnitudes)
        self._runs.append((table.last + np.where(values < 0, -symbols, symbols), table.model))
        bits = _raw_bits(symbols)
        for width in range(2, bits.max(initial=0) + 1):
            where = np.flatnonzero(bits == width)
            self.raw(magnitudes[where] & ((1 << width) - 1), width)

    def trits(self, trits: Integers, refined: Integers) -> None:
        """Add trits (-1, 0, 1), each of which refines an integer, in the direction of whose sign it is counted."""
        outward = np.where(refined < 0, -trits, trits)
        for context, where in enumerate(_contexts(refined)):
            if where.size:
                symbols = outward[where] + 1
                counts = np.bincount(symbols, minlength=3)
                if context == 0:
                    counts[:] = counts[::-1] + counts
                stored = _stored(counts)
                self.raw(stored[context == 0 :], 8)
                self._runs.append((symbols, _model(WEIGHTS[stored])))

    def done(self) -> bytes:
        coder = AnsCoder()
        self.raw([END], END_BITS)
        for symbols, model in reversed(self._runs):
            coder.encode_reverse(symbols, model)
        words: bytes = coder.get_compressed().astype("<u4").tobytes()
        return words


class Reader:
    """Takes the runs of a stream. Every method raises ValueError where the stream cannot be what a `Writer` made."""

    def __init__(self, content: bytes) -> None:
        if len(content) % 4:
            raise ValueError(f"{len(content)} bytes are no whole number of 32-bit words")
        words = np.frombuffer(content, "<u4")
        self._coder = AnsCoder(words if sys.byteorder == "little" else words.astype(np.uint32))

    def raw(self, count: int, bits: int) -> Integers:
        return self._run(count, Uniform(1 << bits))

    def table(self) -> Table:
        (last,) = self.raw(1, SYMBOL_BITS)
        return _table(self.raw(last + 1, 8))

    def integers(self, count: int, table: Table) -> Integers:
        if table.last == 0:
            return np.zeros(count, np.int32)
        values = self._run(count, table.model)
        values -= table.last
        if table.last >= EXACT:
            self._lengthen(values)
        return values

    def _lengthen(self, values: Integers) -> None:
        """Replace symbols that stand for more than one integer by that which the raw bits say."""
        large = np.flatnonzero(np.abs(values) >= EXACT)
        symbols = np.abs(values[large])
        bits = _raw_bits(symbols)
        magnitudes = (2 + symbols % 2) << bits
        for width in range(2, bits.max(initial=0) + 1):
            where = np.flatnonzero(bits == width)
            magnitudes[where] += self.raw(where.size, width)
        values[large] = np.where(values[large] < 0, -magnitudes, magnitudes)

    def trits(self, refined: Integers) -> Integers:
        trits = np.empty(refined.size, np.int32)
        for context, where in enumerate(_contexts(refined)):
            if where.size:
                stored = self.raw(3 - (context == 0), 8)
                if context == 0:
                    stored = stored[[1, 0, 1]]
                trits[where] = self._run(where.size, _model(WEIGHTS[stored]))
        trits -= 1
        negative = refined >> 31  # all bits set, or none
        return (trits ^ negative) - negative

    def done(self) -> None:
        """Raises ValueError where the stream does not end here."""
        (end,) = self.raw(1, END_BITS)
        if end != END or not self._coder.is_empty():
            raise ValueError("the stream holds something else than what is asked of it")

    def _run(self, count: int, model: Any) -> Integers:
        symbols: Integers = self._coder.decode(model, count)
        return symbols


def _symbols(magnitudes: Integers) -> Integers:
    """Map magnitudes to symbols: up to EXACT one to one, then two to an octave."""
    symbols = magnitudes.copy()
    large = np.flatnonzero(magnitudes >= EXACT)
    bits = np.frexp(magnitudes[large].astype(np.float64))[1] - 2
    symbols[large] = 2 * (bits + 1) + (magnitudes[large] >> bits)
    return symbols


def _raw_bits(symbols: Integers) -> Integers:
    """Return how many raw bits follow a symbol."""
    return np.where(symbols < EXACT, 0, symbols // 2 - 2)


def _contexts(refined: Integers) -> list[NDArray[np.intp]]:
    """Return where the trits of each context are."""
    magnitudes = np.abs(refined)
    return [np.flatnonzero(magnitudes == 0), np.flatnonzero(magnitudes == 1), np.flatnonzero(magnitudes >= 2)]


def _stored(counts: NDArray[np.integer[Any]]) -> Integers:
    """Return a byte for each count, the largest 255; whatever is counted at all gets a weight."""
    scaled = counts * (WEIGHTS[-1] / max(counts.max(), 1))
    stored = np.searchsorted((WEIGHTS[1:] + WEIGHTS[:-1]) / 2, scaled)
    return np.where(counts > 0, np.maximum(stored, 1), 0).astype(np.int32)


def _table(stored: Integers) -> Table:
    weights = WEIGHTS[stored]
    both = np.concatenate([weights[:0:-1], weights])
    return Table(stored.size - 1, None if stored.size == 1 else _model(both))


def _model(weights: NDArray[np.integer[Any]]) -> Any:
    """Return the distribution with these integer weights, in UNITs. Raises ValueError where all are zero.

    Categorical does its sums in float64, which is exact for integers that sum up to a power of two.
    """
    total = weights.sum()
    if total == 0:
        raise ValueError("a distribution of nothing")
    frequencies = weights * UNIT // total
    frequencies[weights.argmax()] += UNIT - frequencies.sum()
    return Categorical(frequencies.astype(np.float64), perfect=False)
