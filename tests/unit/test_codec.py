"""Blocks hold exactly the rounded weights, nest without loss, cost what one-shot coding does, and never load anything else."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec import structs
from safetensors.numpy import load, save

from edge_nodes.models import codec
from edge_nodes.models.codec import Floats, Integers, Key
from edge_nodes.models.manifest import MOST_RANK, Block, Delta, Manifest, ManifestError, Piece, Variant

LEVELS, STEP, ROWS, RANK = 3, 0.5, (0, 6, 16), 2  # two groups of six and ten rows
SOME = settings(deadline=None)
UNITS = list(product((1, 2), (1, 2)))
CHOICES = list(product((1, 2), (1, 2), range(1, LEVELS + 1)))
DELTAS = (Delta("matrix1", "left", "right"), Delta("conv1", "left_conv", "right_conv"))


def pieces(stage: int, group: int) -> tuple[Piece, ...]:
    """A block lower triangular matrix and convolution, nested; a dense layer and a vector, sent once."""
    start, stop = ROWS[group - 1 : group + 1]
    return (
        Piece(f"matrix{stage}", stage, group, (start, 0), (stop, stop), nested=True),
        Piece(f"bias{stage}", stage, group, (start,), (stop,), nested=False),
        Piece(f"conv{stage}", stage, group, (start, 0, 0, 0), (stop, stop, 3, 3), nested=True),
        Piece(f"exit{stage}", stage, group, (0, start), (40, stop), nested=False),
    )


def factors(group: int) -> tuple[Piece, ...]:
    start, stop = ROWS[group - 1 : group + 1]
    return (
        Piece("left", 1, group, (start, 0), (stop, RANK), nested=False),
        Piece("right", 1, group, (0, start), (RANK, stop), nested=False),
        Piece("left_conv", 1, group, (start, 0), (stop, RANK), nested=False),
        Piece("right_conv", 1, group, (0, start, 0, 0), (RANK, stop, 3, 3), nested=False),
    )


PIECES = tuple(piece for unit in UNITS for piece in pieces(*unit))
FACTORS = (*factors(1), *factors(2))
SHAPES = {
    **{f"matrix{s}": (16, 16) for s in (1, 2)},
    **{f"conv{s}": (16, 16, 3, 3) for s in (1, 2)},
    **{f"bias{s}": (16,) for s in (1, 2)},
    **{f"exit{s}": (40, 16) for s in (1, 2)},
    **{"left": (16, RANK), "right": (RANK, 16), "left_conv": (16, RANK), "right_conv": (RANK, 16, 3, 3)},
}


@dataclass
class Published:
    manifest: Manifest
    contents: dict[str, bytes]

    def variant(self, depth: int, width: int, bits: int) -> Variant:
        fits = (b.stage <= depth and b.group <= width and b.level <= bits for b in self.manifest.blocks)
        indices = tuple(index for index, fit in enumerate(fits) if fit)
        size = sum(self.manifest.blocks[index].bytes for index in indices)
        return Variant(f"d{depth}w{width}b{bits}", depth, width, bits, indices, size, 0, 0, 0, 0, 0)

    def tensors(self, depth: int, width: int, bits: int) -> dict[str, Floats]:
        return codec.tensors(self.manifest, self.variant(depth, width, bits), self.contents)

    def with_content(self, key: Key, content: bytes) -> "Published":
        """The same with other bytes in a block, and their digest in the manifest."""
        blocks = tuple(
            structs.replace(b, digest=codec.digest_of(content), bytes=len(content))
            if (b.stage, b.group, b.level) == key
            else b
            for b in self.manifest.blocks
        )
        contents = {**self.contents, codec.digest_of(content): content}
        return Published(structs.replace(self.manifest, blocks=blocks), contents)


def publish(encoded: dict[Key, bytes], parts: tuple[Piece, ...], deltas: tuple[Delta, ...] = ()) -> Published:
    blocks = tuple(Block(codec.digest_of(content), len(content), *key) for key, content in encoded.items())
    contents = {codec.digest_of(content): content for content in encoded.values()}
    return Published(Manifest("made", None, {}, blocks, (), pieces=parts, deltas=deltas, step=STEP), contents)


def some_weights(seed: int = 1) -> dict[str, Floats]:
    generator = np.random.default_rng(seed)
    return {name: generator.laplace(0, 0.4, shape).astype(np.float32) for name, shape in SHAPES.items()}


WEIGHTS = some_weights()
BASE = publish(codec.encode(PIECES, STEP, LEVELS, WEIGHTS), PIECES)


def specialised(weights: dict[str, Floats], base: Published) -> Published:
    """What is sent once anew, with factors, and the base's nested blocks."""
    own = codec.encode((*PIECES, *FACTORS), STEP, 0, weights, DELTAS)
    nested = {(b.stage, b.group, b.level): base.contents[b.digest] for b in base.manifest.blocks if b.level}
    return publish({**own, **nested}, (*PIECES, *FACTORS), DELTAS)


NIGHT = specialised(some_weights(2), BASE)
NOTHING = publish(codec.encode(PIECES, STEP, LEVELS, {name: 0 * tensor for name, tensor in WEIGHTS.items()}), PIECES)
NIGHT_OF_NOTHING = specialised(some_weights(2), NOTHING)


def rounded(tensor: str, depth: int, width: int, bits: int) -> Floats:
    """A nested tensor as its publisher would round it: each piece by itself, zero between them."""
    reach = ROWS[width]
    step = STEP / 3 ** (bits - 1)
    result = np.zeros_like(WEIGHTS[tensor][:reach, :reach])
    for piece in PIECES:
        if piece.tensor == tensor and piece.group <= width:
            codes = np.rint(WEIGHTS[tensor][piece.where()].astype(np.float64) / step)
            result[piece.where()] = codes.astype(np.float32) * np.float32(step)
    return result


def same(one: Floats, other: Floats) -> bool:
    return one.dtype == other.dtype == np.float32 and np.array_equal(one, other)


@pytest.mark.parametrize(("depth", "width", "bits"), CHOICES)
def test_every_variant_decodes_to_exactly_the_separately_rounded_weights(depth: int, width: int, bits: int) -> None:
    loaded = BASE.tensors(depth, width, bits)
    assert set(loaded) == {f"{name}{s}" for name in ("matrix", "conv", "bias", "exit") for s in range(1, depth + 1)}
    for stage in range(1, depth + 1):
        for name in (f"matrix{stage}", f"conv{stage}"):
            assert same(loaded[name], rounded(name, depth, width, bits)), name


@pytest.mark.parametrize("published", [BASE, NIGHT], ids=["base", "specialised"])
@pytest.mark.parametrize(("depth", "width", "bits"), CHOICES)
def test_a_variant_is_a_corner_of_every_wider_and_deeper_one(
    published: Published, depth: int, width: int, bits: int
) -> None:
    whole = published.tensors(2, 2, bits)
    for name, tensor in published.tensors(depth, width, bits).items():
        assert same(tensor, whole[name][tuple(map(slice, tensor.shape))]), name


def test_what_is_sent_once_comes_close_and_small_tensors_closer() -> None:
    loaded = BASE.tensors(2, 2, 1)
    for name, most in (("bias1", 1 / 100), ("exit1", 1 / 19)):  # root mean squares
        error = np.abs(loaded[name] - WEIGHTS[name]).max()
        assert 0 < error < most * np.sqrt(np.mean(WEIGHTS[name] ** 2)), name


@pytest.mark.parametrize(("depth", "width", "bits"), CHOICES)
def test_a_delta_is_added_inside_its_tensors_pieces_and_nowhere_else(depth: int, width: int, bits: int) -> None:
    loaded, base, alone = (published.tensors(depth, width, bits) for published in (NIGHT, BASE, NIGHT_OF_NOTHING))
    assert set(loaded) == set(base)
    for delta in DELTAS:
        added = alone[delta.tensor]
        assert added.any()
        assert not added[: ROWS[1], ROWS[1] :].any()
        assert np.linalg.matrix_rank(added[-ROWS[1] :].reshape(ROWS[1], -1)) == RANK
        assert same(loaded[delta.tensor], base[delta.tensor] + added)
    for name in loaded.keys() & {"matrix2", "conv2"}:
        assert same(loaded[name], base[name]), name


def test_training_can_ask_what_a_factor_decodes_to() -> None:
    weights = some_weights(2)
    for rows, columns in (factors(group)[:2] for group in (1, 2)):
        weights["left"][rows.where()] = codec.rounded_factor(weights["left"][rows.where()])
        weights["right"][columns.where()] = codec.rounded_factor(weights["right"][columns.where()])
    product = weights["left"] @ weights["right"]
    assert same(NIGHT_OF_NOTHING.tensors(1, 2, 1)["matrix1"][ROWS[1] :], product[ROWS[1] :])


def test_a_delta_is_close_to_the_product_of_the_factors() -> None:
    weights = some_weights(2)
    product_of_all = (weights["left"] @ weights["right"])[ROWS[1] :]
    error = NIGHT_OF_NOTHING.tensors(1, 2, 1)["matrix1"][ROWS[1] :] - product_of_all
    assert 0 < np.sqrt(np.mean(error**2)) < 0.4 * np.sqrt(np.mean(product_of_all**2))


@SOME
@given(
    arrays(np.int32, (2, MOST_RANK), elements=st.integers(-31 * 7, 31 * 7)),
    arrays(np.int32, (MOST_RANK, 2), elements=st.integers(-31 * 7, 31 * 7)),
    st.integers(-44, 19),
    st.integers(-44, 19),
)
def test_the_product_of_factors_has_no_rounding(left: Integers, right: Integers, e: int, f: int) -> None:
    """So it does not matter in which order a processor sums it up. A step is at most 7, an exponent of two apart."""
    product_of_floats = (left * np.float32(2.0**e)).astype(np.float32) @ (right * np.float32(2.0**f)).astype(np.float32)
    exact = left.astype(object) @ right.astype(object)
    assert [Fraction(x) for x in product_of_floats.ravel().tolist()] == [
        x * Fraction(2) ** (e + f) for x in exact.ravel()
    ]


def test_a_specialisation_costs_only_what_is_sent_once() -> None:
    own = {(b.stage, b.group, b.level) for b in NIGHT.manifest.blocks if b.digest not in BASE.contents}
    assert own == {(stage, group, 0) for stage, group in UNITS}


@pytest.mark.parametrize(("have", "want"), list(product(CHOICES, CHOICES)))
def test_an_upgrade_sends_the_blocks_that_are_missing_and_no_other(
    have: tuple[int, ...], want: tuple[int, ...]
) -> None:
    held = {b.digest for b in BASE.manifest.blocks_of(BASE.variant(*have))}
    sent = {(b.stage, b.group, b.level) for b in BASE.manifest.blocks_of(BASE.variant(*want), held)}
    depth, width, bits = want
    needed = {(s, g, k) for (s, g), k in product(UNITS, range(bits + 1)) if s <= depth and g <= width}
    held_keys = {(s, g, k) for (s, g), k in product(UNITS, range(have[2] + 1)) if s <= have[0] and g <= have[1]}
    assert sent == needed - held_keys


def test_neither_the_order_of_tensors_nor_of_blocks_matters() -> None:
    backwards = dict(reversed(WEIGHTS.items()))
    assert codec.encode(PIECES, STEP, LEVELS, backwards) == codec.encode(PIECES, STEP, LEVELS, WEIGHTS)
    manifest = structs.replace(BASE.manifest, blocks=BASE.manifest.blocks[::-1])
    turned = Published(manifest, BASE.contents).tensors(2, 2, 3)
    assert all(same(tensor, turned[name]) for name, tensor in BASE.tensors(2, 2, 3).items())


def test_other_processors_decode_the_same_bits() -> None:
    """As far as one machine can tell: numpy without its vector instructions, OpenBLAS with those of 2004."""
    code = "import test_codec as t; print(t.digest_of_all())"
    plain = {"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX", "OPENBLAS_CORETYPE": "PRESCOTT"}
    path = os.pathsep.join((os.path.dirname(__file__), *filter(None, sys.path)))
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **plain, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == digest_of_all()


def digest_of_all() -> str:
    """A digest of every variant's tensors, and of the blocks that are made here."""
    digest = hashlib.sha256()
    for published, choice in product((BASE, NIGHT), CHOICES):
        for name, tensor in sorted(published.tensors(*choice).items()):
            digest.update(name.encode() + tensor.tobytes())
    for content in sorted((*BASE.contents, *NIGHT.contents)):
        digest.update(content.encode())
    return digest.hexdigest()


@SOME
@given(st.floats(-1e3, 1e3, width=32), st.sampled_from([0.5, 1.0, 3.0]))
def test_a_coarser_code_is_the_rounded_weight_of_the_coarser_step(weight: float, step: float) -> None:
    weights = np.array([weight], np.float64)
    if abs(abs(weights / (3 * step)) % 1 - 0.5) > 1e-9:  # halfway between two codes, either is right
        assert codec.coarser(codec.quantise(weights, step)) == codec.quantise(weights, 3 * step)


@SOME
@given(arrays(np.int32, st.integers(0, 200), elements=st.integers(-(2**24), 2**24)))
def test_levels_differ_by_one_ternary_digit(codes: Integers) -> None:
    assert set((codes - 3 * codec.coarser(codes)).tolist()) <= {-1, 0, 1}


LINE = (Piece("line", 1, 1, (0,), (60,), nested=True), Piece("once", 1, 1, (0,), (300,), nested=False))


@SOME
@given(
    arrays(np.float32, 60, elements=st.floats(-200, 200, width=32)),
    arrays(np.float32, 300, elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 4),
)
def test_any_weights_survive(nested: Floats, once: Floats, levels: int) -> None:
    published = publish(codec.encode(LINE, STEP, levels, {"line": nested, "once": once}), LINE)
    for bits in range(1, levels + 1):
        loaded = published.tensors(1, 1, bits)
        codes = codec.quantise(nested, STEP / 3 ** (levels - 1))
        for _ in range(levels - bits):
            codes = codec.coarser(codes)
        assert same(loaded["line"], codes.astype(np.float32) * np.float32(STEP / 3 ** (bits - 1)))
        size = max(np.sqrt(np.mean(once.astype(np.float64) ** 2)) / 12, np.abs(once).max() / 2**15, 2e-13)
        assert (
            np.abs(loaded["once"] - once).max() <= 0.63 * size
        )  # half a step, which is up to 5/4 of what was asked for


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.5, 1.5])  # deviations of the weights, in steps of the first level
@pytest.mark.parametrize("kind", ["normal", "laplace"])
def test_nested_blocks_cost_what_one_shot_coding_does(scale: float, kind: str) -> None:
    """At most 1.01 times this coder's own bytes for the finest codes, and with all there is 1.03 times their entropy."""
    parts = (Piece("w", 1, 1, (0, 0), (128, 128), nested=True), Piece("v", 1, 1, (0, 0), (128, 128), nested=True))
    generator = np.random.default_rng(3)
    weights = {
        name: (getattr(generator, kind)(0, scale, (128, 128)) * spread).astype(np.float32)
        for name, spread in (("w", 1), ("v", 0.6))
    }
    nested = {key[2]: len(content) for key, content in codec.encode(parts, 1.0, 4, weights).items()}
    for level in (1, 2, 3, 4):
        step = 3.0 ** (1 - level)
        sent = sum(nested[k] for k in range(1, level + 1))
        assert sent <= 1.01 * len(codec.encode(parts, step, 1, weights)[1, 1, 1]) + 8  # two words of 32 bits
        assert sent <= 1.03 * sum(entropy(codec.quantise(w, step)) for w in weights.values()) + 8 * level


def entropy(codes: Integers) -> float:
    """Bytes that no code of these integers, one by one, can go below."""
    counts = np.array(list(Counter(codes.ravel().tolist()).values()))
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


@pytest.mark.parametrize("weight", [1e7, math.inf, math.nan])
@pytest.mark.parametrize("tensor", ["matrix1", "exit1"])
def test_a_weight_too_large_for_the_step_is_an_error(weight: float, tensor: str) -> None:
    weights = {**WEIGHTS, tensor: WEIGHTS[tensor] * np.float32(weight * (1e9 if tensor == "exit1" else 1))}
    with pytest.raises(OverflowError, match="too (large|small)"):
        codec.encode(PIECES, STEP, LEVELS, weights)


@pytest.mark.parametrize("weight", [2.0**24, math.inf, -math.inf, math.nan])
def test_what_has_no_code_is_not_rounded(weight: float) -> None:
    with pytest.raises(OverflowError, match="too large"):
        codec.quantise(np.array([0, weight]), 1.0)


def test_one_large_weight_makes_a_factors_step_larger() -> None:
    names, shapes = ("w", "left", "right"), ((1000, 1), (1000, 1), (1, 1))
    parts = tuple(Piece(n, 1, 1, (0, 0), shape, n == "w") for n, shape in zip(names, shapes, strict=True))
    weights = {name: np.ones(shape, np.float32) for name, shape in zip(names, shapes, strict=True)}
    weights["left"][0] = 1e6
    deltas = (Delta(*names),)
    loaded = publish(codec.encode(parts, STEP, 1, weights, deltas), parts, deltas).tensors(1, 1, 1)
    assert loaded["w"][0] == pytest.approx(1e6, rel=0.3)


def test_a_missing_block_is_named() -> None:
    variant = BASE.variant(2, 2, 3)
    for block in BASE.manifest.blocks:
        contents = {digest: content for digest, content in BASE.contents.items() if digest != block.digest}
        with pytest.raises(codec.BlockError, match="missing") as error:
            codec.tensors(BASE.manifest, variant, contents)
        assert error.value.digest == block.digest
    with pytest.raises(codec.BlockError, match="stage 2, group 1, level 0: missing"):  # that the variant does not list
        codec.tensors(BASE.manifest, structs.replace(BASE.variant(1, 2, 3), depth=2), BASE.contents)


def test_decoding_needs_only_the_variants_blocks() -> None:
    variant = BASE.variant(1, 1, 2)
    wanted = {block.digest for block in BASE.manifest.blocks_of(variant)}
    contents = {digest: content for digest, content in BASE.contents.items() if digest in wanted}
    assert codec.tensors(BASE.manifest, variant, contents).keys() == {"matrix1", "bias1", "conv1", "exit1"}


@SOME
@given(st.data())
def test_a_damaged_block_is_refused(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from(BASE.manifest.blocks))
    content = bytearray(BASE.contents[block.digest])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(codec.BlockError, match="do not match") as error:
        codec.tensors(BASE.manifest, BASE.variant(2, 2, 3), {**BASE.contents, block.digest: bytes(content)})
    assert error.value.digest == block.digest


@SOME
@given(st.data(), st.sampled_from(range(LEVELS + 1)))
def test_a_block_of_the_right_digest_and_other_content_is_refused_or_fits(data: st.DataObject, level: int) -> None:
    """Whatever bytes a publisher names: an error that names the block, or tensors of the manifest's shapes and numbers."""
    key = data.draw(st.sampled_from(UNITS)) + (level,)
    original = bytearray(
        next(NIGHT.contents[b.digest] for b in NIGHT.manifest.blocks if (b.stage, b.group, b.level) == key)
    )
    where = data.draw(st.integers(0, len(original) - 1))
    original[where] ^= data.draw(st.integers(1, 255))
    content = data.draw(st.sampled_from([bytes(original), None])) or data.draw(st.binary(max_size=200))
    published = NIGHT.with_content(key, content)
    try:
        loaded = published.tensors(2, 2, 3)
    except codec.BlockError as error:
        assert error.digest == codec.digest_of(content)
        assert "does not fit the manifest" in error.what
    else:
        assert all(np.isfinite(tensor).all() for tensor in loaded.values())
        assert {name: tensor.shape for name, tensor in loaded.items()} == {n: WEIGHTS[n].shape for n in loaded}


@pytest.mark.parametrize("level", range(LEVELS + 1))
def test_a_block_that_is_cut_or_goes_on_is_refused(level: int) -> None:
    digest = next(b.digest for b in BASE.manifest.blocks if (b.stage, b.group, b.level) == (1, 2, level))
    content = BASE.contents[digest]
    for wrong in (
        b"",
        content[1:],
        content[4:],
        b"\1\0\0\0" + content,
        content * 2,
    ):  # what is decoded last stands first
        with pytest.raises(codec.BlockError, match="does not fit"):
            BASE.with_content((1, 2, level), wrong).tensors(2, 2, 3)


def test_a_factor_whose_codes_could_lead_to_rounding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(codec, "KINDS", (*codec.KINDS[:2], (100, 2**15 - 1)))
        forged = specialised(some_weights(2), BASE)
    with pytest.raises(codec.BlockError, match="beyond 31"):
        forged.tensors(1, 1, 1)


def test_a_plain_file_is_a_variant_too() -> None:
    wanted = NIGHT.tensors(2, 2, LEVELS)
    content = codec.plain(NIGHT.manifest, wanted)
    published = publish({(0, 0, 0): content}, (*PIECES, *FACTORS), DELTAS)
    loaded = published.tensors(2, 2, 0)
    assert loaded.keys() == wanted.keys()
    assert all(same(loaded[name], tensor) for name, tensor in wanted.items())
    parts = load(content)
    assert sum(part.size for part in parts.values()) == sum(
        piece.size() for piece in PIECES
    )  # and no zeros between them
    first = next(iter(parts))
    doubles = {name: part.astype(np.float64) for name, part in parts.items()}
    without = {name: part for name, part in parts.items() if name != first}
    for wrong in (b"", save(without), save(doubles), save({**parts, first: np.zeros(3, np.float32)})):
        with pytest.raises(codec.BlockError, match="does not fit"):
            published.with_content((0, 0, 0), wrong).tensors(2, 2, 0)


def faulty(change: Any) -> str:
    """The specialised manifest as JSON, after `change` of its document."""
    document = json.loads(NIGHT.manifest.to_json())
    document["variants"] = [json.loads(Manifest("", None, {}, (), (NIGHT.variant(2, 2, 3),)).to_json())["variants"][0]]
    Manifest.from_json(json.dumps(document))
    change(document)
    return json.dumps(document)


FACTOR = len(PIECES)  # index of the piece of `left` for the first group


def of_large_rank(document: Any) -> None:
    for piece in document["pieces"]:
        if piece["tensor"] in ("left", "right"):
            piece["stop"][piece["tensor"] == "left"] = 257


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["pieces"][0].update(start=[0]), "stage 1, group 1"),
        (lambda m: m["pieces"][0].update(start=[], stop=[]), "stage 1, group 1"),
        (lambda m: m["pieces"][0].update(start=[-1, 0]), "stage 1, group 1"),
        (lambda m: m["pieces"][0].update(stop=[0, 6]), "stage 1, group 1"),
        (lambda m: m["pieces"][0].update(group=0), "group 0"),
        (lambda m: m["pieces"][0].update(start=[0], stop=[6]), "how many dimensions"),
        (lambda m: m["pieces"][0].update(start=[10**9, 0], stop=[10**9 + 1, 6]), "more than 268435456 weights"),
        (lambda m: m.update(step=0.0), "step"),
        (lambda m: m["variants"][0].update(bits=9), "has 9 levels"),
        (lambda m: m["variants"][0]["blocks"].append(99), "not listed"),
        (lambda m: m["deltas"][0].update(left="nothing"), "no(t of one rank|t reach)"),
        (lambda m: m["deltas"][0].update(left="matrix1"), "nested|not of one rank"),
        (lambda m: m["deltas"][0].update(tensor="conv1"), "do not reach as far as conv1"),
        (lambda m: m["deltas"][0].update(tensor="left_conv"), "factors themselves"),
        (lambda m: m["pieces"][FACTOR].update(nested=True), "nested"),
        (of_large_rank, "one rank, 256 at most"),
        (lambda m: m["pieces"][FACTOR].update(stop=[6, 3]), "one rank"),
        (lambda m: m["pieces"][FACTOR].update(start=[0, 1]), "one rank"),
        (lambda m: m["pieces"][FACTOR].update(stop=[5, 2]), "do not reach as far as matrix1 at stage 1, group 1"),
    ],
)
def test_a_manifest_whose_parts_do_not_fit_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        Manifest.from_json(faulty(change))
