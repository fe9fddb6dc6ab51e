"""Dataset condensation as its papers describe it: torch.nn layers, a loop over classes, an optimiser per loop.

What the batched form in `compressors.distillation` is timed against and checked by; not used otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressors.distillation import augment
from compressors.distillation.convnet import Shape
from compressors.distillation.images import Images
from compressors.distillation.schedules import Budget


def network(shape: Shape) -> nn.Module:
    """The network of ``compressors.distillation.convnet`` out of torch's layers."""
    layers: list[nn.Module] = []
    incoming, padding = shape.channels, 1 + (shape.padded - shape.size) // 2
    for block in range(shape.depth):
        layers += [
            nn.Conv2d(incoming, shape.width, 3, padding=1 if block else padding),
            nn.GroupNorm(shape.width, shape.width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        incoming = shape.width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(shape.features, shape.classes))


def distance(real: Any, synthetic: Any) -> Tensor:
    """Sum over layers and output rows of 1 - cosine, of two lists of gradients."""
    total = torch.zeros((), device=real[0].device)
    for a, b in zip(real, synthetic, strict=True):
        if a.dim() > 1:
            a, b = a.flatten(1), b.flatten(1)
            total = total + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
    return total


def iterate(
    shape: Shape, images: Images, synthetic: Tensor, optimiser: torch.optim.Optimizer, budget: Budget,
    strategies: tuple[str, ...], random: torch.Generator,
) -> None:  # fmt: skip
    """One iteration on ``synthetic [classes, ipc, channels, size, size]``, class by class."""
    net = network(shape).to(synthetic.device)
    learner = torch.optim.SGD(net.parameters(), lr=0.01)
    outer, inner = budget.loop(synthetic.shape[1])
    labels = torch.arange(shape.classes, device=synthetic.device)
    for step in range(outer):
        picked = images.draw(min(budget.batch_real, min(images.counts)), [random])[0]
        loss = torch.zeros((), device=synthetic.device)
        for k in range(shape.classes):
            real, made = images.pixels[picked[k]], synthetic[k]
            if strategies:
                rows = augment.transformations(augment.numbers([random], 1)[0], shape.size, strategies)
                real, made = augment.apply(real, rows), augment.apply(made, rows)
            gradients = torch.autograd.grad(F.cross_entropy(net(real), labels[k].expand(len(real))), net.parameters())
            found = torch.autograd.grad(
                F.cross_entropy(net(made), labels[k].expand(len(made))), net.parameters(), create_graph=True
            )
            loss = loss + distance([g.detach() for g in gradients], found)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step + 1 == outer:
            return
        for _ in range(inner):
            pixels = synthetic.detach().flatten(0, 1)
            if strategies:
                u = augment.numbers([random], len(pixels))[0]
                pixels = augment.apply(pixels, augment.transformations(u, shape.size, strategies, shared=True))
            learner.zero_grad()
            F.cross_entropy(net(pixels), labels.repeat_interleave(synthetic.shape[1])).backward()
            learner.step()
