"""NormalFloat4: each weight goes to the nearest of 16 quantiles of a normal distribution, scaled by its block's
largest. Calibration-free.

Dettmers et al. (QLoRA), arXiv 2305.14314, section 3, equation 4 and appendix E. The code book is computed here, not
tabulated. Deviation from the reference code (bitsandbytes): blocks run along a row and the last of a row is shorter
where the block does not divide it; the reference flattens the matrix, which is the same wherever the block divides the
columns. The second quantization, of the block constants, is not done.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics

CONSTANT_BITS = 32  # a block's largest magnitude, stored in float32 as in QLoRA's count of 0.5 bits a weight


class Rounded(NamedTuple):
    """``weight`` and ``codes`` (0 to 15) are [out, in]; ``largest`` [out, blocks] is each block's largest magnitude."""

    weight: Tensor
    codes: Tensor
    largest: Tensor


@cache
def _levels() -> tuple[float, ...]:
    # The outermost quantile is between half a step of 16 levels and of 15, since 0 is one of either half.
    outer = 1 - (1 / 32 + 1 / 30) / 2
    upper = torch.special.ndtri(torch.linspace(outer, 0.5, 9, dtype=torch.float64)[:-1])
    lower = -torch.special.ndtri(torch.linspace(outer, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([lower, torch.zeros(1, dtype=torch.float64), upper]).sort().values
    return tuple((levels / levels.abs().max()).tolist())


def code_book(like: Tensor) -> Tensor:
    """The 16 levels in [-1, 1], ascending, 0 among them; dtype and device of ``like``."""
    return torch.tensor(_levels(), dtype=like.dtype, device=like.device)


def quantize(weight: Tensor, *, block: int = 64) -> Rounded:
    """Round ``weight`` [out, in] with one constant for each ``block`` columns of a row.

    Example: a block (-2, 0.1, 1) has the constant 2, so its entries become -1, 0.05 and 0.5 and go to -1, 0.0796 and
    0.4407 times 2.
    """
    columns = weight.shape[1]
    cells = pad(weight, (0, -columns % block)).unflatten(
        1, (-1, block)
    )  # [out, blocks, block]; zeros change no largest
    largest = cells.abs().amax(-1, keepdim=True)
    levels = code_book(weight)
    middles = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(cells / torch.where(largest == 0, 1.0, largest), middles)
    values = (levels[codes] * largest).flatten(1)[:, :columns]
    return Rounded(values, codes.flatten(1)[:, :columns], largest.squeeze(-1))


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    block = int(method.setting("block"))
    solved = []
    for weight in weights:
        new = quantize(weight, block=block)
        overhead = CONSTANT_BITS * new.largest.shape[1] / weight.shape[1]
        solved.append(Solved(new.weight, overhead, entry_bits=4))
    return solved
