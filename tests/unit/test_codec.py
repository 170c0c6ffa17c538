"""Blocks hold exactly the rounded weights, nest without loss, and are refused where their digest does not match."""

from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from msgspec import structs
from safetensors.numpy import save
from torch import Generator

from edge_nodes import codec
from edge_nodes.architecture import Architecture
from edge_nodes.elastic import Elastic, pieces
from edge_nodes.manifest import Block, Manifest, Variant

TINY = Architecture(size=8, classes=10, stages=2, channels=(1, 2), levels=3, step=0.5)


class Published:
    """An untrained network, encoded."""

    def __init__(self) -> None:
        self.network = Elastic(TINY, Generator().manual_seed(1))
        self.network.fold()
        self.state = self.network.state()
        encoded = codec.encode(TINY, self.state)
        self.contents = {codec.digest_of(content): content for content in encoded.values()}
        blocks = tuple(Block(codec.digest_of(content), len(content), *key) for key, content in encoded.items())
        self.manifest = Manifest("tiny", None, asdict(TINY), blocks, ())

    def variant(self, depth: int, width: int, bits: int) -> Variant:
        fits = (b.stage <= depth and b.group <= width and b.level <= bits for b in self.manifest.blocks)
        indices = tuple(index for index, fit in enumerate(fits) if fit)
        return Variant(f"d{depth}w{width}b{bits}", depth, width, bits, indices, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def published() -> Published:
    return Published()


@pytest.mark.parametrize(("depth", "width", "bits"), list(product((1, 2), (1, 2), (1, 2, 3))))
def test_every_variant_decodes_to_exactly_the_rounded_weights(
    published: Published, depth: int, width: int, bits: int
) -> None:
    model = codec.load(published.manifest, published.variant(depth, width, bits), published.contents)
    step = TINY.step / 3 ** (bits - 1)
    for stage, group in product(range(1, depth + 1), range(1, width + 1)):
        for piece in pieces(TINY, stage, group):
            original = published.state[piece.name][piece.where].numpy()
            rounded = np.rint(original / step).astype(np.float32) * np.float32(step)
            loaded = {f"expand{stage}": model.expand, f"project{stage}": model.project}.get(piece.name)
            if loaded is not None:
                assert np.array_equal(loaded[stage - 1][piece.where].numpy(), rounded)
            elif piece.name == f"exit{depth}":
                assert np.array_equal(model.exit[piece.where].numpy(), original.astype(np.float16).astype(np.float32))


def test_encoding_is_deterministic(published: Published) -> None:
    assert codec.encode(TINY, published.state) == codec.encode(TINY, published.state)


@given(st.floats(-1e3, 1e3, width=32), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_coarser_code_is_the_rounded_weight_of_the_coarser_step(weight: float, step: float) -> None:
    weights = np.array([weight], np.float64)
    if abs(abs(weights / (3 * step)) % 1 - 0.5) > 1e-9:  # halfway between two codes, either is right
        assert codec.coarser(codec.quantise(weights, step)) == codec.quantise(weights, 3 * step)


@given(arrays(np.int16, array_shapes(max_dims=1, max_side=200), elements=st.integers(-30000, 30000)))
def test_levels_differ_by_one_ternary_digit(codes: codec.Codes) -> None:
    digits = codes - 3 * codec.coarser(codes)
    assert set(digits.tolist()) <= {-1, 0, 1}


@given(st.data(), st.integers(2, 255))
def test_digits_survive_compression(data: st.DataObject, radix: int) -> None:
    shape = array_shapes(min_dims=1, max_dims=1, max_side=300)
    digits = data.draw(arrays(np.int16, shape, elements=st.integers(0, radix - 1)))
    stream = codec._compress(digits, radix)
    assert np.array_equal(codec._decompress(stream, radix, digits.size), digits)
    with pytest.raises(ValueError, match="does not hold"):
        codec._decompress(stream, radix, digits.size + 10)


def test_a_weight_too_large_for_the_step_is_an_error(published: Published) -> None:
    with pytest.raises(OverflowError, match="step"):
        codec.encode(replace(TINY, step=1e-4), published.state)


def test_a_missing_block_is_named(published: Published) -> None:
    contents = dict(published.contents)
    digest = published.manifest.blocks[0].digest
    del contents[digest]
    with pytest.raises(codec.BlockError, match="missing") as error:
        codec.load(published.manifest, published.variant(2, 2, 3), contents)
    assert error.value.digest == digest


@given(st.data())
def test_a_damaged_block_is_refused(published: Published, data: st.DataObject) -> None:
    block = data.draw(st.sampled_from(published.manifest.blocks))
    content = bytearray(published.contents[block.digest])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    contents = {**published.contents, block.digest: bytes(content)}
    variant = published.variant(2, 2, 3)
    with pytest.raises(codec.BlockError, match="do not match") as error:
        codec.load(published.manifest, variant, contents)
    assert error.value.digest == block.digest


@pytest.mark.parametrize(
    "content",
    [
        b"no safetensors file",
        save({"other": np.zeros(3, np.uint8)}),
        save({"codes": np.zeros(3, np.uint8), "radix": np.array([3], np.uint8), "plain": np.zeros(1, np.float16)}),
        save({"codes": codec._compress(np.zeros(512, np.int16), 3), "radix": np.array([0], np.uint8)}),
    ],
)
def test_a_block_of_the_right_digest_and_the_wrong_content_is_refused(published: Published, content: bytes) -> None:
    digest = codec.digest_of(content)
    first = next(i for i, b in enumerate(published.manifest.blocks) if (b.stage, b.group, b.level) == (1, 1, 1))
    blocks = list(published.manifest.blocks)
    blocks[first] = structs.replace(blocks[first], digest=digest)
    manifest = structs.replace(published.manifest, blocks=tuple(blocks))
    with pytest.raises(codec.BlockError):
        codec.load(manifest, published.variant(1, 1, 1), {**published.contents, digest: content})


def test_loading_needs_only_the_variants_blocks(published: Published) -> None:
    variant = published.variant(1, 1, 2)
    wanted = {block.digest for block in published.manifest.blocks_of(variant)}
    contents = {digest: content for digest, content in published.contents.items() if digest in wanted}
    model = codec.load(published.manifest, variant, contents)
    with torch.inference_mode():
        assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
