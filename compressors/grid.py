"""The integer grid of weight quantization: the same rules for every algorithm that rounds to one.

A grid has a scale and an integer zero point a group: value = scale * (code - zero), 0 <= code <= 2^bits - 1. Its
range always includes 0 and it is asymmetric unless asked otherwise (the rules of GPTQ's reference code, arXiv
2210.17323).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TIE_BREAK = 1 + 2.0**-20
SCALE_BITS = 16  # what a stored scale counts for; they are kept in float32 here


class Grid(NamedTuple):
    """``scale`` and ``zero`` (integers in float32) are [out, 1] or broadcast with the weight; codes run from 0 to
    ``top``.
    """

    scale: Tensor
    zero: Tensor
    top: int


def fit(weight: Tensor, bits: int, sym: bool = False) -> Grid:
    """The grid of one group: ``weight`` is [..., columns] in float32; scale and zero are [..., 1].

    Example: weights (-1.0, 0.5, 2.0) at 2 bits: scale 3/3 = 1, zero 1, so the grid is -1, 0, 1, 2 and 0.5 goes to 0.

    Deviations from the reference code in symmetric grids: one spans (-a, a) for a group of positive weights too, where
    the reference leaves its lower end at 0 and so clips the upper half; and it is wider by a millionth, since -a would
    lie exactly halfway between two codes and rounding noise (the order of tokens, the batch size) would choose.
    """
    top = 2**bits - 1
    low = weight.amin(-1, keepdim=True).clamp(max=0)
    high = weight.amax(-1, keepdim=True).clamp(min=0)
    if sym:
        high = torch.maximum(high, -low) * TIE_BREAK
        low = -high
    empty = high == low  # only if the whole group is zero
    scale = torch.where(empty, 1.0, (high - low) / top)
    zero = torch.full_like(scale, (top + 1) / 2) if sym else torch.round(-low / scale)
    return Grid(scale, zero, top)


def encode(weight: Tensor, grid: Grid) -> Tensor:
    """The nearest codes (integers in float32), clamped to the grid's range; the shape of ``weight``."""
    return torch.round(weight / grid.scale).add_(grid.zero).clamp_(0, grid.top)


def decode(codes: Tensor, grid: Grid) -> Tensor:
    """The values of codes; the shape of ``codes``."""
    return (codes - grid.zero) * grid.scale


def bits_a_weight(columns: int, bits: int, group_size: int, sym: bool) -> float:
    """Stored bits a weight: code, 16-bit scale and, if asymmetric, a zero point of ``bits`` a group."""
    size = columns if group_size == -1 else group_size
    return bits + (SCALE_BITS + (0 if sym else bits)) / size
