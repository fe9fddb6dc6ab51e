"""What the distillation tests share: tiny images, and the network of the papers written with torch.nn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.plain_condensation import network
from compressors.distillation.convnet import Shape, initial
from compressors.distillation.images import Images
from compressors.distillation.streams import stream

SHAPE = Shape(channels=1, size=8, classes=3, width=4, depth=2)


def images(shape: Shape = SHAPE, n: int = 30, seed: int = 0, dtype: torch.dtype = torch.float64) -> Images:
    """Random images whose classes differ in their mean pattern."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % shape.classes
    pattern = torch.randn(shape.classes, shape.channels, shape.size, shape.size, generator=generator, dtype=dtype)
    noise = torch.randn(n, shape.channels, shape.size, shape.size, generator=generator, dtype=dtype)
    return Images(pattern[labels] + 0.5 * noise, labels, shape.classes)


def parameters(shape: Shape = SHAPE, seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64) -> Tensor:
    return initial(shape, [stream(seed, "test") for seed in seeds], dtype)


def module(shape: Shape, flat: Tensor) -> nn.Module:
    """The same network out of torch.nn layers; ``flat [parameters]``."""
    net = network(shape).to(flat.dtype)
    nn.utils.vector_to_parameters(flat.detach().clone(), net.parameters())
    return net


def loop_distance(real, synthetic):
    """The papers' distance, layer by layer and row by row, on lists of gradients."""
    total = 0.0
    for a, b in zip(real, synthetic, strict=True):
        if a.dim() > 1:
            for row_a, row_b in zip(a.flatten(1), b.flatten(1), strict=True):
                total = total + 1 - (row_a @ row_b) / (row_a.norm() * row_b.norm() + 1e-6)
    return total
