"""How the library that ships was made: handwritten digits, and specialisations for five other situations; by training.

Importing this module imports neither torch nor scikit-learn; building does.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from edge_nodes.models import numerics
from edge_nodes.models.manifest import Manifest

if TYPE_CHECKING:
    from edge_nodes.publication.measuring import Accuracy, Published
    from edge_nodes.publication.training import Trained

LICENCE = "CC-BY-4.0"
SOURCE = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (test set), UCI repository, 1998"
# Those of `situations`, which imports torch
MODELS = ("digits", "digits@night", "digits@rain", "digits@dark", "digits@backlit", "digits@sideways")
PROCESSES = 2  # in parallel; what comes out does not depend on it


@dataclass(frozen=True)
class Recipe:
    """How to train. Steps, not seconds."""

    network: str = "residual"  # a function of `networks`
    shape: Mapping[str, Any] = field(default_factory=dict)  # its arguments, where they are not the default
    pretrain_steps: int = 1000  # with batch norm
    folded_steps: int = 600
    rounded_steps: int = 400  # and again as many, with the rate at its height again
    specialise_steps: int = 500
    batch: int = 128
    step_deviations: float = 2.5  # the first quantisation step, in standard deviations of the weights
    rank: int = 6  # of what a specialisation changes
    views: int = 4  # of every held-out image
    seed: int = 0


RECIPE = Recipe()


def build(folder: Path, report: Callable[[str], None], recipe: Recipe = RECIPE) -> None:
    """Train all models and fill `folder` with `manifests/*.json`, `blocks/*` and `held_out.safetensors`.

    `report` gets a line for each step. Raises OSError where the folder cannot be written.
    """
    publish(folder, train(report, recipe), report, recipe)


def train(report: Callable[[str], None], recipe: Recipe = RECIPE) -> dict[str, "Trained"]:
    """Return all models, trained."""
    from edge_nodes.publication import training

    base, *others = MODELS
    report(f"training {base}: {recipe.pretrain_steps} + {recipe.folded_steps} + 2 x {recipe.rounded_steps} steps")
    trained = {base: training.base(recipe)}
    report(f"training {', '.join(others)}: {recipe.specialise_steps} steps each")
    with _workers() as pool:
        specialised = [pool.submit(training.specialise, trained[base], model, recipe) for model in others]
        return trained | {model: future.result() for model, future in zip(others, specialised, strict=True)}


def publish(
    folder: Path, trained: Mapping[str, "Trained"], report: Callable[[str], None], recipe: Recipe = RECIPE
) -> None:
    """Cut trained models into blocks, measure their variants, and fill `folder`."""
    (folder / "manifests").mkdir(parents=True, exist_ok=True)
    (folder / "blocks").mkdir(exist_ok=True)
    report("publishing: cutting into blocks, measuring every variant")
    with _workers() as pool:
        published = [pool.submit(_publish, model, trained[model], trained[MODELS[0]], recipe) for model in MODELS]
        for future in as_completed(published):
            _write(folder, *future.result(), report)
    _write_held_out(folder, recipe)
    report("done")


@contextmanager
def _workers() -> Iterator[ProcessPoolExecutor]:
    """Yield processes that start afresh (a fork of a process with threads may hang); drop what waits on failure."""
    pool = ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _publish(model: str, trained: "Trained", base: "Trained", recipe: Recipe) -> "tuple[Published, Accuracy]":
    """Return the model as it is published, and the accuracy of the whole base model where this one is to be used."""
    from edge_nodes.publication import measuring, training

    own, clear = training.held_out(model, recipe), training.held_out(MODELS[0], recipe)
    manifest = Manifest(model, None if model == MODELS[0] else MODELS[0], {}, (), (), LICENCE, SOURCE)
    with training.reproducible():
        published = measuring.publish(manifest, trained.network(recipe), own, clear)
        return published, measuring.accuracies(base.network(recipe), own)[-1][-1]


def _write(folder: Path, published: "Published", before: "Accuracy", report: Callable[[str], None]) -> None:
    manifest = published.manifest
    for digest, content in published.blocks.items():
        (folder / "blocks" / digest.removeprefix("sha256:")).write_bytes(content)
    (folder / "manifests" / f"{manifest.model}.json").write_bytes(manifest.to_json())
    *nested, _ = manifest.variants
    own = sum(block.bytes for block in manifest.blocks if block.stage > 0 and block.level == 0)
    report(
        f"{manifest.model}: {len(nested)} variants, "
        f"{nested[0].bytes / 1e3:.1f} to {nested[-1].bytes / 1e3:.1f} kB ({own / 1e3:.1f} kB sent once), "
        f"accuracy {nested[0].accuracy:.1%} to {nested[-1].accuracy:.1%}; "
        f"here the base model has {before.mean:.1%}"
    )


def _write_held_out(folder: Path, recipe: Recipe) -> None:
    """Write the images as the sensor reads them, in 8 bits."""
    import torch
    from safetensors.torch import save_file

    from edge_nodes.publication import training

    tensors = {}
    for model in MODELS:
        seen = training.held_out(model, recipe)
        tensors[f"{model}/images"], tensors[f"{model}/labels"] = (
            seen.images.mul(255).round().to(torch.uint8),
            seen.labels,
        )
    save_file(tensors, folder / "held_out.safetensors")


def table(manifest: Manifest) -> str:
    """Return a line for each variant; a star marks those on the Pareto front of bytes and accuracy."""
    lines = [
        f"{manifest.model}",
        "  variant      bytes      MACs     memory   accuracy       in float32   on clear images",
    ]
    lines += [
        f"{'*' if v.pareto else ' '} {v.name:6} {v.bytes:11,} {v.macs:9,} {v.memory:10,}   "
        f"{v.accuracy:6.2%} ± {v.accuracy_se:5.2%}  {v.accuracy_float:6.2%}    {v.accuracy_clear:6.2%}"
        for v in manifest.variants
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Build a library by hand: `python -m edge_nodes.publication.zoo FOLDER`; progress to standard error, tables to output."""
    if len(arguments) != 1:
        print("usage: python -m edge_nodes.publication.zoo FOLDER", file=sys.stderr)
        return 2
    if not numerics.ENVIRONMENT.items() <= os.environ.items():  # which are read when PyTorch starts
        command = [sys.executable, "-m", "edge_nodes.publication.zoo", *arguments]
        return subprocess.run(command, env=os.environ | numerics.ENVIRONMENT, check=False).returncode
    folder, start = Path(arguments[0]), perf_counter()
    build(folder, lambda line: print(f"{perf_counter() - start:6.1f} s  {line}", file=sys.stderr))
    for path in sorted((folder / "manifests").iterdir()):
        print(f"\n{table(Manifest.load(path))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
