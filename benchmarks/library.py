"""The library's models beside what else could be sent: `python -m benchmarks.library` writes docs/library.md.

Beside NNCodec (see `equal_quality`), models quantised alone and coded by the same coder, and all weights fine-tuned.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from benchmarks import equal_quality, references
from benchmarks.published import Library, accuracy, kilobytes, lost
from benchmarks.references import LEVEL, References
from benchmarks.tables import Row, Table
from edge_nodes.models import codec, numerics
from edge_nodes.models.elastic import build
from edge_nodes.publication import training, zoo
from edge_nodes.publication.measuring import accuracy_of
from insitu import experiment

PAGE = Path(__file__).resolve().parent.parent / "docs" / "library.md"
MOST_OF_FLOAT32, MOST_LOST = 0.03, 0.005  # of the whole net at level 1
MOST_BEYOND, MOST_BEHIND = 0.06, 0.02  # of specialisations


def main() -> int:
    if not numerics.ENVIRONMENT.items() <= os.environ.items():  # which are read when PyTorch starts
        command = [sys.executable, "-m", "benchmarks.library"]
        return subprocess.run(command, env=os.environ | numerics.ENVIRONMENT, check=False).returncode
    library = Library(experiment.model_library(print))
    print("training what is compared with, once: some minutes", flush=True)
    known = references.load(library.folder)
    tables = [
        share_of_float32(library),
        *equal_quality.tables(library, known.unrounded),
        specialisations(library, known),
        variants(library),
    ]
    PAGE.write_text(page(tables))
    print(PAGE.read_text())
    return int(any(table.misses for table in tables))


def page(tables: Iterable[Table]) -> str:
    head = (
        "# The models that ship, beside what else could be sent\n\n"
        "Written by `python -m benchmarks.library` (`make library-table`); no figure here is written by hand.\n\n"
    )
    return head + "\n".join(table.markdown() for table in tables)


def share_of_float32(library: Library) -> Table:
    """The whole net, at each level, beside its weights in float32."""
    rows, float32 = [], 4 * sum(piece.size() for piece in library.base.pieces)
    for level in range(1, library.whole.bits + 1):
        variant = library.base.variant(f"d{library.whole.depth}w{library.whole.width}b{level}")
        share, loss = variant.bytes / float32, lost(variant)
        holds = share <= MOST_OF_FLOAT32 and loss <= MOST_LOST if level == 1 else None
        cells = (variant.name, kilobytes(variant.bytes), f"{share:.2%}", accuracy(variant), f"{100 * loss:+.2f}")
        rows.append(Row(cells, holds))
    note = (
        f"In float32 the weights are {float32 / 1e3:,.0f} kB (without the zeros above the block diagonals), "
        f"and the accuracy is {library.whole.accuracy_float:.1%}. "
        f"Limits, at level 1: {MOST_OF_FLOAT32:.0%}, at a loss of {100 * MOST_LOST:.1f} points."
    )
    return Table("The whole net beside float32", note, ("variant", "kB", "of float32", "accuracy", "loss"), rows)


@torch.inference_mode()
def specialisations(library: Library, known: References) -> Table:
    """What a specialisation costs a device that has its base, and what it is worth, at one level of the whole net."""
    whole = library.whole
    name = f"d{whole.depth}w{whole.width}b{LEVEL}"
    base = library.base.variant(name)
    network = build(library.base.network, whole.depth, library.tensors(library.base, base))
    rows = []
    for model, manifest in library.manifests.items():
        if manifest.base is None:
            continue
        variant = manifest.variant(name)
        have = {block.digest for block in library.base.blocks}
        beyond = sum(block.bytes for block in manifest.blocks_of(variant, have))
        seen = training.held_out(model, zoo.RECIPE)
        before, tuned = accuracy_of(network(seen.images), seen), known.tuned[model]
        share, behind = beyond / base.bytes, tuned.mean - variant.accuracy
        cells = (model, kilobytes(beyond), f"{share:.1%}", f"{before.mean:.1%}", accuracy(variant))
        holds = share <= MOST_BEYOND and behind <= MOST_BEHIND
        rows.append(Row((*cells, f"{tuned.mean:.1%} ± {tuned.error:.1%}", f"{100 * behind:+.1f}"), holds))
    note = (
        f"Variant {name} ({kilobytes(base.bytes)} kB; in its own situation the base has {base.accuracy:.1%}) on each situation's "
        "held-out images. *Beyond the base*: bytes of the blocks that a device with the base lacks. *All weights*: the base with "
        f"all its weights fine-tuned for the situation, as many steps. Limits: {MOST_BEYOND:.0%} of the base's bytes, "
        f"{100 * MOST_BEHIND:.0f} points behind."
    )
    columns = ("model", "kB beyond the base", "of the base", "the base here", "it here", "all weights", "behind")
    return Table("Specialisations", note, columns, rows)


def variants(library: Library) -> Table:
    """Every variant, beside the same depth and width quantised with the same step alone and coded in one shot."""
    manifest, rows = library.base, []
    for variant in library.coded:
        pieces = manifest.pieces_of(variant.depth, variant.width)
        step = manifest.step / 3 ** (variant.bits - 1)
        alone = codec.encode(pieces, step, 1, library.tensors(manifest, variant))
        size = sum(map(len, alone.values()))
        coarser = {block.digest for block in manifest.blocks_of(variant) if block.level < variant.bits}
        upgrade = sum(block.bytes for block in manifest.blocks_of(variant, coarser)) if variant.bits > 1 else None
        cells = (
            f"{variant.name}{' *' if variant.pareto else ''}",
            f"{variant.bytes:,}",
            f"{size:,}",
            f"{variant.bytes / size:.3f}",
            f"{upgrade:,}" if upgrade is not None else "",
            f"{variant.macs:,}",
            f"{variant.memory:,}",
            accuracy(variant),
            f"{variant.accuracy_float:.1%}",
        )
        rows.append(Row(cells))
    loss, finer = ([lost(variant) for variant in library.coded if variant.bits >= level] for level in (1, 2))
    note = (
        "`d2w3b4`: depth 2, width 3, 4 bit levels; a star: on the Pareto front of bytes and accuracy. Accuracy on held-out images, "
        "with its standard error, and in float32. *Alone*: the same depth and width quantised with the same step by itself and "
        "coded in one shot by the same coder; it has the same weights, so the same accuracy, and upgrading it means fetching all "
        "of it. *Upgrade*: what a device with one level less lacks. "
        f"Loss against float32: mean {100 * np.mean(loss):.2f} points, worst {100 * max(loss):.2f}, from level 2 on worst "
        f"{100 * max(finer):.2f}."
    )
    columns = ("variant", "bytes", "alone", "ours / alone", "upgrade", "MACs", "memory", "accuracy", "float32")
    return Table(f"All {len(rows)} variants of `{manifest.model}`", note, columns, rows)


if __name__ == "__main__":
    sys.exit(main())
