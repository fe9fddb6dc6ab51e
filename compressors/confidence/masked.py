"""Masked temperature scaling (MTS, arXiv 2307.12463): a temperature fitted on validation images that lost pixels.

Masking makes the network less sure and less right on the validation data; the temperature follows. As in the first
author's working code, a mask is drawn once, fills with zero in normalised space and rescales nothing; unit, fill and
number of draws are settings here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

UNITS = ("element", "pixel", "patch")
FILLS = ("zero", "black", "mean")
PATCH = 4  # pixels a side


@dataclass(frozen=True)
class Mask:
    """``ratio``: the share that is masked. ``unit``: every ``element``, all channels of a ``pixel``, or a ``patch``.

    ``fill``: ``zero`` in normalised space, ``black`` or the ``mean`` of the set. ``draws``: masks, losses averaged.
    """

    ratio: float
    unit: str = "element"
    fill: str = "zero"
    draws: int = 1

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.unit not in UNITS or self.fill not in FILLS or self.draws < 1:
            raise ValueError(f"{self}: units are {', '.join(UNITS)}; fills {', '.join(FILLS)}; draws at least 1")


def check_ratio(ratio: float) -> None:
    """Raises ``ValueError`` unless 0 <= ratio < 1: all of an image masked leaves nothing."""
    if not 0 <= ratio < 1:
        raise ValueError(f"mask ratio {ratio:g}: expected 0 <= ratio < 1, the share of an image that is masked")


def bernoulli(shape: Sequence[int], ratio: float, unit: str, generator: torch.Generator) -> Tensor:
    """A mask of ones and zeros ``[..., channels, size, size]`` on the generator's device; a share ``ratio`` is zero."""
    check_ratio(ratio)
    *rows, channels, height, width = shape
    if unit == "element":
        drawn = torch.rand(*shape, generator=generator, device=generator.device)
    elif unit == "pixel":
        drawn = torch.rand(*rows, 1, height, width, generator=generator, device=generator.device)
    elif unit == "patch":
        side = (-(-height // PATCH), -(-width // PATCH))
        coarse = torch.rand(*rows, 1, *side, generator=generator, device=generator.device)
        drawn = coarse.repeat_interleave(PATCH, -1).repeat_interleave(PATCH, -2)[..., :height, :width]
    else:
        raise ValueError(f"unknown mask unit {unit!r}; there are {', '.join(UNITS)}")
    return (drawn >= ratio).float().expand(*rows, channels, height, width)


def masked(pixels: Tensor, mask: Mask, generator: torch.Generator) -> Tensor:
    """``[draws, n, channels, size, size]``: ``pixels [n, ...]`` (normalised) under fresh masks.

    At ratio 0 the pixels themselves, so that MTS is TS there.
    """
    keep = torch.stack([bernoulli(pixels.shape, mask.ratio, mask.unit, generator) for _ in range(mask.draws)])
    keep = keep.to(pixels)
    if mask.fill == "zero":
        return pixels * keep
    least = pixels.amin((0, 2, 3), keepdim=True)
    fill = least if mask.fill == "black" else pixels.mean((0, 2, 3), keepdim=True)
    return pixels * keep + fill * (1 - keep)
