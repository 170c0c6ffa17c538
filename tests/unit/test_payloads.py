"""Payload models: bytes of a given size in a model's place."""

import hashlib
from pathlib import Path

import pytest
from builders import manifest_of, planned
from hypothesis import given
from hypothesis import strategies as st

from edge_nodes.delivery import digest_of
from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import shipping
from edge_nodes.tiers import payloads
from edge_nodes.tiers.library import read
from scenarios.plan import Plan

SIZES = st.integers(1, 3 * payloads.TILE)


def asked(situations: list[dict[str, str]], **device: object) -> list[tuple[float, str]]:
    """Seconds and models of what a device asks for whose application is `weights`."""
    plan: Plan = planned(
        models={"weights": "sha256:" + "0" * 64, "digits": "sha256:" + "1" * 64},
        network={"gnbs": [{"name": "square"}, {"name": "market"}]},
        payloads={"weights": {"size": "1 MB"}},
        devices=[{"name": "phone", "at": "square", "application": "weights", **device}],
        situations=situations,
    )
    return [(need.time_ns / 1e9, need.model) for need in plan.devices[0].needs]


@given(SIZES)
def test_a_plain_payload_is_its_size_in_blocks_and_as_a_file(size: int) -> None:
    manifest = payloads.plain("weights", size)
    assert {name: manifest.variant(name).bytes for name in ("full", "file")} == {"full": size, "file": size}
    assert len(manifest.variant("file").blocks) == 1
    for variant in manifest.variants:
        assert sum(block.bytes for block in manifest.blocks_of(variant)) == size


def test_what_passes_is_small() -> None:
    manifest = payloads.plain("weights", 138_000_000)
    assert max(block.bytes for block in manifest.blocks_of(manifest.variant("full"))) <= payloads.BLOCK


@given(SIZES, st.data())
def test_a_block_is_the_same_from_any_offset(size: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, size))
    whole = b"".join(payloads.content("weights", 1, size))
    assert len(whole) == size
    assert b"".join(payloads.content("weights", 1, size, offset)) == whole[offset:]


def test_no_two_blocks_are_the_same() -> None:
    manifests = payloads.plain("weights", 40_000_000), payloads.plain("others", 40_000_000)
    digests = [block.digest for manifest in manifests for block in manifest.blocks]
    assert len(set(digests)) == len(digests)


async def test_a_store_gives_payloads_as_their_digests_promise_and_all_else(tmp_path: Path) -> None:
    manifest = payloads.plain("weights", 3_000_000)
    (tmp_path / "weights.json").write_bytes(manifest.to_json())
    store = payloads.WithPayloads(Nothing(), [tmp_path / "weights.json"])
    for block in manifest.blocks:
        source = store.get(block.digest)
        assert source is not None and source.bytes == block.bytes
        assert digest_of(await read(source)) == block.digest
    text = store.get(digest_of(manifest.to_json()))
    assert text is not None and Manifest.from_json(await read(text)) == manifest
    assert store.get("sha256:" + hashlib.sha256(b"").hexdigest()) is None


class Nothing:
    """A store that has nothing."""

    def get(self, _: str) -> None:
        return None

    def models(self, _: object) -> None:
        pass

    def put(self, *_: object) -> None:
        raise AssertionError("nothing is put into what was published")


@pytest.fixture
def like() -> Manifest:
    """Three blocks of 100, 300 and 50 bytes for 1,000 weights."""
    return manifest_of(
        "digits",
        [bytes(100), b"1" * 300, b"2" * 50],
        small={"blocks": [0], "accuracy": 0.8},
        large={"blocks": [0, 1, 2], "accuracy": 0.9},
    )


def test_an_elastic_payload_has_the_others_variants_in_proportion(
    like: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "weights", lambda _: 1000)
    made = payloads.scaled("weights", 2_000_000, like)
    assert [block.bytes for block in made.blocks] == [200_000, 600_000, 100_000]
    assert [(v.name, v.bytes, v.accuracy) for v in made.variants] == [("small", 200_000, 0.8), ("large", 900_000, 0.9)]


def test_a_request_for_each_situation_that_begins() -> None:
    twice = [{"time": "1 s..3 s", "model": "weights"}, {"time": "3 s..", "model": "weights"}]
    assert asked(twice) == [(1.0, "weights"), (3.0, "weights")]
    assert asked([{"time": "1 s..3 s", "model": "weights"}, {"time": "5 s..", "model": "weights"}]) == [
        (1.0, "weights"),
        (5.0, "weights"),
    ]


def test_none_while_no_situation_names_it() -> None:
    assert asked([{"location": "market", "model": "weights"}], route={"4 s": "market"}) == [(4.0, "weights")]


def test_a_situation_that_goes_on_elsewhere_does_not_begin_again() -> None:
    assert asked([{"time": "1 s..", "model": "weights"}], route={"4 s": "market"}) == [(1.0, "weights")]


def test_the_weights_that_ship_are_fewer_than_their_float32_file_has_room_for() -> None:
    """The file has the zeros of the triangular layers too."""
    digits = Manifest.load(shipping.SHIPPED / "manifests" / "digits.json")
    assert digits.variant("file").bytes / 8 < payloads.weights(digits) < digits.variant("file").bytes / 4
