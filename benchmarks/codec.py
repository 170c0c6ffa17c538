"""Bytes and speed of blocks, beside general compressors: `python -m benchmarks.codec [LIBRARY]` prints two tables.

LIBRARY is a folder with `manifests` and `blocks`; without it, the library that ships.
"""

import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks.tables import Row, Table
from edge_nodes.models import codec
from edge_nodes.models.codec import Floats
from edge_nodes.models.entropy import Integers
from edge_nodes.models.manifest import Manifest, Piece, Variant
from insitu import experiment

MODEL = "digits"
ROUNDS = 7  # of a timing, of which the best counts
ONE_SHOT, CONTAINED = 1.01, 1.03  # times one-shot coding, times the entropy
WEIGHTS_PER_SECOND = 10e6
Codec = Callable[[bytes], bytes]
COMPRESSORS: dict[str, tuple[Codec, Codec]] = {
    "deflate -9": (lambda content: zlib.compress(content, 9), zlib.decompress),
    "xz -9": (lambda content: lzma.compress(content, preset=9), lzma.decompress),
}


class Model:
    """The largest variant of a published model, decoded: its weights are multiples of the finest step."""

    def __init__(self, library: Path) -> None:
        self.manifest = Manifest.load(library / "manifests" / f"{MODEL}.json")
        names = [block.digest for block in self.manifest.blocks if block.level or block.stage]
        self.blocks = {name: (library / "blocks" / name.removeprefix("sha256:")).read_bytes() for name in names}
        self.largest = max((v for v in self.manifest.variants if v.bits), key=lambda variant: variant.bytes)
        self.weights = codec.tensors(self.manifest, self.largest, self.blocks)
        self.nested = [piece for piece in self.manifest.pieces if piece.nested]
        self.count = sum(piece.size() for piece in self.nested)

    def step(self, level: int) -> float:
        return self.manifest.step / 3.0 ** (level - 1)

    def variant(self, level: int) -> Variant:
        """The whole network up to a level."""
        return self.manifest.variant(f"d{self.largest.depth}w{self.largest.width}b{level}")

    def encoded(self, level: int, levels: int) -> int:
        """Bytes of the whole network's nested weights, rounded to `level`, in `levels` nested levels."""
        encoded = codec.encode(self.manifest.pieces, self.step(level - levels + 1), levels, self.weights)
        return sum(len(content) for (_, _, number), content in encoded.items() if number)

    def codes(self, level: int) -> dict[Piece, Integers]:
        return {p: codec.quantise(self.weights[p.tensor][p.where()].ravel(), self.step(level)) for p in self.nested}


def entropy(codes: Integers) -> float:
    """Bytes that no code of these integers, one by one, can go below."""
    _, counts = np.unique(codes, return_counts=True)
    return float(-(counts * np.log2(counts / codes.size)).sum() / 8)


def plain(codes: Mapping[Piece, Integers]) -> list[bytes]:
    """The codes of each stage and group as integers of as few whole bytes as hold them all."""
    kind = np.int8 if max(np.abs(part).max() for part in codes.values()) < 128 else np.int16
    units: dict[tuple[int, int], bytes] = {}
    for piece, part in codes.items():
        units[piece.stage, piece.group] = units.get((piece.stage, piece.group), b"") + part.astype(kind).tobytes()
    return list(units.values())


def zstd(contents: list[bytes]) -> tuple[int, float, float]:
    """Bytes by `zstd -19`, and by its own measurement bytes per second of compression and decompression."""
    size, rates = 0, np.zeros(2)
    with tempfile.TemporaryDirectory() as folder:
        for content in contents:
            (Path(folder) / "codes").write_bytes(content)
            command = ["zstd", "-b19", "-i1", str(Path(folder) / "codes")]
            shown = subprocess.run(command, capture_output=True, text=True, check=True)
            compressed, *speeds = re.findall(
                r"-> *(\d+) .*?([\d.]+) MB/s, *([\d.]+) MB/s", shown.stdout + shown.stderr
            )[-1]
            size += int(compressed)
            rates += len(content) / (np.array(speeds, float) * 1e6)  # seconds
    total = sum(map(len, contents))
    return size, *(total / rates)


def best(action: Callable[[], object]) -> float:
    """Seconds of CPU time."""
    taken = []
    for _ in range(ROUNDS):
        start = process_time()
        action()
        taken.append(process_time() - start)
    return min(taken)


def size_table(model: Model) -> Table:
    rows = []
    for level in range(1, model.largest.bits + 1):
        codes = model.codes(level)
        nested, one_shot = model.encoded(level, level), model.encoded(level, 1)
        bound = sum(map(entropy, codes.values()))
        others = [sum(len(compress(part)) for part in plain(codes)) for compress, _ in COMPRESSORS.values()]
        if shutil.which("zstd"):
            others.append(zstd(plain(codes))[0])
        cells = (
            f"{level}",
            f"{8 * nested / model.count:.2f}",
            *(f"{size / 1e3:.1f}" for size in (nested, one_shot, bound, *others)),
        )
        cells += (f"{nested / one_shot:.4f}", f"{nested / bound:.4f}")
        rows.append(Row(cells, nested <= ONE_SHOT * one_shot and nested <= CONTAINED * bound))
    zstandard = ("zstd -19",) if shutil.which("zstd") else ()
    note = (
        f"The {model.count:,} nested weights of {MODEL}, all stages and groups; kB. One-shot: this coder with the codes of that "
        "level alone. Entropy: of each piece's codes, one by one, without anything that a decoder has to know. Others: one-shot "
        "codes as 8-bit integers (16 where they must), a stream for each stage and group. "
        f"Limits: {ONE_SHOT} times one-shot, {CONTAINED} times the entropy."
    )
    columns = (
        "levels to",
        "bits/weight",
        "nested",
        "one-shot",
        "entropy",
        *COMPRESSORS,
        *zstandard,
        "to one-shot",
        "to entropy",
    )
    return Table("Bytes of blocks", note, columns, rows)


def speed_table(model: Model) -> Table:
    rows, finest = [], model.largest.bits

    def per_second(seconds: float) -> str:
        return f"{model.count / seconds / 1e6:.1f}"

    for level in range(1, finest + 1):
        encoding = best(partial(model.encoded, level, level))
        decoding = best(partial(codec.tensors, model.manifest, model.variant(level), model.blocks))
        rows.append(
            Row(
                (f"blocks, levels to {level}", per_second(encoding), per_second(decoding)),
                model.count / decoding >= WEIGHTS_PER_SECOND,
            )
        )
    for level in (1, finest):
        contents = plain(model.codes(level))
        width = sum(map(len, contents)) // model.count
        for name, (compress, decompress) in COMPRESSORS.items():
            compressing = best(partial(compressed, compress, contents))
            opening = best(partial(opened, decompress, compressed(compress, contents), width))
            rows.append(Row((f"{name}, codes of level {level}", per_second(compressing), per_second(opening))))
        if shutil.which("zstd"):
            _, *rates = zstd(contents)
            rows.append(Row((f"zstd -19, codes of level {level}", *(f"{rate / width / 1e6:.1f}" for rate in rates))))
    note = (
        f"Millions of weights a second of CPU time on one of {os.cpu_count()} CPUs (load {os.getloadavg()[0]:.1f}), best of "
        f"{ROUNDS}. Decoding blocks: from bytes to all float32 tensors, digests verified and what is sent once included. Others: "
        f"to float32 weights (zstd, by its own measurement: to integers). Limit: {WEIGHTS_PER_SECOND / 1e6:.0f} decoded."
    )
    return Table("Speed of blocks", note, ("what", "encoded", "decoded"), rows, wall=True)


def compressed(compress: Codec, contents: list[bytes]) -> list[bytes]:
    return [compress(content) for content in contents]


def opened(decompress: Codec, contents: list[bytes], width: int) -> list[Floats]:
    return [floats(decompress(content), width) for content in contents]


def floats(content: bytes, width: int) -> Floats:
    result: Floats = np.frombuffer(content, f"<i{width}").astype(np.float32) * np.float32(0.1)
    return result


def main() -> None:
    library = Path(sys.argv[1]) if sys.argv[1:] else experiment.model_library(lambda line: print(line, file=sys.stderr))
    model = Model(library)
    print(size_table(model).markdown(), speed_table(model).markdown(), sep="\n")


if __name__ == "__main__":
    main()
