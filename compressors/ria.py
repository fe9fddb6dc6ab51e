"""RIA: prune by relative importance and activations.

Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models", ICLR 2024
(openreview Tr0lPx9woF), equations 3 and 4: a weight counts relative to its row's and its column's sums, times the norm
of its input to the power ``a``.

Entries are compared within the whole matrix (``per=matrix``, as the reference code does unless told otherwise) or
within each row (``per=row``, as Wanda). Dead rows and columns have no sum to be relative to: their share counts as 0.
Deviations: exactly ``round(s * n)`` entries go; ``permute`` returns weights in the original order (below).
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressors import channels, masks
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


def relative_importance(weight: Tensor) -> Tensor:
    """|w_ij| / (sum of column j's magnitudes) + |w_ij| / (sum of row i's); the shape of ``weight`` [out, in]."""
    size = weight.abs()
    columns, rows = size.sum(0, keepdim=True), size.sum(1, keepdim=True)
    # An all-zero row or column has zero magnitudes only: dividing by 1 leaves its share 0.
    return size / torch.where(columns == 0, 1.0, columns) + size / torch.where(rows == 0, 1.0, rows)


def importance(weight: Tensor, norms: Tensor, a: float = 0.5) -> Tensor:
    """Relative importance x ||x_j||^a, [out, in]; ``norms`` [in] are mean squares of the inputs (a constant factor
    changes no order).
    """
    return relative_importance(weight) * norms.sqrt().pow(a)


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    """Masks by RIA. With ``permute=sort`` or ``assign`` and an n:m target, the pattern holds for the columns in the
    order that ``channels`` finds, not for neighbours: a kernel for n:m has to permute its input. The weights stay in
    the model's order.
    """
    target, a = method.target, float(method.setting("a"))
    assert seen.norms is not None
    solved = []
    for weight in weights:
        metric = importance(weight, seen.norms, a)
        overhead = masks.mask_bits(target.keep, target.group)
        if target.keep is not None and target.group is not None:
            order = channels.order(metric, target.keep, target.group, how=str(method.setting("permute")))
            mask = torch.empty_like(metric, dtype=torch.bool)
            mask[:, order] = masks.pattern(metric[:, order], target.keep, target.group)
        elif method.setting("per") == "row":
            mask = masks.smallest(metric, target.sparsity or 0.0)
        else:
            mask = masks.smallest(metric.reshape(1, -1), target.sparsity or 0.0).reshape(weight.shape)
        solved.append(Solved(weight.masked_fill(mask, 0), overhead, mask=True))
    return solved
