"""Magnitude pruning: the smallest weights go. Calibration-free.

Han et al., arXiv 1506.02626; compared over the whole matrix unless ``per=row``.
"""

from __future__ import annotations

from torch import Tensor

from compressors import masks
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


def prune_mask(weight: Tensor, *, sparsity: float = 0.0, per: str = "matrix") -> Tensor:
    """True where ``weight`` [out, in] is pruned: exactly round(sparsity * n) entries of the matrix (or of each row)."""
    metric = weight.abs()
    if per == "row":
        return masks.smallest(metric, sparsity)
    return masks.smallest(metric.reshape(1, -1), sparsity).reshape(weight.shape)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    target = method.target
    solved = []
    for weight in weights:
        if target.keep is not None and target.group is not None:
            mask = masks.pattern(weight.abs(), target.keep, target.group)
        else:
            mask = prune_mask(weight, sparsity=target.sparsity or 0.0, per=str(method.setting("per")))
        solved.append(Solved(weight.masked_fill(mask, 0), masks.mask_bits(target.keep, target.group), mask=True))
    return solved
