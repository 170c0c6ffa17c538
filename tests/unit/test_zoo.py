"""A library made from nothing in seconds: whole, honest about its accuracy, and the same bytes every time."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edge_nodes.models import codec, compact
from edge_nodes.models.manifest import Manifest, ManifestError, Variant
from edge_nodes.publication import shipping, situations, zoo

TINY = zoo.Recipe(
    shape={"channels": (1, 2), "stages": 2, "blocks": 1, "levels": 2},
    pretrain_steps=30,
    folded_steps=20,
    rounded_steps=20,
    specialise_steps=20,
    rank=2,
    views=2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library as it would ship."""
    folder = tmp_path_factory.mktemp("made")
    lines: list[str] = []
    zoo.build(folder, lines.append, TINY)
    assert len([line for line in lines if "variants" in line]) == len(zoo.MODELS)
    return folder


@pytest.fixture(scope="module")
def library(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, unpacked."""
    folder = tmp_path_factory.mktemp("library")
    shipping.unpack(folder, made)
    return folder


def _manifest(library: Path, model: str) -> Manifest:
    return Manifest.load(library / "manifests" / f"{model}.json")


def _contents(library: Path) -> dict[str, bytes]:
    return {f"sha256:{path.name}": path.read_bytes() for path in (library / "blocks").iterdir()}


def _accuracy(library: Path, manifest: Manifest, variant: Variant, blocks: dict[str, bytes], seen: str) -> float:
    """Measured as a device would run it, on the held-out images of a situation."""
    held_out = load_file(library / "held_out.safetensors")
    images, labels = held_out[f"{seen}/images"], held_out[f"{seen}/labels"]
    network = compact.build(manifest.network, variant.depth, codec.tensors(manifest, variant, blocks))
    with torch.inference_mode():
        return round((network(images).argmax(-1) == labels).double().mean().item(), 6)


def test_the_library_is_whole(library: Path) -> None:
    contents = _contents(library)
    assert {path.stem for path in (library / "manifests").iterdir()} == set(zoo.MODELS)
    used = set()
    for model in zoo.MODELS:
        text = (library / "manifests" / f"{model}.json").read_bytes()
        manifest = Manifest.from_json(text)
        assert manifest.to_json() == text
        assert manifest.base == (None if model == "digits" else "digits")
        assert len(manifest.variants) == 2 * 2 * 2 + 1
        assert sum(variant.pareto for variant in manifest.variants) >= 1
        for block in manifest.blocks:
            assert len(contents[block.digest]) == block.bytes
            used.add(block.digest)
        for variant in manifest.variants:
            assert variant.bytes == sum(block.bytes for block in manifest.blocks_of(variant))
    assert used == set(contents)


def test_specialisations_have_all_nested_blocks_of_their_base(library: Path) -> None:
    nested = [block for block in _manifest(library, "digits").blocks if block.level > 0]
    for model in zoo.MODELS:
        assert [block for block in _manifest(library, model).blocks if block.level > 0] == nested, model


@pytest.mark.parametrize("model", zoo.MODELS)
def test_the_manifests_accuracy_is_what_a_device_gets(library: Path, model: str) -> None:
    manifest, blocks = _manifest(library, model), _contents(library)
    for variant in manifest.variants:
        assert variant.accuracy == _accuracy(library, manifest, variant, blocks, model), variant.name
        assert variant.accuracy_clear == _accuracy(library, manifest, variant, blocks, "digits"), variant.name
        assert variant.accuracy_float is not None


@pytest.mark.parametrize("model", zoo.MODELS)
def test_the_file_is_the_whole_model_at_its_finest_level(library: Path, model: str) -> None:
    manifest, blocks = _manifest(library, model), _contents(library)
    file, finest = (codec.tensors(manifest, manifest.variant(name), blocks) for name in ("file", "d2w2b2"))
    assert file.keys() == finest.keys()
    assert all((file[name] == finest[name]).all() for name in file)
    assert not manifest.variant("file").pareto


def test_a_damaged_library_is_not_unpacked(made: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shutil.copytree(made, shipped)
    victim = min((shipped / "blocks").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(shipping.DamagedLibrary, match=victim.name):
        shipping.unpack(tmp_path / "unpacked", shipped)


def test_two_trainings_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    zoo.build(tmp_path, lambda _: None, TINY)
    files = [file.relative_to(made) for file in sorted(made.rglob("*")) if file.is_file()]
    assert files == [file.relative_to(tmp_path) for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    for file in files:
        assert (tmp_path / file).read_bytes() == (made / file).read_bytes(), file


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
    assert ((first * 255).round().clamp(0, 255) / 255 == first).all()
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("models.manifest", {"torch", "sklearn", "scipy"}),  # a library serves bytes
        ("publication.zoo", {"torch", "sklearn", "scipy"}),  # the command asks for the models' names
        ("publication.shipping", {"torch", "sklearn", "scipy"}),
        ("models.compact", {"sklearn", "scipy"}),  # a device runs models and trains none
        ("models.codec", {"torch", "sklearn", "scipy"}),  # blocks are made and read with numpy alone
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
