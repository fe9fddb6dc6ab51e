"""The column loop of SpQR on a GPU: grids, outliers and rounding of 128 columns in one launch."""

from __future__ import annotations

import torch
from torch import Tensor

from compressors.factor import Factor
from compressors.kernels.columns import WIDTH


def fits(size: int, statgroup: int, quantized: bool) -> bool:
    """Whether the fused loop can run groups of ``size`` columns, statistics rounded in runs of ``statgroup`` rows."""
    return WIDTH % size == 0 and (not quantized or (statgroup in (2, 4, 8, 16, 32, 64)))


def run(
    work: Tensor, factor: Factor, limits: Tensor, *, bits: int, size: int, levels: int, statgroup: int, integer: bool
) -> Tensor:
    """Compress ``work`` [rows, columns] (float32, contiguous, on a GPU) in place; returns the outliers [rows, columns].

    ``limits`` [rows]: the gain from which an entry is an outlier. ``levels`` + 1 is how many values the statistics of
    ``statgroup`` rows are rounded to (0: they are not). ``integer``: zero points are whole numbers, ranges include 0.
    """
    from compressors.kernels.triton_spqr import spqr_kernel

    rows, columns = work.shape
    unit, diagonal, limits = factor.unit.contiguous(), factor.diagonal.contiguous(), limits.contiguous()
    kept = torch.empty(rows, columns, dtype=torch.int8, device=work.device)
    change = torch.empty(rows, WIDTH, device=work.device)
    height = statgroup if levels else 16
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        spqr_kernel[(-(-rows // height),)](
            work, change, kept, unit, diagonal, limits, rows, columns, start,
            TOP=2**bits - 1, INTEGER=integer, LEVELS=levels, GROUP=size, ROWS=height, WIDTH=WIDTH, num_warps=4,
        )  # fmt: skip
        if stop < columns:
            work[:, stop:].addmm_(change, unit[start:stop, stop:], alpha=-1)
    return kept.view(torch.bool)
