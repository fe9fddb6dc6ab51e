"""Differentiable Siamese augmentation (DSA, arXiv 2102.08259): one transformation for real and synthetic images alike.

Every strategy is spelled with the same few numbers a row - an affine map of coordinates, a rectangle to blank, and
brightness, saturation and contrast - and leaves the rest at identity. So one fixed sequence of operations applies any
of them, which keeps CUDA graphs and many sets at once possible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

STRATEGIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
CROP, CUTOUT, SCALE, ROTATE = 0.125, 0.5, 1.2, 15.0  # share of the side, share of the side, factor, degrees
NUMBERS = 4  # uniform numbers a transformation: three for its strength, the last chooses the strategy
BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5


class Augmentation(NamedTuple):
    """One row a transformation: ``affine [..., 2, 3]``, ``hole [..., 4]`` (top, bottom, left, right in pixels, the
    second excluded), ``color [..., 3]`` (added brightness, saturation and contrast factors).
    """

    affine: Tensor
    hole: Tensor
    color: Tensor


def identity(rows: Sequence[int], device: str | torch.device = "cpu") -> Augmentation:
    """Transformations that change nothing."""
    affine = torch.eye(2, 3, device=device).expand(*rows, 2, 3)
    color = torch.ones(*rows, 3, device=device)
    color[..., 0] = 0
    return Augmentation(affine, torch.zeros(*rows, 4, device=device), color)


def numbers(generators: Sequence[torch.Generator], *rows: int) -> Tensor:
    """What transformations are made of, uniform on [0, 1): ``[sets, *rows, NUMBERS]``, a generator each."""
    device = generators[0].device
    return torch.stack([torch.rand(*rows, NUMBERS, generator=g, device=device) for g in generators])


def check_strategies(strategies: Sequence[str]) -> None:
    """Raises ``ValueError`` for a name that is no strategy."""
    unknown = [name for name in strategies if name not in STRATEGIES]
    if unknown:
        raise ValueError(f"unknown augmentation {', '.join(unknown)}; there are {', '.join(STRATEGIES)}")


def transformations(u: Tensor, size: int, strategies: Sequence[str], shared: bool = False) -> Augmentation:
    """A transformation for each row of ``u [sets, rows, NUMBERS]``, for images of ``size`` pixels a side.

    The strategy is chosen evenly among ``strategies`` for every row, or (``shared``) for all rows of a set together.
    """
    device, rows = u.device, u.shape[:-1]
    last = u[..., :1, -1].expand(rows) if shared else u[..., -1]
    chosen = (last * len(strategies)).long().clamp(max=len(strategies) - 1)
    plain = identity(rows, device)

    def when(name: str, value: Tensor, other: Tensor) -> Tensor:
        if name not in strategies:
            return other
        here = chosen == strategies.index(name)
        return torch.where(here.view(*rows, *[1] * (value.dim() - len(rows))), value, other)

    shift = math.floor(size * CROP + 0.5)
    pixels = (u[..., :2] * (2 * shift + 1)).floor().clamp(max=2 * shift) - shift
    crop = torch.cat([plain.affine[..., :2], (2 * pixels / max(1, size - 1))[..., None]], -1)
    affine = when("crop", crop, plain.affine)
    sign = torch.where(u[..., 0] < 0.5, -1.0, 1.0)
    affine = when("flip", plain.affine * torch.stack([sign, torch.ones_like(sign)], -1)[..., None], affine)
    factor = u[..., :2] * (SCALE - 1 / SCALE) + 1 / SCALE
    affine = when("scale", plain.affine * factor[..., None], affine)
    angle = (2 * u[..., 0] - 1) * math.radians(ROTATE)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rotate = torch.stack([torch.stack([cos, -sin, zero], -1), torch.stack([sin, cos, zero], -1)], -2)
    affine = when("rotate", rotate, affine)
    side = math.floor(size * CUTOUT + 0.5)
    start = (u[..., :2] * (size + 1 - side % 2)).floor() - side // 2
    hole = torch.stack([start[..., 0], start[..., 0] + side, start[..., 1], start[..., 1] + side], -1)
    strength = torch.stack([(u[..., 0] - 0.5) * BRIGHTNESS, u[..., 1] * SATURATION, u[..., 2] + CONTRAST], -1)
    return Augmentation(affine, when("cutout", hole, plain.hole), when("color", strength, plain.color))


def apply(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Transformed ``images [..., n, channels, size, size]``. Rows ``[..., 1]`` of the augmentation serve all ``n``."""
    rows, (channels, size) = images.shape[:-3], images.shape[-3:-1]
    affine = augmentation.affine.expand(*rows, 2, 3).reshape(-1, 2, 3).to(images.dtype)
    flat = images.reshape(-1, channels, size, size)
    brightness, saturation, contrast = (
        augmentation.color.expand(*rows, 3).reshape(-1, 3, 1, 1, 1).to(images.dtype).unbind(1)
    )
    flat = flat + brightness
    mean = flat.mean(1, keepdim=True)  # of the channels: grey images stay as they are
    flat = (flat - mean) * saturation + mean
    mean = flat.mean((1, 2, 3), keepdim=True)
    flat = (flat - mean) * contrast + mean
    # Corners are aligned, as they were in the torch of 2021: whole-pixel shifts and mirrors are then exact.
    grid = F.affine_grid(affine, [len(flat), channels, size, size], align_corners=True)
    flat = F.grid_sample(flat, grid, align_corners=True)
    return (flat * _outside(augmentation.hole.expand(*rows, 4).reshape(-1, 4), size, flat.dtype)).view_as(images)


def _outside(hole: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """1 outside of the rectangles and 0 inside: ``[n, 1, size, size]``."""
    position = torch.arange(size, device=hole.device)
    inside_y = (position >= hole[:, 0, None]) & (position < hole[:, 1, None])
    inside_x = (position >= hole[:, 2, None]) & (position < hole[:, 3, None])
    return (~(inside_y[:, :, None] & inside_x[:, None, :])).to(dtype)[:, None]


def per_class(found: Augmentation) -> Augmentation:
    """Rows ``[..., classes]`` as ``[..., classes, 1]``, so that one serves all images of its class."""
    affine, hole, color = found
    return Augmentation(affine.unsqueeze(-3), hole.unsqueeze(-2), color.unsqueeze(-2))
