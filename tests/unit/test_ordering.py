"""The order of sending, beside every path through a small lattice of variants."""

from collections.abc import Iterator, Sequence
from itertools import product

from builders import variant as made
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_nodes.choosing.ordering import sending_order
from edge_nodes.models.manifest import Block, Manifest, Variant

SOME = settings(max_examples=200, deadline=None)
State = tuple[int, int, int]


def lattice(shape: State, sizes: Sequence[int], accuracies: Sequence[float]) -> Manifest:
    """All variants of a shape (depth, width, bits); sizes and accuracies are taken in turn."""
    depth, width, bits = shape
    places = list(product(range(1, depth + 1), range(1, width + 1), range(bits + 1)))
    blocks = [Block(f"b{s}.{g}.{k}", sizes[n % len(sizes)], s, g, k) for n, (s, g, k) in enumerate(places)]
    listed = []
    for n, (d, w, b) in enumerate(product(*(range(1, most + 1) for most in shape))):
        inside = [n for n, (s, g, k) in enumerate(places) if s <= d and g <= w and k <= b]
        figures = made(
            f"d{d}w{w}b{b}", inside, [block.bytes for block in blocks], accuracy=accuracies[n % len(accuracies)]
        )
        listed.append(replace(figures, depth=d, width=w, bits=b))
    return Manifest("digits", None, {}, tuple(blocks), tuple(listed))


SHAPES = st.sampled_from([(1, 1, 1), (1, 2, 2), (2, 2, 2), (3, 2, 1), (2, 1, 3), (2, 3, 2)])
LATTICES = st.builds(
    lattice,
    SHAPES,
    st.lists(st.integers(0, 50), min_size=1, max_size=24),
    st.lists(st.sampled_from([0.2, 0.5, 0.6, 0.8, 0.9, 0.95]), min_size=1, max_size=12),
)


@st.composite
def downloads(draw: st.DrawFn) -> tuple[Manifest, Variant, frozenset[str]]:
    """A model, the variant that is wanted of it, and what is at hand: any blocks, which need not run."""
    manifest = draw(LATTICES)
    names = st.sampled_from([block.digest for block in manifest.blocks])
    return manifest, draw(st.sampled_from(manifest.variants)), draw(st.frozensets(names, max_size=12))


def digests(manifest: Manifest, variant: Variant) -> set[str]:
    return {manifest.blocks[number].digest for number in variant.blocks}


def parts(manifest: Manifest, target: Variant) -> list[Variant]:
    return [v for v in manifest.variants if digests(manifest, v) <= digests(manifest, target)]


def running(manifest: Manifest, target: Variant, held: set[str]) -> float | None:
    """The accuracy of the best part of the target whose blocks are held; None where none runs."""
    able = [v.accuracy for v in parts(manifest, target) if digests(manifest, v) <= held]
    return max(able) if able else None


def to_come(manifest: Manifest, variant: Variant, held: set[str]) -> int:
    return sum(manifest.blocks[number].bytes for number in variant.blocks if manifest.blocks[number].digest not in held)


def paths(target: State, start: State) -> Iterator[list[State]]:
    """All ways from one variant to another, a step of one depth, width or level at a time."""
    if start == target:
        yield [start]
    for axis in range(3):
        if start[axis] < target[axis]:
            following = (*start[:axis], start[axis] + 1, *start[axis + 1 :])
            yield from ([start, *rest] for rest in paths(target, (following[0], following[1], following[2])))


def largest_area(manifest: Manifest, target: Variant, have: frozenset[str]) -> float:
    """Under accuracy over bytes sent, from what runs soonest on, by every path."""
    by_state = {(v.depth, v.width, v.bits): v for v in manifest.variants}
    fewest = min(to_come(manifest, v, set(have)) for v in parts(manifest, target))
    best = 0.0
    for start in parts(manifest, target):
        if to_come(manifest, start, set(have)) > fewest:
            continue
        for path in paths((target.depth, target.width, target.bits), (start.depth, start.width, start.bits)):
            area = 0.0
            for here, there in zip(path, path[1:], strict=False):
                held = set(have) | digests(manifest, by_state[here])
                accuracy = running(manifest, target, held)
                assert accuracy is not None
                area += accuracy * to_come(manifest, by_state[there], held)
            best = max(best, area)
    return best


@SOME
@given(downloads())
def test_exactly_what_is_missing_is_sent_once(download: tuple[Manifest, Variant, frozenset[str]]) -> None:
    manifest, target, have = download
    order = [block.digest for block in sending_order(manifest, target, have)]
    assert sorted(order) == sorted(digests(manifest, target) - have)


@SOME
@given(downloads())
def test_it_runs_soonest_and_no_path_is_better(download: tuple[Manifest, Variant, frozenset[str]]) -> None:
    manifest, target, have = download
    held, sent, area = set(have), 0, 0.0
    soonest = 0 if running(manifest, target, held) is not None else None
    for block in sending_order(manifest, target, have):
        area += (running(manifest, target, held) or 0.0) * block.bytes
        held.add(block.digest)
        sent += block.bytes
        if soonest is None and running(manifest, target, held) is not None:
            soonest = sent
    assert soonest == min(to_come(manifest, v, set(have)) for v in parts(manifest, target))
    assert area >= largest_area(manifest, target, have) - 1e-9


@SOME
@given(downloads())
def test_what_is_sent_once_comes_before_the_levels_that_need_it(
    download: tuple[Manifest, Variant, frozenset[str]],
) -> None:
    seen: set[tuple[int, int, int]] = set()
    manifest, target, have = download
    seen |= {(block.stage, block.group, block.level) for block in manifest.blocks if block.digest in have}
    coming = sending_order(manifest, target, have)
    for block in coming:
        assert all((block.stage, block.group, lower) in seen for lower in range(block.level)), block
        seen.add((block.stage, block.group, block.level))


def test_a_plain_file_is_sent_whole() -> None:
    model = lattice((2, 2, 2), [10], [0.5, 0.9])
    plain = Block("plain", 1000, 0, 0, 0)
    file = made("file", [len(model.blocks)], [block.bytes for block in (*model.blocks, plain)])
    both = replace(model, blocks=(*model.blocks, plain), variants=(*model.variants, file))
    assert sending_order(both, file, frozenset()) == (plain,)
    assert sending_order(both, both.variant("d2w2b2"), frozenset()) == sending_order(
        model, model.variant("d2w2b2"), frozenset()
    )


def test_a_specialisation_needs_but_its_own_blocks_to_run() -> None:
    """All levels of the base are at hand: what is sent once comes in the order in which more and more of them run."""
    model = lattice((2, 2, 2), [10], [0.2, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95])
    have = frozenset(block.digest for block in model.blocks if block.level)
    order = sending_order(model, model.variant("d2w2b2"), have)
    assert [block.digest for block in order] == ["b1.1.0", "b2.1.0", "b1.2.0", "b2.2.0"]


def test_the_same_is_sent_in_the_same_order() -> None:
    model = lattice((3, 2, 2), [7, 3, 11], [0.5])
    one, other = (sending_order(Manifest.from_json(model.to_json()), model.variants[-1], frozenset()) for _ in range(2))
    assert one == other
