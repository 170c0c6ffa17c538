"""Devices share what is equal, and nothing else: a network is built once, and only for those that have its blocks."""

from pathlib import Path

import pytest

from edge_nodes.choosing.policies import Limits
from edge_nodes.devices.factory import Factory
from edge_nodes.models import codec, networks
from edge_nodes.models.manifest import Block, Manifest, Variant

ANY = Limits(10**9, 10**12, 10**9, 0, 0, frozenset())


def published(folder: Path) -> tuple[Manifest, dict[str, bytes]]:
    """An untrained network, published in a folder: its manifest and blocks."""
    network = networks.residual((1, 2), stages=1, blocks=1, levels=2)
    network.fold()
    encoded = codec.encode(network.pieces(), 0.5, network.levels, network.tensors())
    contents = {codec.digest_of(content): content for content in encoded.values()}
    blocks = tuple(Block(codec.digest_of(content), len(content), *key) for key, content in encoded.items())
    variants = tuple(
        Variant(f"d1w{w}b2", 1, w, 2, tuple(n for n, b in enumerate(blocks) if b.group <= w), w, 1, 1, w / 2, 0.0, 1.0)
        for w in (1, 2)
    )
    manifest = Manifest("tiny", None, network.describe(), blocks, variants, pieces=network.pieces(), step=0.5)
    for name in ("manifests", "blocks"):
        (folder / name).mkdir()
    (folder / "manifests" / "tiny.json").write_bytes(manifest.to_json())
    for digest, content in contents.items():
        (folder / "blocks" / digest.removeprefix("sha256:")).write_bytes(content)
    return manifest, contents


def test_devices_of_a_kind_are_sold_with_one_network(tmp_path: Path) -> None:
    published(tmp_path)
    factory = Factory(tmp_path)
    first, second = (factory.build(*factory.base("tiny", ANY)) for _ in range(2))
    assert first is second


def test_another_variant_is_another_network(tmp_path: Path) -> None:
    manifest, blocks = published(tmp_path)
    factory = Factory(tmp_path)
    narrow, wide = (factory.build(manifest, variant, blocks) for variant in manifest.variants)
    assert narrow.macs() < wide.macs()


def test_a_device_that_lacks_a_block_does_not_get_the_network_of_another(tmp_path: Path) -> None:
    manifest, blocks = published(tmp_path)
    factory, variant = Factory(tmp_path), manifest.variants[0]
    factory.build(manifest, variant, blocks)
    missing = manifest.blocks_of(variant)[0].digest
    with pytest.raises(codec.BlockError, match="missing"):
        factory.build(manifest, variant, {digest: data for digest, data in blocks.items() if digest != missing})
