"""Addressable memories (RTP, "remember the past", arXiv 2206.02916): images are mixtures of a few shared bases.

The memories are learned through whole trainings: fresh networks take ``steps`` of SGD with momentum on them, and the
loss on real images goes back through all steps. At equal storage there are more, blurrier images than elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from compressors.distillation import convnet
from compressors.distillation.convnet import Shape, cross_entropy
from compressors.distillation.images import DistillationError, Images
from compressors.distillation.masking import Run, masks
from compressors.distillation.schedules import Budget
from compressors.distillation.sgd import step
from compressors.distillation.streams import stream, streams
from compressors.distillation.unroll import unroll


@dataclass(frozen=True)
class Memory:
    """The published settings: ``bases`` at 1 / ``shrink`` of the side, ``steps`` of SGD on ``per_class`` images each,
    ``queries`` real images a class; outer SGD with its gradient clipped to a norm of 2.
    """

    bases: int = 16
    shrink: int = 2
    steps: int = 150
    per_class: int = 32
    queries: int = 64
    rate: float = 0.01
    momentum: float = 0.9
    outer_rate: float = 0.1
    outer_momentum: float = 0.5
    clip: float = 2.0
    penalty: float = 1e-4


def addresses(shape: Shape, budget: int, plan: Memory) -> int:
    """Images a class that fit into the storage of ``budget`` plain ones a class, bases and coefficients counted.

    115 for CIFAR-10 at a budget of 1, 29 for FashionMNIST. Raises :class:`DistillationError` if none fits.
    """
    image = shape.size**2 * shape.channels
    room = budget * image * shape.classes - plan.bases * image // plan.shrink**2
    count = math.floor(room / (shape.classes * plan.bases))
    if count < 1:
        raise DistillationError(f"{plan.bases} bases leave no room for an image in the storage of {budget} a class")
    return count


class AddressableMemories:
    """The state of a distillation. ``pixels`` ``[runs, classes * images, ...]`` are made from the memories."""

    def __init__(
        self, shape: Shape, images: Images, runs: Sequence[Run], budget: Budget, ipc: int, plan: object = None
    ) -> None:
        self.shape, self.images, self.runs, self.budget = shape, images, runs, budget
        self.plan = plan if isinstance(plan, Memory) else Memory()
        self.count = addresses(shape, ipc, self.plan)
        self.queries = min(self.plan.queries, min(images.counts))
        device, dtype = images.pixels.device, images.pixels.dtype
        self.small = max(1, shape.size // self.plan.shrink)
        seeds = [run.seed for run in runs]
        basis = (self.plan.bases, shape.channels * self.small**2)
        made = [self._xavier(s, ((shape.classes * self.count, self.plan.bases), basis), device, dtype) for s in seeds]
        self.leaves = tuple(torch.stack(parts) for parts in zip(*made, strict=True))  # coefficients, bases
        self.velocities = tuple(torch.zeros_like(leaf) for leaf in self.leaves)
        self.random = {name: streams(seeds, name, device) for name in ("networks", "real", "batches")}
        self.mask_streams = [run.stream(device) for run in runs]
        self.losses: list[Tensor] = []

    @staticmethod
    def _xavier(seed: int, shapes: Sequence[tuple[int, int]], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        random = stream(seed, "memories", device)
        return [
            (2 * torch.rand(*dims, generator=random, device=device, dtype=dtype) - 1) * math.sqrt(6 / sum(dims))
            for dims in shapes
        ]

    def pixels(self, leaves: tuple[Tensor, ...] | None = None) -> Tensor:
        """``[runs, classes * count, channels, size, size]``."""
        coefficients, bases = leaves or self.leaves
        small = (coefficients @ bases).unflatten(-1, (self.shape.channels, self.small, self.small))
        side = self.shape.size
        wide = F.interpolate(small.flatten(0, 1), size=(side, side), mode="bilinear", align_corners=False)
        return wide.unflatten(0, small.shape[:2])

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        """All iterations of the budget."""
        for iteration in range(self.budget.iterations):
            self.iterate()
            progress(iteration + 1, self.budget.iterations)

    def _views(self) -> Callable[[tuple[Tensor, ...], int], tuple[Tensor, Tensor]]:
        classes, each = self.shape.classes, min(self.plan.per_class, self.count)
        device, steps = self.leaves[0].device, self.plan.steps
        draws = [torch.rand(steps, classes, self.count, generator=g, device=device) for g in self.random["batches"]]
        within = torch.stack(draws).topk(each, -1).indices
        index = (within + torch.arange(classes, device=device)[:, None] * self.count).flatten(2)
        labels = torch.arange(classes, device=device).repeat_interleave(each).expand(len(self.runs), -1)
        channels, side = self.shape.channels, self.shape.size
        keep = masks(self.mask_streams, self.runs, (steps, classes * each, channels, side, side), self.leaves[0])
        rows = torch.arange(len(self.runs), device=device)[:, None]

        def view(leaves: tuple[Tensor, ...], number: int) -> tuple[Tensor, Tensor]:
            chosen = (leaves[0][rows, index[:, number]], leaves[1])  # only the images of this step are mixed
            return self.pixels(chosen) * keep[:, number], labels

        return view

    def iterate(self) -> None:
        """One training of a fresh network a run, and one step of the memories."""
        start = convnet.initial(self.shape, self.random["networks"], self.leaves[0].dtype)
        picked = self.images.draw(self.queries, self.random["real"]).flatten(1)
        real, answers = self.images.pixels[picked], self.images.labels[picked]
        rate = torch.full((len(self.runs),), self.plan.rate, device=start.device, dtype=start.dtype)

        def outer(weights: Tensor) -> Tensor:
            return cross_entropy(weights, real, answers, self.shape)

        found = unroll(start, self.leaves, self._views(), self.plan.steps, rate, self.plan.momentum, outer, self.shape)
        coefficients = self.leaves[0]
        norm = coefficients.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-12)
        gradients = [found.leaves[0] + self.plan.penalty * coefficients / norm, found.leaves[1]]
        size = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        shrink = (self.plan.clip / (size + 1e-6)).clamp(max=1)[:, None, None]
        for leaf, gradient, velocity in zip(self.leaves, gradients, self.velocities, strict=True):
            step(leaf, shrink * gradient, velocity, self.plan.outer_rate, self.plan.outer_momentum)
        self.losses.append(found.loss)
