"""The column loop of SpQR on a GPU: grids, outliers and rounding of 128 columns in one launch."""

from __future__ import annotations

import torch
from torch import Tensor

from compressors.kernels.columns import WIDTH, spread


def fits(size: int, statgroup: int, quantized: bool) -> bool:
    """Whether the fused loop can run groups of ``size`` columns, statistics rounded in runs of ``statgroup`` rows."""
    return WIDTH % size == 0 and (not quantized or (statgroup in (2, 4, 8, 16, 32, 64)))


def run(
    work: Tensor, unit: Tensor, diagonal: Tensor, limits: Tensor, *,
    bits: int, size: int, levels: int, statgroup: int, integer: bool,
) -> Tensor:  # fmt: skip
    """Compress ``work`` [rows, columns] (float32, contiguous, on a GPU) in place; returns the outliers [rows, columns].

    ``unit`` [sets, columns, columns] and ``diagonal`` [sets, columns]: factors, each of as many rows as the others.
    ``limits`` [rows]: the gain from which an entry is an outlier. ``levels`` + 1 is how many values the statistics of
    ``statgroup`` rows are rounded to (0: they are not). ``integer``: zero points are whole numbers, ranges include 0.
    """
    from compressors.kernels.triton_spqr import spqr_kernel

    sets, columns = diagonal.shape
    rows = work.shape[0] // sets
    unit, diagonal, limits = unit.contiguous(), diagonal.contiguous(), limits.contiguous()
    kept = torch.empty(work.shape, dtype=torch.int8, device=work.device)
    change = torch.empty(len(work), WIDTH, device=work.device)
    height = statgroup if levels else 16
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        spqr_kernel[(-(-rows // height), sets)](
            work, change, kept, unit, diagonal, limits, rows, columns, start,
            TOP=2**bits - 1, INTEGER=integer, LEVELS=levels, GROUP=size, ROWS=height, WIDTH=WIDTH, num_warps=4,
        )  # fmt: skip
        if stop < columns:
            spread(work, change, unit, start, stop)
    return kept.view(torch.bool)
