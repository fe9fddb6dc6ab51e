"""Pruner-Zero: the metric that a genetic search over symbolic expressions found, |W| x |W| x minmax(|G|); compared
within each row.

Dong et al., arXiv 2406.02924, section 4.3 (equation 7 and the tree of appendix A). G is the l2 norm over sequences of
the gradient of the dense model's loss. Deviations from the reference code: gradients are of the case's own calibration
set (there: of WikiText-2's training part, which then is also the test's language), summed in float32 (there: float16),
in evaluation mode (there: training mode); exactly ``round(s * n)`` entries a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressors import masks
from compressors.method import Method
from compressors.prepass import DensePass, Plan
from compressors.solving import Solved
from compressors.statistics import Statistics


def importance(weight: Tensor, gradient: Tensor) -> Tensor:
    """|W| sqrt(minmax(|G|)), all [out, in]: the root of the metric, which ranks alike and does not underflow.

    minmax maps the smallest entry of the matrix to 0 and the largest to 1 (all to 1 if they are equal, so that |W|
    decides).
    """
    size = gradient.abs()
    low, high = size.amin(), size.amax()
    share = torch.where(high > low, (size - low) / (high - low), 1.0)
    return weight.abs() * share.sqrt()


def plan(dense: DensePass, method: Method) -> Plan:
    return Plan(gradients=dense.gradients())


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    target = method.target
    assert seen.gradients is not None
    solved = []
    for weight, gradient in zip(weights, seen.gradients, strict=True):
        metric = importance(weight, gradient.to(weight.device))
        if target.keep is not None and target.group is not None:
            mask = masks.pattern(metric, target.keep, target.group)
        else:
            mask = masks.smallest(metric, target.sparsity or 0.0)
        solved.append(Solved(weight.masked_fill(mask, 0), masks.mask_bits(target.keep, target.group), mask=True))
    return solved
