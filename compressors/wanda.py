"""Wanda: prune by |weight| x norm of its input, compared within each row; no weight is changed otherwise.

Sun et al., arXiv 2306.11695, equation 1. Deviation from the reference code: exactly ``round(s * n)`` entries a row,
where it takes ``int(s * n)``.
"""

from __future__ import annotations

from torch import Tensor

from compressors import masks
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


def importance(weight: Tensor, norms: Tensor) -> Tensor:
    """|W| * ||x_j||, [out, in], from ``weight`` [out, in] and the mean squares ``norms`` [in] of the inputs."""
    return weight.abs() * norms.sqrt()


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    target = method.target
    assert seen.norms is not None
    solved = []
    for weight in weights:
        metric = importance(weight, seen.norms)
        if target.keep is not None and target.group is not None:
            mask = masks.pattern(metric, target.keep, target.group)
        else:
            mask = masks.smallest(metric, target.sparsity or 0.0)
        solved.append(Solved(weight.masked_fill(mask, 0), masks.mask_bits(target.keep, target.group), mask=True))
    return solved
