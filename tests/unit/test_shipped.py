"""The library that ships: small, whole, and as accurate as it says, to the last digit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_nodes.models import codec, numerics
from edge_nodes.models.manifest import Manifest, Variant
from edge_nodes.publication import shipping, zoo

MANIFESTS = {model: Manifest.load(shipping.SHIPPED / "manifests" / f"{model}.json") for model in zoo.MODELS}
WHOLE = "d3w4b4"
MEASURED = ("d1w1b1", "d2w3b2", WHOLE, "file")
MEASURE = """
import json, sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from edge_nodes.models import codec, compact
from edge_nodes.models.manifest import Manifest
library, names = Path(sys.argv[1]), sys.argv[2:]
seen, result = load_file(library / "held_out.safetensors"), {}

def accuracy(model, name, situation):
    manifest = Manifest.load(library / "manifests" / f"{model}.json")
    variant = manifest.variant(name)
    blocks = {b.digest: (library / "blocks" / b.digest[7:]).read_bytes() for b in manifest.blocks_of(variant)}
    network = compact.build(manifest.network, variant.depth, codec.tensors(manifest, variant, blocks))
    with torch.inference_mode():
        answers = network(seen[f"{situation}/images"]).argmax(-1)
    return round((answers == seen[f"{situation}/labels"]).double().mean().item(), 6)

for model in (file.stem for file in (library / "manifests").iterdir()):
    result |= {f"{model} {name}": accuracy(model, name, model) for name in names}
    result[f"base in {model}"] = accuracy("digits", names[-1], model)
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    shipping.unpack(folder)
    return folder


def test_it_is_small_and_has_nothing_that_no_manifest_names() -> None:
    files = [file for file in shipping.SHIPPED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 3_000_000
    named = {block.digest[7:] for manifest in MANIFESTS.values() for block in manifest.blocks if block.stage > 0}
    assert {file.name for file in files if file.parent.name == "blocks"} == named


def test_unpacked_every_block_is_there_and_is_what_its_digest_says(library: Path) -> None:
    for manifest in MANIFESTS.values():
        for block in manifest.blocks:
            content = (library / "blocks" / block.digest[7:]).read_bytes()
            assert (len(content), codec.digest_of(content)) == (block.bytes, block.digest)


@pytest.fixture(scope="module")
def measured(library: Path) -> dict[str, float]:
    """Accuracies of some variants, and of the base model in every situation."""
    command = [sys.executable, "-c", MEASURE, str(library), *MEASURED]
    result = subprocess.run(command, env=os.environ | numerics.ENVIRONMENT, check=True, capture_output=True, text=True)
    return dict(json.loads(result.stdout))


def test_measured_again_the_accuracies_are_those_of_the_manifests(measured: dict[str, float]) -> None:
    for model, manifest in MANIFESTS.items():
        for name in MEASURED:
            assert measured[f"{model} {name}"] == manifest.variant(name).accuracy, f"{model} {name}"


def losses(levels: range) -> dict[str, float]:
    """How many points of accuracy variants of the base model lose to float32 of the same depth and width."""
    return {v.name: 100 * (_float(v) - v.accuracy) for v in MANIFESTS["digits"].variants if v.bits in levels}


def _float(variant: Variant) -> float:
    assert variant.accuracy_float is not None
    return variant.accuracy_float


def test_rounding_costs_little() -> None:
    every, from_the_second = losses(range(1, 5)), losses(range(2, 5))
    assert len(every) == 48
    assert max(every.values()) <= 1.5
    assert sum(every.values()) / len(every) <= 0.5
    assert max(from_the_second.values()) <= 1.0


def test_the_whole_net_takes_3_percent_of_its_float32_bytes_at_half_a_point() -> None:
    coarsest = MANIFESTS["digits"].variant("d3w4b1")
    weights = sum(piece.size() for piece in MANIFESTS["digits"].pieces)  # without the zeros above the block diagonals
    assert coarsest.bytes <= 0.03 * 4 * weights
    assert _float(coarsest) - coarsest.accuracy <= 0.005


@pytest.mark.parametrize("model", zoo.MODELS[1:])
def test_a_specialisation_shares_all_but_6_percent_of_the_bytes(model: str) -> None:
    base, own = MANIFESTS["digits"], MANIFESTS[model]
    held = {block.digest for block in base.blocks}
    missing = sum(block.bytes for block in own.blocks_of(own.variant(WHOLE), held))
    assert missing <= 0.06 * base.variant("d3w4b3").bytes


@pytest.mark.parametrize("model", zoo.MODELS[1:])
def test_the_base_model_falls_where_there_is_a_specialisation(model: str, measured: dict[str, float]) -> None:
    """The worst of the specialisation is better there than all of the base model."""
    assert min(variant.accuracy for variant in MANIFESTS[model].variants) > measured[f"base in {model}"] + 0.3
