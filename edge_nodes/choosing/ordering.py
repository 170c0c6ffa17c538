"""The order in which a variant's blocks are sent. Pure."""

from collections.abc import Collection, Mapping

from edge_nodes.choosing import variants
from edge_nodes.models.manifest import Block, Manifest, Variant


def sending_order(manifest: Manifest, variant: Variant, have: Collection[str]) -> tuple[Block, ...]:
    """The blocks of a variant that are not in `have`, so that the model runs soonest and is good soonest.

    The order goes by smaller variants, each a part of the next: first that which lacks the fewest bytes, then those that make
    the area under accuracy over bytes largest, where a device runs the best variant whose blocks it has. Exact, by dynamic
    programming over all such paths. From one variant to the next blocks go by stage, group, level.
    """
    known = variants.of(manifest)
    held = variants.mask(n for n, block in enumerate(manifest.blocks) if block.digest in have)
    whole = variants.mask(variant.blocks)
    target = whole & ~held
    sizes = {target: float(sum(block.bytes for block in manifest.blocks_of(variant, have)))}
    accuracies = {target: variant.accuracy}  # by what of the variant's blocks is lacking
    for part, mask, missing in zip(known.listed, known.masks, known.missing(have).tolist(), strict=True):
        if not mask & ~whole:
            lacking = mask & ~held
            sizes[lacking] = missing
            accuracies[lacking] = max(part.accuracy, accuracies.get(lacking, 0.0))
    sent, order = 0, list[Block]()
    for step in _best_path(sizes, accuracies):
        new = [block for n, block in enumerate(manifest.blocks) if (step & ~sent) >> n & 1]
        order += sorted(new, key=lambda block: (block.stage, block.group, block.level))
        sent |= step
    return tuple(order)


def _best_path(sizes: Mapping[int, float], accuracies: Mapping[int, float]) -> list[int]:
    """From the smallest set of blocks to the one that has them all, with the largest area under accuracy over bytes."""
    sets = sorted(sizes, key=lambda blocks: (sizes[blocks], blocks.bit_count()))
    inside = [[n for n, part in enumerate(sets) if not part & ~blocks] for blocks in sets]
    runs = [max(accuracies[sets[n]] for n in parts) for parts in inside]
    steps = [sizes[blocks] for blocks in sets]
    following = list(range(len(sets)))
    best = [-1.0] * (len(sets) - 1) + [0.0]  # the largest area from each set on
    for number in reversed(range(len(sets))):
        for part in inside[number]:
            area = runs[part] * (steps[number] - steps[part]) + best[number]
            if part != number and area > best[part]:
                best[part], following[part] = area, number
    soonest = [n for n, size in enumerate(steps) if size == steps[0]]
    at = max(soonest, key=lambda n: best[n])
    path = [sets[at]]
    while following[at] != at:
        at = following[at]
        path.append(sets[at])
    return path
