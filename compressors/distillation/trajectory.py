"""Trajectory matching (MTT, arXiv 2203.11932): training on synthetic images is to end where training on real ones did.

Experts are networks trained on the real images, with a snapshot after every epoch. Each iteration starts at a snapshot,
takes ``steps`` of SGD on the synthetic images, and moves images and rate so that the end comes closer to a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.distillation import augment
from compressors.distillation.convnet import Shape
from compressors.distillation.images import Images, class_labels
from compressors.distillation.masking import Run, masks
from compressors.distillation.schedules import Budget
from compressors.distillation.sgd import step
from compressors.distillation.streams import stream, streams
from compressors.distillation.training import Recipe, Trainer
from compressors.distillation.unroll import unroll

MOMENTUM = 0.5  # of the images and of the rate


@dataclass(frozen=True)
class Trajectory:
    """The settings of the paper's appendix; these are CIFAR-10's at ten images a class, others were not published for
    FashionMNIST or digits. ``experts`` networks for each seed (100 in the paper).
    """

    steps: int = 30
    expert_epochs: int = 2
    max_start: int = 20
    experts: int = 1
    rate: float = 0.01
    image_rate: float = 100.0
    rate_rate: float = 1e-5
    batch: int = 256


def train_experts(
    shape: Shape, images: Images, seeds: Sequence[int], plan: Trajectory, strategies: Sequence[str]
) -> Tensor:
    """Snapshots ``[seeds, experts, epochs + 1, parameters]`` on the host: plain SGD, as the paper trains them."""
    numbers = [10_000 + 100 * seed + k for seed in seeds for k in range(plan.experts)]
    recipe = Recipe(0, 0.01, 0.0, 0.0, 256, strategies=tuple(strategies), drop=False)
    wide = images.pixels.expand(len(numbers), -1, -1, -1, -1)
    trainer = Trainer(shape, wide, images.labels, numbers, recipe)
    found = [trainer.parameters.cpu().clone()]
    for _ in range(plan.max_start + plan.expert_epochs):
        trainer.epoch()
        found.append(trainer.parameters.cpu().clone())
    return torch.stack(found, 1).unflatten(0, (len(seeds), plan.experts))


class TrajectoryMatching:
    """The state of a distillation by trajectory matching; ``synthetic`` as for ``GradientMatching``.

    Memory does not grow with ``steps``: see :mod:`compressors.distillation.unroll`.
    """

    def __init__(
        self, shape: Shape, images: Images, runs: Sequence[Run], synthetic: Tensor, budget: Budget,
        strategies: Sequence[str], plan: object = None,
    ) -> None:  # fmt: skip
        self.shape, self.runs, self.synthetic, self.budget = shape, runs, synthetic, budget
        self.strategies, self.plan = tuple(strategies), plan if isinstance(plan, Trajectory) else Trajectory()
        device = synthetic.device
        self.seeds = list(dict.fromkeys(run.seed for run in runs))
        self.owners = [self.seeds.index(run.seed) for run in runs]
        self.experts = train_experts(shape, images, self.seeds, self.plan, strategies)
        self.choice = streams(self.seeds, "starts", "cpu")
        self.random = {name: [stream(run.seed, name, device) for run in runs] for name in ("batches", "augment")}
        self.mask_streams = [run.stream(device) for run in runs]
        self.labels = class_labels(images.classes, synthetic.shape[2], device)
        self.rate = torch.full((len(runs),), self.plan.rate, device=device, dtype=synthetic.dtype)
        self.velocity, self.rate_velocity = torch.zeros_like(synthetic), torch.zeros_like(self.rate)
        self.losses: list[Tensor] = []

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        """All iterations of the budget."""
        for iteration in range(self.budget.iterations):
            self.iterate()
            progress(iteration + 1, self.budget.iterations)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """(start, target) ``[runs, parameters]``: one expert and epoch a seed."""
        plan, picked = self.plan, []
        for k, generator in enumerate(self.choice):
            expert = int(torch.randint(plan.experts, (1,), generator=generator))
            epoch = int(torch.randint(plan.max_start, (1,), generator=generator))
            picked.append(self.experts[k, expert, [epoch, epoch + plan.expert_epochs]])
        both = torch.stack([picked[owner] for owner in self.owners]).to(self.synthetic)
        return both[:, 0], both[:, 1]

    def _views(self) -> Callable[[tuple[Tensor, ...], int], tuple[Tensor, Tensor]]:
        """What each step of this iteration sees: a batch, augmented image by image, masked under MDT."""
        total, steps = len(self.labels), self.plan.steps
        size, device = min(self.plan.batch, total), self.synthetic.device
        order = torch.stack([
            torch.stack([torch.randperm(total, generator=g, device=device)[:size] for _ in range(steps)])
            for g in self.random["batches"]
        ])  # fmt: skip
        numbers = augment.numbers(self.random["augment"], steps, size) if self.strategies else None
        keep = masks(self.mask_streams, self.runs, (steps, size, *self.synthetic.shape[3:]), self.synthetic)
        rows = torch.arange(len(self.runs), device=device)[:, None]

        def view(leaves: tuple[Tensor, ...], number: int) -> tuple[Tensor, Tensor]:
            index = order[:, number]
            images = leaves[0].flatten(1, 2)[rows, index]
            if numbers is not None:
                drawn = augment.transformations(numbers[:, number], self.shape.size, self.strategies, shared=True)
                images = augment.apply(images, drawn)
            return images * keep[:, number], self.labels[index]

        return view

    def iterate(self) -> None:
        """One matching of a piece of each run's trajectory."""
        start, target = self._ends()
        length = (start - target).square().sum(-1)

        def outer(weights: Tensor) -> Tensor:
            return (weights - target).square().sum(-1) / length

        found = unroll(start, (self.synthetic,), self._views(), self.plan.steps, self.rate, 0.0, outer, self.shape)
        step(self.synthetic, found.leaves[0], self.velocity, self.plan.image_rate, MOMENTUM)
        step(self.rate, found.rate, self.rate_velocity, self.plan.rate_rate, MOMENTUM)
        self.losses.append(found.loss)
