"""Networks trained on small sets of images, all at once, and what they say about others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from compressors.distillation import augment, convnet, fused
from compressors.distillation.convnet import Shape
from compressors.distillation.graphs import Graphed
from compressors.distillation.sgd import step
from compressors.distillation.streams import streams

LOSSES = ("ce", "smooth", "focal", "mixup", "cutmix", "cutout")


@dataclass(frozen=True)
class Recipe:
    """The papers' evaluation: SGD with momentum and weight decay, the rate divided by ten half way.

    ``loss``: ``ce``, ``smooth`` (label smoothing .1), ``focal`` (gamma 3), or ``ce`` on changed images: ``mixup`` and
    ``cutmix`` (alpha 1, one mixing a step), ``cutout`` (a hole of half the side in each image).
    ``strategies``: augmentations, one drawn a step; empty for DC (300 epochs), all of them for DSA and DM (1000).
    """

    epochs: int = 300
    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 5e-4
    batch: int = 256
    loss: str = "ce"
    strategies: tuple[str, ...] = ()
    drop: bool = True  # the rate, half way

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"unknown loss {self.loss!r}; there are {', '.join(LOSSES)}")


def objective(logits: Tensor, targets: Tensor, loss: str) -> Tensor:
    """Mean loss of each network ``[nets]``; ``targets [nets, batch, classes]`` are probabilities.

    Label smoothing (arXiv 1512.00567, section 7) spreads .1 evenly; focal loss (arXiv 1708.02002) weighs by (1 - p)^3.
    """
    found = logits.log_softmax(-1)
    if loss == "smooth":
        targets = 0.9 * targets + 0.1 / logits.shape[-1]
    if loss == "focal":
        targets = targets * (1 - found.exp()) ** 3
    return -(targets * found).sum(-1).mean(-1)


def kept(u: Tensor, size: int) -> Tensor:
    """CutMix (arXiv 1905.04899, section 3.1): ones outside of a box, ``[nets, 1, 1, size, size]``.

    ``u [nets, 3]`` is uniform: the share to keep, then the middle of the box; what lies beyond the image is cut off.
    """
    half = (size * (1 - u[:, :1]).sqrt()).floor() / 2
    start, end = ((u[:, 1:] * size - half).floor().clamp(min=0), (u[:, 1:] * size + half).floor().clamp(max=size))
    place = torch.arange(size, device=u.device)
    y, x = ((place >= start[:, k, None]) & (place < end[:, k, None]) for k in range(2))
    return (~(y[:, :, None] & x[:, None, :])).to(u.dtype)[:, None, None]


class Trainer:
    """Trains ``nets`` networks, each on its own set: ``pixels [nets, n, channels, size, size]``, ``labels [n]``.

    Randomness (initial parameters, order of batches, augmentation, mixup) comes from each network's own seed; the order
    of batches is that of the first.
    """

    def __init__(
        self, shape: Shape, pixels: Tensor, labels: Tensor, seeds: Sequence[int], recipe: Recipe, graphs: bool = True
    ) -> None:
        convnet.check(pixels, shape)
        self.shape, self.pixels, self.recipe = shape, pixels, recipe
        device = pixels.device
        self.targets = F.one_hot(labels, shape.classes).to(pixels.dtype).expand(len(seeds), -1, -1)
        self.random = {
            name: streams(list(seeds), f"net {name}", device) for name in ("init", "order", "augment", "mix")
        }
        self.parameters = convnet.initial(shape, self.random["init"], pixels.dtype)
        self.velocity = torch.zeros_like(self.parameters)
        self.rate = torch.tensor(recipe.rate, device=device, dtype=pixels.dtype)
        state = (self.parameters, self.velocity)
        self._whole, self._part = (Graphed(self._step, state, graphs) for _ in range(2))

    def run(self) -> Tensor:
        """All epochs (one more than the number says, as in the authors' code); parameters ``[nets, parameters]``."""
        for epoch in range(self.recipe.epochs + 1):
            if self.recipe.drop and epoch == self.recipe.epochs // 2 + 1:
                self.rate.mul_(0.1)
                self.velocity.zero_()  # the authors make a new optimiser
            self.epoch()
        return self.parameters

    def epoch(self) -> None:
        """Every image once."""
        total = self.pixels.shape[1]
        order = torch.arange(total, device=self.pixels.device)
        if total > self.recipe.batch:
            order = torch.randperm(total, generator=self.random["order"][0], device=order.device)
        for batch in order.split(self.recipe.batch):
            step_ = self._whole if len(batch) == min(total, self.recipe.batch) else self._part
            step_(batch, *self._draws(len(batch)))

    def _draws(self, count: int) -> tuple[Tensor, ...]:
        """What a step needs at random: transformations (if any), then the mixing of mixup (if any)."""
        found: tuple[Tensor, ...] = ()
        if self.recipe.strategies:
            found = (augment.numbers(self.random["augment"], count),)
        if self.recipe.loss in ("mixup", "cutmix"):
            device = self.pixels.device
            numbers = 1 if self.recipe.loss == "mixup" else 3
            share = torch.stack([torch.rand(numbers, generator=g, device=device) for g in self.random["mix"]])
            partner = torch.stack([torch.randperm(count, generator=g, device=device) for g in self.random["mix"]])
            found = (*found, share.to(self.pixels.dtype), partner)
        if self.recipe.loss == "cutout":
            found = (*found, augment.numbers(self.random["mix"], count))
        return found

    def _step(self, batch: Tensor, *draws: Tensor) -> Tensor:
        images, targets = self.pixels[:, batch], self.targets[:, batch]
        if self.recipe.loss in ("mixup", "cutmix"):
            share, partner = draws[-2:]
            rows = torch.arange(len(images), device=batch.device)[:, None]
            # arXiv 1710.09412 with alpha 1: the share is uniform. CutMix: what is kept is all but a box.
            wide = share[..., None, None, None] if self.recipe.loss == "mixup" else kept(share, self.shape.size)
            images = wide * images + (1 - wide) * images[rows, partner]
            share = wide.mean((-1, -2))[:, 0]
            targets = share[..., None] * targets + (1 - share[..., None]) * targets[rows, partner]
        if self.recipe.loss == "cutout":
            images = augment.apply(images, augment.transformations(draws[-1], self.shape.size, ["cutout"]))
        if self.recipe.strategies:
            found = augment.transformations(draws[0], self.shape.size, self.recipe.strategies, shared=True)
            images = augment.apply(images, found)
        leaf = self.parameters.detach().requires_grad_()
        loss = objective(fused.logits(leaf, images, self.shape), targets, self.recipe.loss)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        step(self.parameters, gradient, self.velocity, self.rate, self.recipe.momentum, self.recipe.decay)
        return loss.detach()


@torch.no_grad()
def predict(parameters: Tensor, pixels: Tensor, shape: Shape, batch: int = 512) -> Tensor:
    """Logits ``[nets, n, classes]`` of ``pixels [n, ...]`` (the same for all) or ``[nets, n, ...]``."""
    wide = pixels if pixels.dim() == 5 else pixels.expand(parameters.shape[0], -1, -1, -1, -1)
    return torch.cat([fused.logits(parameters, part, shape) for part in wide.split(batch, dim=1)], dim=1)
