"""Round to nearest: each weight goes to the nearest point of its group's grid. Calibration-free.

The matched baseline of GPTQ: same grid, same groups (arXiv 2210.17323, section 5).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from compressors import grid
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


class Rounded(NamedTuple):
    """``weight`` and ``codes`` [out, in] in float32; ``scale`` and ``zero`` [out, groups]."""

    weight: Tensor
    codes: Tensor
    scale: Tensor
    zero: Tensor


def quantize(weight: Tensor, *, bits: int, group_size: int = -1, sym: bool = False) -> Rounded:
    """Round ``weight`` [out, in] (float32) with one grid for each ``group_size`` columns of a row (-1: the whole
    row).
    """
    groups = weight.unflatten(1, (-1, weight.shape[1] if group_size == -1 else group_size))  # [out, groups, size]
    lattice = grid.fit(groups, bits, sym)
    codes = grid.encode(groups, lattice)
    values = grid.decode(codes, lattice)
    return Rounded(values.flatten(1), codes.flatten(1), lattice.scale.squeeze(-1), lattice.zero.squeeze(-1))


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    target, sym = method.target, bool(method.setting("sym"))
    assert target.bits is not None
    assert target.group_size is not None
    solved = []
    for weight in weights:
        new = quantize(weight, bits=target.bits, group_size=target.group_size, sym=sym).weight
        stored = grid.bits_a_weight(weight.shape[1], target.bits, target.group_size, sym)
        solved.append(Solved(new, stored - target.bits, target.bits))
    return solved
