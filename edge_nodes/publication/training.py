"""Training elastic networks.

`base` trains all depths and widths with batch norm, folds it, goes on without it, and fine-tunes with rounded weights;
`specialise` trains low-rank changes to it for another situation. Effort is counted in steps, randomness comes from seeded
generators and one thread computes, so two trainings on the same kind of processor give the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_nodes.models import networks
from edge_nodes.models.elastic import Elastic
from edge_nodes.publication import situations
from edge_nodes.publication.measuring import Seen
from edge_nodes.publication.zoo import Recipe

Levels = Sequence[int | None]  # of the passes of one step; None: weights as they are


class Trained(NamedTuple):
    """What training leaves: the weights of a folded network, its first quantisation step, the rank of its deltas.

    Arrays, not tensors: torch hands tensors to other processes as shared memory, where their trainings would mix.
    """

    weights: dict[str, NDArray[np.float32]]
    step: float
    rank: int = 0

    @classmethod
    def of(cls, network: Elastic, rank: int = 0) -> Self:
        return cls({name: weight.detach().numpy() for name, weight in network.named_parameters()}, network.step, rank)

    def network(self, recipe: Recipe) -> Elastic:
        """Return a network of a recipe that starts from a copy of these weights."""
        network = composed(recipe)
        network.fold()
        if self.rank:
            network.specialise(self.rank, recipe.seed)
        network.load_state_dict({name: torch.from_numpy(weight) for name, weight in self.weights.items()})
        network.step = self.step
        return network.eval()


def composed(recipe: Recipe) -> Elastic:
    """Return the untrained network of a recipe."""
    network: Elastic = getattr(networks, recipe.network)(**recipe.shape, seed=recipe.seed)
    return network


def base(recipe: Recipe) -> Trained:
    """Train the base model from nothing, on clear images."""
    network = unrounded(recipe).network(recipe)
    with reproducible():
        network.step = first_step(network, recipe.step_deviations)
        # Warm restart, after Loshchilov & Hutter, "SGDR", 2017. By the validation part, the second time adds 0.3 points at the
        # coarsest level, in the mean of all depths and widths (93.24 to 93.55 %), and costs nothing at the others.
        for _ in range(2):
            fit(network, situations.BASE, recipe, recipe.rounded_steps, 1e-3, coarsest_and_another)
        return Trained.of(network)


def unrounded(recipe: Recipe) -> Trained:
    """Train the base model as if its weights were never to be rounded: what any other codec would be given."""
    with reproducible():
        network = composed(recipe)
        fit(network, situations.BASE, recipe, recipe.pretrain_steps, 2e-3)
        network.fold()
        fit(network, situations.BASE, recipe, recipe.folded_steps, 1e-3)
        return Trained.of(network)


def specialise(start: Trained, situation: str, recipe: Recipe) -> Trained:
    """Train low-rank changes of the base model's nested weights, and all that is sent once, for a situation.

    A full fine-tune for the same situation teaches them (Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural
    Network", 2015): of a noisy image, its answer says more than the label.
    """
    with reproducible():
        teacher = start.network(recipe)
        fit(teacher, situation, recipe, recipe.specialise_steps, 2e-3, any_level)
        network = start.network(recipe)
        network.specialise(recipe.rank, recipe.seed)
        fit(network, situation, recipe, recipe.specialise_steps, 8e-3, any_level, teacher)
        return Trained.of(network, recipe.rank)


def held_out(situation: str, recipe: Recipe) -> Seen:
    """Return what devices see in a situation: `recipe.views` rounds of views of all held-out images."""
    _, _, part = situations.split()
    seed = 1000 + list(situations.SITUATIONS).index(situation)
    images = part.images.repeat(recipe.views, 1, 1, 1)
    seen = situations.see(situation, images, Generator().manual_seed(seed))
    return Seen(seen, part.labels.repeat(recipe.views), recipe.views)


def as_they_are(network: Elastic, generator: Generator) -> Levels:
    """One pass, with the weights as they are."""
    return (None,)


def coarsest_and_another(network: Elastic, generator: Generator) -> Levels:
    """A pass at a random finer level, which teaches the other: a pass at the coarsest, which needs it most."""
    finer = int(torch.randint(2, network.levels + 1, (), generator=generator)) if network.levels > 1 else 1
    return (finer, 1)


def any_level(network: Elastic, generator: Generator) -> Levels:
    """One pass, at a random level."""
    return (int(torch.randint(1, network.levels + 1, (), generator=generator)),)


def fit(
    network: Elastic,
    situation: str,
    recipe: Recipe,
    steps: int,
    rate: float,
    levels: Callable[[Elastic, Generator], Levels] = as_they_are,
    teacher: Elastic | None = None,
) -> None:
    """Train with AdamW (Loshchilov & Hutter, 2019) and a cosine schedule, on labels and on what a teacher answers."""
    train, _, _ = situations.split()
    generator = Generator().manual_seed(recipe.seed + 1)
    parameters = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(train.labels), (recipe.batch,), generator=generator)
        images = situations.see(situation, train.images[chosen], generator)
        optimizer.zero_grad()
        with torch.no_grad():
            answers = None if teacher is None else teacher(images)[-1, -1]
        for bits in levels(network, generator):
            logits = network(images, bits)
            _loss(logits, train.labels[chosen], answers).backward()  # type: ignore[no-untyped-call]
            answers = logits[-1, -1].detach() if teacher is None else answers
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        schedule.step()
    network.eval()


def _loss(logits: Tensor, labels: Tensor, answers: Tensor | None) -> Tensor:
    """Cross entropy over all exits and widths, `[depths, widths, N, classes]`; the largest teaches the others.

    In-place distillation, after Yu & Huang, "Universally Slimmable Networks", 2019. Their sandwich rule draws a few
    widths a step; here one pass gives all, so all are trained every step. With `answers`, logits of a teacher or of a
    finer pass, these teach all.
    """
    hard = F.one_hot(labels, logits.shape[-1]).float()
    soft = (hard + (logits[-1, -1].detach() if answers is None else answers).softmax(-1)) / 2
    targets = soft.repeat(*logits.shape[:2], 1, 1)
    if answers is None:
        targets[-1, -1] = hard
    return F.cross_entropy(logits.flatten(0, 2), targets.flatten(0, 2), label_smoothing=0.1)


def first_step(network: Elastic, deviations: float) -> float:
    """Return the first quantisation step, from the deviation of the nested weights; to six digits, as JSON has it."""
    weights = [
        layer.effective().detach()[layer.mask.expand_as(layer.weight) > 0] for layer in network.nested().values()
    ]
    return float(f"{deviations * torch.cat(weights).std().item():.6g}")


@contextmanager
def reproducible() -> Iterator[None]:
    """Compute on one thread and only with deterministic kernels; leave torch as it was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
