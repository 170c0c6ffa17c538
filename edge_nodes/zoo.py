"""The library that ships: handwritten digits, and specialisations for night, rain and dark; made by training.

Importing this module imports neither torch nor scikit-learn; building does.
"""

import hashlib
import multiprocessing
import platform
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from edge_nodes.architecture import Architecture
from edge_nodes.manifest import Manifest

if TYPE_CHECKING:
    from edge_nodes.training import Published

LICENCE = "CC-BY-4.0"
SOURCE = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI repository, 1998"
MODELS = ("digits", "digits@night", "digits@rain", "digits@dark")  # those of `situations`, which imports torch
MODULES = (
    "architecture",
    "manifest",
    "elastic",
    "codec",
    "numerics",
    "situations",
    "training",
    "zoo",
)  # what a library is made by
PROCESSES = 2  # in parallel; what comes out does not depend on it
ARCHITECTURE = Architecture(size=8, classes=10, stages=3, channels=(4, 4, 8, 16), levels=3)


@dataclass(frozen=True)
class Recipe:
    """How to train. Steps, not seconds."""

    architecture: Architecture = ARCHITECTURE
    pretrain_steps: int = 1000
    tune_steps: int = 600
    specialise_steps: int = 600
    batch: int = 128
    step_deviations: float = 3.0  # the first quantisation step, in standard deviations of the weights
    views: int = 4  # of every held-out image
    seed: int = 0


RECIPE = Recipe()


def key(recipe: Recipe = RECIPE) -> str:
    """Return a hash of what a library is made from: this code, its recipe, the packages it calls, the processor."""
    digest = hashlib.sha256(f"{recipe} {platform.machine()} zlib {zlib.ZLIB_RUNTIME_VERSION}".encode())
    for package in ("torch", "numpy", "scikit-learn", "safetensors"):
        digest.update(f"{package} {version(package)}".encode())
    for module in MODULES:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:16]


def build(folder: Path, report: Callable[[str], None], recipe: Recipe = RECIPE) -> None:
    """Train all models and fill `folder` with `manifests/*.json`, `blocks/*` and `held_out.safetensors`.

    `report` gets a line for each model. Raises OSError where the folder cannot be written.
    """
    from edge_nodes import situations, training

    (folder / "manifests").mkdir(parents=True, exist_ok=True)
    (folder / "blocks").mkdir(exist_ok=True)
    report(f"training {situations.BASE}: {recipe.pretrain_steps + recipe.tune_steps} steps")
    base = training.base(recipe)
    _write(folder, base, report)
    others = [model for model in situations.SITUATIONS if model != situations.BASE]
    report(f"training {', '.join(others)}: {recipe.specialise_steps} steps each")
    with _workers() as pool:
        for future in as_completed([pool.submit(training.specialise, base, model, recipe) for model in others]):
            _write(folder, future.result(), report)
    _write_held_out(folder, recipe)


@contextmanager
def _workers() -> Iterator[ProcessPoolExecutor]:
    """Yield processes that start afresh (a fork of a process with threads may hang); drop what waits on failure."""
    pool = ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _write(folder: Path, published: "Published", report: Callable[[str], None]) -> None:
    manifest = published.manifest
    for digest, content in published.blocks.items():
        (folder / "blocks" / digest.removeprefix("sha256:")).write_bytes(content)
    (folder / "manifests" / f"{manifest.model}.json").write_bytes(manifest.to_json())
    smallest, largest = (choose(manifest.variants, key=lambda variant: variant.bytes) for choose in (min, max))
    report(
        f"{manifest.model}: {len(manifest.variants)} variants, "
        f"{smallest.bytes / 1e3:.1f} to {largest.bytes / 1e3:.1f} kB, "
        f"accuracy {smallest.accuracy:.1%} to {largest.accuracy:.1%}"
    )


def _write_held_out(folder: Path, recipe: Recipe) -> None:
    from safetensors.torch import save_file

    from edge_nodes import situations, training

    tensors = {}
    for model in situations.SITUATIONS:
        seen = training.held_out(model, recipe)
        tensors[f"{model}/images"], tensors[f"{model}/labels"] = seen.images, seen.labels
    save_file(tensors, folder / "held_out.safetensors")


def table(manifest: Manifest) -> str:
    """Return a line for each variant; a star marks those on the Pareto front of bytes and accuracy."""
    lines = [f"{manifest.model}", "  variant      bytes      MACs    memory   accuracy      on clear images"]
    lines += [
        f"{'*' if v.pareto else ' '} {v.name} {v.bytes:11,} {v.macs:9,} {v.memory:9,}   "
        f"{v.accuracy:6.1%} ± {v.accuracy_se:4.1%}   {v.accuracy_clear:6.1%}"
        for v in manifest.variants
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Build a library by hand: `python -m edge_nodes.zoo FOLDER`; progress goes to standard error, tables to standard output."""
    if len(arguments) != 1:
        print("usage: python -m edge_nodes.zoo FOLDER", file=sys.stderr)
        return 2
    folder, start = Path(arguments[0]), perf_counter()
    build(folder, lambda line: print(f"{perf_counter() - start:6.1f} s  {line}", file=sys.stderr))
    for path in sorted((folder / "manifests").iterdir()):
        print(f"\n{table(Manifest.load(path))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
