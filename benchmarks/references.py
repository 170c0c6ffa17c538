"""What the library's models are compared with and that does not ship: trained once, and cached."""

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from edge_nodes.models import codec, elastic, networks, numerics
from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import situations, training, zoo
from edge_nodes.publication.measuring import Accuracy, accuracy_of
from insitu import cache

MODULES = (elastic, networks, numerics, situations, training)  # what trained weights depend on
LEVEL = 3  # at which specialisations are compared: the third of four
RATE = 2e-3  # of fine-tuning all weights; better than 1e-3


class References(NamedTuple):
    """The base model's weights before they were tuned to be rounded; the accuracy of all weights tuned for a situation."""

    unrounded: dict[str, NDArray[np.float32]]
    tuned: dict[str, Accuracy]


def load(library: Path) -> References:
    sources = _sources()
    unrounded = cache.cached("unrounded", _key(sources), _train)
    files = [*sources, Path(__file__), *sorted((library / "manifests").iterdir())]
    tuned = cache.cached("tuned", _key(files), lambda folder: _tune(folder, library))
    accuracies = json.loads((tuned / "accuracies.json").read_text())
    weights = safetensors.numpy.load_file(unrounded / "weights.safetensors")
    return References(weights, {model: Accuracy(*accuracy) for model, accuracy in accuracies.items()})


def _sources() -> list[Path]:
    return [Path(str(module.__file__)) for module in MODULES]


def _key(files: list[Path]) -> str:
    digest = hashlib.sha256(f"{zoo.RECIPE} torch {version('torch')}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _train(folder: Path) -> None:
    network = training.unrounded(zoo.RECIPE).network(zoo.RECIPE)
    safetensors.numpy.save_file(network.tensors(), folder / "weights.safetensors")


def _tune(folder: Path, library: Path) -> None:
    with ProcessPoolExecutor(zoo.PROCESSES, mp_context=get_context("spawn")) as pool:
        others = {model: pool.submit(_tuned, library, model) for model in zoo.MODELS[1:]}
        accuracies = {model: future.result() for model, future in others.items()}
    (folder / "accuracies.json").write_text(json.dumps(accuracies))


def _tuned(library: Path, model: str) -> Accuracy:
    """Fine-tune every weight of the base model for a situation, as long as its specialisation was, from what ships of it."""
    manifest = Manifest.load(library / "manifests" / f"{zoo.MODELS[0]}.json")
    file = manifest.variant("file")
    blocks = {block.digest: _content(library, block.digest) for block in manifest.blocks_of(file)}
    start = training.Trained(codec.tensors(manifest, file, blocks), manifest.step)
    with training.reproducible():
        network = start.network(zoo.RECIPE)
        training.fit(network, model, zoo.RECIPE, zoo.RECIPE.specialise_steps, RATE, training.any_level)
        seen = training.held_out(model, zoo.RECIPE)
        return accuracy_of(network(seen.images, LEVEL)[-1, -1].detach(), seen)


def _content(library: Path, digest: str) -> bytes:
    return (library / "blocks" / digest.removeprefix("sha256:")).read_bytes()
