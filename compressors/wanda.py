"""Wanda: prune by |weight| x norm of its input, compared within each row; no weight is changed otherwise.

Sun et al., arXiv 2306.11695, equation 1. Deviation from the reference code: exactly ``round(s * n)`` entries a row,
where it takes ``int(s * n)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressors import masks
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


def importance(weight: Tensor, norms: Tensor) -> Tensor:
    """|W| * ||x_j||, [out, in], from ``weight`` [out, in] and the mean squares ``norms`` [in] of the inputs."""
    return weight.abs() * norms.sqrt()


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    return solve_all(weights, [seen], method)[0]


def solve_all(weights: list[Tensor], seen: list[Statistics], method: Method) -> list[list[Solved]]:
    """``solve`` for each of several statistics of these linears' inputs; on a GPU in as many launches as one takes."""
    target, overhead = method.target, masks.mask_bits(method.target.keep, method.target.group)
    norms = _several([one.norms for one in seen if one.norms is not None])
    assert len(norms) == len(seen)
    solved: list[list[Solved]] = [[] for _ in seen]
    for weight in weights:
        metric = importance(weight, norms[:, None])  # [statistics, out, in]
        if target.keep is not None and target.group is not None:
            mask = masks.pattern(metric, target.keep, target.group)
        else:
            mask = masks.smallest(metric.flatten(0, 1), target.sparsity or 0.0).view(metric.shape)
        for found, new in zip(solved, torch.where(mask, 0.0, weight), strict=True):
            found.append(Solved(new, overhead, mask=True))
    return solved


def _several(norms: list[Tensor]) -> Tensor:
    return norms[0][None] if len(norms) == 1 else torch.stack(norms)
