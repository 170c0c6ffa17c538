"""The elastic networks that ship: a residual network of products, a convolutional one, and a mixer.

`channels` are those of each channel group, in order: the widths. Images are `[N, 1, size, size]`.
"""

from torch.nn import Flatten, ReLU, Sequential

from edge_nodes.models.elastic import Conv, Elastic, Exit, Groups, Linear, Residual, Stage


def residual(
    channels: Groups = (8, 8, 8, 8), size: int = 8, stages: int = 3, blocks: int = 2, levels: int = 4, seed: int = 0
) -> Elastic:
    """A convolutional stem that halves the sides, then stages of residual blocks of two products over all its features."""
    features = tuple(number * (size // 2) ** 2 for number in channels)

    def block() -> Residual:
        return Residual(Linear(features, features, norm=True), ReLU(), Linear(features, features, scale=0.2))

    stem = Sequential(
        Conv((1,), channels, norm=True), ReLU(), Conv(channels, channels, stride=2, norm=True), ReLU(), Flatten()
    )
    bodies = [Sequential(*(block() for _ in range(blocks))) for _ in range(stages)]
    return Elastic((1, size, size), stem, [Stage(body, Exit(features, 10)) for body in bodies], levels, seed)


def convolutional(
    channels: Groups = (8, 8, 8, 8), size: int = 8, stages: int = 3, levels: int = 4, seed: int = 0
) -> Elastic:
    """A small residual network after He et al. 2016, of convolutions of 3 × 3; its exits see where each feature is."""
    features = tuple(number * (size // 2) ** 2 for number in channels)

    def body() -> Sequential:
        return Sequential(
            Residual(Conv(channels, channels, norm=True), ReLU(), Conv(channels, channels, norm=True, scale=0.2)),
            ReLU(),
        )

    stem = Sequential(Conv((1,), channels, stride=2, norm=True), ReLU())
    exits = [Stage(body(), Exit(features, 10, Flatten())) for _ in range(stages)]
    return Elastic((1, size, size), stem, exits, levels, seed)


def mixer(
    channels: Groups = (16, 16, 16, 16), size: int = 8, stages: int = 3, levels: int = 4, seed: int = 0
) -> Elastic:
    """After Tolstikhin et al., "MLP-Mixer", 2021, on patches of 2 × 2.

    Tokens are mixed within each channel, by the same weights for all, so any number of channels can do it. Batch norm
    stands where they have layer norm, which would read all channels.
    """
    tokens, double = ((size // 2) ** 2,), tuple(2 * number for number in channels)
    features = tuple(number * tokens[0] for number in channels)

    def body() -> Sequential:
        return Sequential(
            Residual(Linear(tokens, tokens), ReLU(), Linear(tokens, tokens, scale=0.2)),
            Residual(Conv(channels, double, (1,), norm=True), ReLU(), Conv(double, channels, (1,), scale=0.2)),
        )

    patches = Sequential(Conv((1,), channels, (2, 2), stride=2, norm=True), Flatten(2))
    exits = [Stage(body(), Exit(features, 10, Flatten())) for _ in range(stages)]
    return Elastic((1, size, size), patches, exits, levels, seed)
