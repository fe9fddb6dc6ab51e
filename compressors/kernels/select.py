"""Which entries to prune, on a GPU: the same masks as ``compressors.masks``, each in one launch."""

from __future__ import annotations

import torch
from torch import Tensor


def smallest(metric: Tensor, count: int) -> Tensor:
    """True for the ``count`` smallest entries of each row of ``metric`` [rows, n] (float32);
    of equal ones the first."""
    from compressors.kernels.triton_select import smallest_kernel

    metric = metric.contiguous()
    rows, columns = metric.shape
    mask = torch.empty(rows, columns, dtype=torch.int8, device=metric.device)
    width = 1 << max(5, (columns - 1).bit_length())
    warps = min(16, max(1, width // 1024))
    smallest_kernel[(rows,)](metric, mask, columns, count, WIDTH=width, num_warps=warps)
    return mask.view(torch.bool)


def pattern(metric: Tensor, keep: int, group: int) -> Tensor:
    """True for the ``group - keep`` smallest entries in each run of ``group``; of equal ones the first."""
    from compressors.kernels.triton_select import pattern_kernel

    metric = metric.contiguous()
    cells = metric.numel() // group
    mask = torch.empty(metric.shape, dtype=torch.int8, device=metric.device)
    pattern_kernel[(-(-cells // 512),)](metric, mask, cells, PRUNED=group - keep, GROUP=group, CELLS=512)
    return mask.view(torch.bool)
