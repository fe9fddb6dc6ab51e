"""Distribution matching (DM, arXiv 2110.04181): mean features of synthetic images as those of real ones.

Class by class, under a fresh random network each iteration. First derivatives only: the cheap backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from compressors.distillation import augment, convnet, fused
from compressors.distillation.convnet import Shape
from compressors.distillation.graphs import Graphed
from compressors.distillation.images import Images
from compressors.distillation.masking import Run, masks
from compressors.distillation.schedules import Budget
from compressors.distillation.sgd import step
from compressors.distillation.streams import streams

RATE, MOMENTUM = 1.0, 0.5


class DistributionMatching:
    """The state of a distillation by distribution matching; arguments as for ``GradientMatching``.

    Runs of one seed see the same networks, real images and transformations.
    """

    def __init__(
        self, shape: Shape, images: Images, runs: Sequence[Run], synthetic: Tensor, budget: Budget,
        strategies: Sequence[str], half: bool = False, graphs: bool = True,
    ) -> None:  # fmt: skip
        self.shape, self.images, self.runs, self.synthetic, self.budget = shape, images, runs, synthetic, budget
        self.strategies, self.half = tuple(strategies), half
        self.batch = min(budget.batch_real, min(images.counts))
        device = synthetic.device
        self.seeds = list(dict.fromkeys(run.seed for run in runs))
        self.of_run = torch.tensor([self.seeds.index(run.seed) for run in runs], device=device)
        self.random = {name: streams(self.seeds, name, device) for name in ("networks", "real", "augment")}
        self.mask_streams = [run.stream(device) for run in runs]
        self.velocity = torch.zeros_like(synthetic)
        self._target = Graphed(self._real_means, (), graphs)
        self._move = Graphed(self._step, (self.synthetic, self.velocity), graphs)
        self.losses: list[Tensor] = []

    def run(self, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        """All iterations of the budget."""
        for iteration in range(self.budget.iterations):
            self.iterate()
            progress(iteration + 1, self.budget.iterations)

    def iterate(self) -> None:
        classes = self.synthetic.shape[1]
        fresh = convnet.initial(self.shape, self.random["networks"], self.synthetic.dtype)
        picked = self.images.draw(self.batch, self.random["real"])
        u = augment.numbers(self.random["augment"], classes)
        targets = [self._target(fresh[k], self.images.pixels[picked[k]], u[k]).clone() for k in range(len(self.seeds))]
        keep = masks(self.mask_streams, self.runs, self.synthetic.shape[1:], self.synthetic)
        loss = self._move(fresh[self.of_run], torch.stack(targets)[self.of_run], keep, u[self.of_run])
        self.losses.append(loss.clone())

    def _augmented(self, images: Tensor, u: Tensor) -> Tensor:
        found = augment.transformations(u, self.shape.size, self.strategies)
        return augment.apply(images, augment.per_class(found))

    @torch.no_grad()
    def _real_means(self, parameters: Tensor, pixels: Tensor, u: Tensor) -> Tensor:
        """Mean features ``[classes, features]`` under one network."""
        pixels = self._augmented(pixels, u)
        found = fused.features(parameters[None], pixels.flatten(0, 1)[None], self.shape, self.half)
        return found[0].unflatten(0, pixels.shape[:2]).to(self.synthetic.dtype).mean(1)

    def _step(self, parameters: Tensor, target: Tensor, keep: Tensor, u: Tensor) -> Tensor:
        leaf = self.synthetic.detach().requires_grad_()
        images = self._augmented(leaf, u) * keep
        found = fused.features(parameters, images.flatten(1, 2), self.shape).unflatten(1, images.shape[1:3])
        loss = (found.mean(2) - target).square().sum((1, 2))
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        step(self.synthetic, gradient, self.velocity, RATE, MOMENTUM)
        return loss.detach()
