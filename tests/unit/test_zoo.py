"""A library made from nothing in seconds: whole, honest about its accuracy, and the same bytes every time."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edge_nodes import codec, elastic, situations, training, zoo
from edge_nodes.architecture import Architecture
from edge_nodes.manifest import Manifest, ManifestError

TINY = zoo.Recipe(
    architecture=Architecture(size=8, classes=10, stages=2, channels=(2, 2), levels=2),
    pretrain_steps=30,
    tune_steps=20,
    specialise_steps=20,
    views=2,
)
MODELS = ("digits", "digits@dark", "digits@night", "digits@rain")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    lines: list[str] = []
    zoo.build(folder, lines.append, TINY)
    assert len(lines) == 2 + len(MODELS)
    return folder


def _contents(library: Path) -> dict[str, bytes]:
    return {f"sha256:{path.name}": path.read_bytes() for path in (library / "blocks").iterdir()}


def test_the_library_is_whole(library: Path) -> None:
    contents = _contents(library)
    assert sorted(path.stem for path in (library / "manifests").iterdir()) == sorted(MODELS)
    used = set()
    for path in (library / "manifests").iterdir():
        text = path.read_bytes()
        manifest = Manifest.from_json(text)
        assert manifest.to_json() == text
        assert manifest.base == (None if manifest.model == "digits" else "digits")
        assert len(manifest.variants) == 2 * 2 * 2
        assert sum(variant.pareto for variant in manifest.variants) >= 1
        for block in manifest.blocks:
            assert len(contents[block.digest]) == block.bytes
            used.add(block.digest)
        for variant in manifest.variants:
            assert variant.bytes == sum(block.bytes for block in manifest.blocks_of(variant))
    assert used == set(contents)


def test_specialisations_share_the_finer_blocks_of_the_last_stage(library: Path) -> None:
    of_base, of_night = (
        {b.digest: b for b in Manifest.load(library / "manifests" / f"{m}.json").blocks} for m in MODELS[::2]
    )
    shared = of_base.keys() & of_night.keys()
    assert {(of_base[d].stage, of_base[d].group, of_base[d].level) for d in shared} >= {(2, 1, 2), (2, 2, 2)}


@pytest.mark.parametrize("model", MODELS)
def test_the_manifests_accuracy_is_what_a_device_gets(library: Path, model: str) -> None:
    manifest, contents = Manifest.load(library / "manifests" / f"{model}.json"), _contents(library)
    held_out = load_file(library / "held_out.safetensors")
    images, labels = held_out[f"{model}/images"], held_out[f"{model}/labels"]
    assert images.shape == (2 * 597, 1, 8, 8)
    for variant in manifest.variants:
        network = elastic.build(manifest.network, variant.depth, codec.tensors(manifest, variant, contents))
        with torch.inference_mode():
            right = (network(images).argmax(-1) == labels).double().mean().item()
        assert variant.accuracy == pytest.approx(right, abs=2e-6)


def test_two_trainings_give_the_same_bytes(library: Path) -> None:
    published = training.base(TINY)
    assert published.manifest.to_json() == (library / "manifests" / "digits.json").read_bytes()


def test_no_image_is_in_two_parts_of_the_split() -> None:
    parts = situations.split()
    assert [len(part.labels) for part in parts] == [1000, 200, 597]
    train, _, held_out = ({image.numpy().tobytes() for image in part.images} for part in parts)
    assert not train & held_out


@pytest.mark.parametrize("situation", situations.SITUATIONS)
def test_a_view_is_what_a_sensor_can_read_and_repeats_with_its_seed(situation: str) -> None:
    images = situations.split()[1].images
    first, second = (situations.see(situation, images, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == images.shape
    assert (first.clamp(0, 1) == first).all()
    assert torch.equal(first, second)


def test_key_depends_on_the_recipe() -> None:
    assert zoo.key() == zoo.key()
    assert zoo.key() != zoo.key(TINY)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("manifest", {"torch", "sklearn", "scipy"}),  # a library serves bytes
        ("zoo", {"torch", "sklearn", "scipy"}),  # asking for the key must be quick
        ("codec", {"torch", "sklearn", "scipy"}),  # blocks are made and read with numpy alone
    ],
)
def test_importing_brings_no_more_than_needed(module: str, unwanted: set[str]) -> None:
    code = f"import sys, edge_nodes.{module}; print(*sorted({unwanted} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"architecture": {}}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.from_json(text)


def test_a_manifest_of_unlisted_blocks_is_refused(library: Path) -> None:
    text = (library / "manifests" / "digits.json").read_text()
    assert '"blocks":[0' in text
    with pytest.raises(ManifestError, match="not listed"):
        Manifest.from_json(text.replace('"blocks":[0', '"blocks":[99', 1))


def test_the_models_that_are_named_are_those_that_have_a_situation() -> None:
    assert set(zoo.MODELS) == set(situations.SITUATIONS)
