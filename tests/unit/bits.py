"""What a processor computes, to the bit, as JSON: `python bits.py LIBRARY`. A name -> a digest of what came out.

Runs under qemu-user too, whose gathers are broken, so `grid_sample` is missing here.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from edge_nodes.devices.factory import Factory
from edge_nodes.models import numerics
from edge_nodes.models.manifest import Manifest

MODELS = ("digits", "digits@night")  # all other specialisations have the layers of this one
BATCHES = (1, 2, 7, 64)  # their products take different ways through the libraries


def digest(*results: Tensor) -> str:
    return hashlib.sha256(b"".join(result.detach().numpy().tobytes() for result in results)).hexdigest()


def inference(library: Path) -> dict[str, str]:
    """The logits of the smallest and the largest variant of each model."""
    images = load_file(library / "held_out.safetensors")
    factory = Factory(library)
    found = {}
    for model in MODELS:
        manifest = Manifest.load(library / "manifests" / f"{model}.json")
        coded = [variant for variant in manifest.variants if variant.bits]
        for variant in (coded[0], coded[-1]):
            names = [block.digest for block in manifest.blocks_of(variant)]
            blocks = {name: (library / "blocks" / name.removeprefix("sha256:")).read_bytes() for name in names}
            network = factory.build(manifest, variant, blocks)
            with torch.inference_mode():
                logits = [network(images[f"{manifest.model}/images"][:batch]) for batch in BATCHES]
            found[f"{manifest.model} {variant.name}"] = digest(*logits)
    return found


def training() -> dict[str, str]:
    """The weights of a small network after some steps of everything that training an elastic one does."""
    generator = Generator().manual_seed(1)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1)]
    network = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(256, 64), nn.BatchNorm1d(64), nn.Linear(64, 10))
    for weight in network.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02, fused=True)
    for _ in range(5):
        labels = torch.randint(10, (32,), generator=generator)
        logits = network(torch.randn(32, 1, 8, 8, generator=generator))
        loss = F.cross_entropy(logits, F.one_hot(labels, 10).float(), label_smoothing=0.1) + logits.softmax(-1).std()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return {"training": digest(*network.state_dict().values())}


def functions() -> dict[str, str]:
    """Elementary functions, and decompositions as low-rank parts need them."""
    draw = np.random.default_rng(0)
    values, matrix = draw.random(4099).astype(np.float32), draw.random((96, 64)).astype(np.float32)
    tensor = torch.from_numpy(values)
    found = {name: digest(getattr(torch, name)(tensor)) for name in ("exp", "log", "sin", "cos", "tanh", "erf")}
    found["sqrt"] = digest(numerics.sqrt(tensor))
    found["svd"] = digest(*torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False))
    of_numpy = (np.exp(values.astype(np.float64)), np.log(values), matrix.T @ matrix, *np.linalg.svd(matrix))
    found["numpy"] = digest(*map(torch.from_numpy, of_numpy))
    return found


if __name__ == "__main__":
    json.dump(inference(Path(sys.argv[1])) | training() | functions(), sys.stdout)
