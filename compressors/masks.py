"""Which entries to prune: exact counts, ties broken by position."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from compressors import kernels

WIDEST = 32768  # columns of a row that one program of the kernel holds
WIDEST_GROUP = 16  # the kernel's loops over a group are unrolled


def smallest(metric: Tensor, sparsity: float) -> Tensor:
    """True for exactly ``round(sparsity * n)`` smallest entries of each row of ``metric`` [rows, n]; of equal ones
    the first.

    ``round`` is Python's (half to even, on the float64 product). The reference codes of Wanda and SparseGPT compare
    with a threshold (``<=``) and may prune one more, or all that tie.
    """
    count = round(sparsity * metric.shape[1])
    if count == 0:
        return torch.zeros_like(metric, dtype=torch.bool)
    if kernels.usable(metric) and metric.shape[1] <= WIDEST:
        from compressors.kernels import select

        return select.smallest(metric, count)
    # Selection is linear in n where a sort is not; entries equal to the last one pruned are then taken in order.
    if metric.is_cuda:  # there kthvalue takes one multiprocessor a row, topk all
        threshold = metric.topk(count, dim=1, largest=False, sorted=False).values.amax(1, keepdim=True)
    else:
        threshold = metric.kthvalue(count, dim=1, keepdim=True).values
    mask = metric < threshold
    equal = metric == threshold
    missing = count - mask.sum(1, keepdim=True)
    return mask | (equal & (equal.cumsum(1, dtype=torch.int32) <= missing))


def pattern(metric: Tensor, keep: int, group: int) -> Tensor:
    """True for the ``group - keep`` smallest entries in each run of ``group`` along the last dimension of ``metric``
    [..., n]; of equal ones the first. ``group`` must divide n.
    """
    if kernels.usable(metric) and group <= WIDEST_GROUP:
        from compressors.kernels import select

        return select.pattern(metric, keep, group)
    cells = metric.unflatten(-1, (-1, group))
    order = cells.argsort(dim=-1, stable=True)
    pruned = torch.zeros_like(cells, dtype=torch.bool)
    return pruned.scatter_(-1, order[..., : group - keep], True).flatten(-2)


def mask_bits(keep: int | None, group: int | None) -> float:
    """Stored bits a weight for where the zeros are: one (a bitmap), or for n:m an index for each kept entry."""
    if keep is None or group is None:
        return 1.0
    return keep * math.ceil(math.log2(group)) / group
