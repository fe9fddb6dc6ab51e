"""The column loop of GPTQ and SparseGPT over stacked matrices, in few launches and without waiting for the device.

::

    for each 128 columns                 work [rows, columns]
      choose the mask (joint) | fit the groups' grids
      for each column, in registers:     prune, round, spread the error over the rest of the 128
      one product spreads the 128 errors over the columns that follow

The same steps as ``compressors/columns.py``, which stays the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressors.grid import TIE_BREAK

WIDTH = 128
ROWS, WARPS = 16, 4  # of one program; they change the speed only
DIGITS = ((54, 9), (43, 11), (32, 11))  # shift and bits of the digits of a metric, above its position


class Plan(NamedTuple):
    """What happens to a column: rounding if ``bits``, pruning to ``keep`` of ``group`` or of ``sparsity``.

    ``groups`` is ``static`` (grids are given), ``block`` or ``fresh``, see ``registry.GROUPS``.
    """

    bits: int | None = None
    group_size: int = -1
    sym: bool = False
    groups: str = "block"
    keep: int | None = None
    group: int | None = None
    sparsity: float | None = None


class Grids(NamedTuple):
    """``scale`` and ``zero`` [rows, groups]; column j is in group ``group_of[j]`` (int32)."""

    scale: Tensor
    zero: Tensor
    group_of: Tensor


def fits(columns: int, plan: Plan) -> bool:
    """Whether the fused loop can run this plan: patterns and fresh groups must not straddle its blocks of 128."""
    if plan.group is not None and WIDTH % plan.group:
        return False
    size = columns if plan.group_size == -1 else plan.group_size
    return plan.bits is None or plan.groups != "fresh" or WIDTH % size == 0 or size % WIDTH == 0


def run(
    work: Tensor, heights: list[int], unit: Tensor, diagonal: Tensor, plan: Plan, grids: Grids | None = None
) -> Grids | None:
    """Compress ``work`` [rows, columns] (float32, contiguous, on a GPU) in place; returns the grids, if it was rounded.

    ``work`` stacks matrices of ``heights`` rows that share the factor ``unit`` [columns, columns], ``diagonal``
    [columns] (``compressors.factor.Factor``). Masks are joint over the rows of a matrix, not of the stack.
    """
    from compressors.kernels import triton_columns as kernels

    (rows, columns), device = work.shape, work.device
    unit, inverse = unit.contiguous(), diagonal.reciprocal()
    size = columns if plan.group_size == -1 else plan.group_size
    if grids is None:
        grids = _empty(work, size if plan.bits is not None else columns)
    masks = _Masks(work, heights, plan)
    change = torch.empty(rows, WIDTH, device=device)
    fresh = plan.bits is not None and plan.groups == "fresh" and size < WIDTH
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        if plan.bits is not None and plan.groups != "static" and not fresh:
            _fit(work, grids, plan, size, start, stop)
        masks.select(inverse, start)
        kernels.block_kernel[(-(-rows // ROWS),)](
            work, change, unit, inverse, grids.scale, grids.zero, grids.group_of,
            masks.row_segment, masks.segment_start, masks.states,
            rows, columns, start, grids.scale.shape[1], len(heights),
            QUANTIZE=plan.bits is not None, FRESH=fresh, GROUP=size, TOP=2 ** (plan.bits or 1) - 1, SYM=plan.sym,
            TIE_BREAK=TIE_BREAK, JOINT=masks.counts is not None, LEVELS=len(masks.digits),
            PRUNED=(plan.group or 0) - (plan.keep or 0), OF=plan.group or 0,
            ROWS=ROWS, WIDTH=WIDTH, num_warps=WARPS,
        )  # fmt: skip
        if stop < columns:
            work[:, stop:].addmm_(change, unit[start:stop, stop:], alpha=-1)
    return None if plan.bits is None else grids


def _empty(work: Tensor, size: int) -> Grids:
    rows, columns = work.shape
    scale, zero = work.new_zeros(2, rows, columns // size)
    return Grids(scale, zero, torch.arange(columns, device=work.device, dtype=torch.int32) // size)


def _fit(work: Tensor, grids: Grids, plan: Plan, size: int, start: int, stop: int) -> None:
    """Fit the groups that start within these columns, on the weights as they are now."""
    from compressors.kernels.triton_columns import fit_kernel

    first, last = -(-start // size), -(-stop // size)
    rows, columns = work.shape
    if last > first:
        fit_kernel[(-(-rows // ROWS), last - first)](
            work, grids.scale, grids.zero, rows, columns, columns // size, first, size,
            TOP=2 ** (plan.bits or 1) - 1, SYM=plan.sym, TIE_BREAK=TIE_BREAK,
            ROWS=ROWS, WIDTH=min(WIDTH, 1 << (size - 1).bit_length()),
        )  # fmt: skip


def digits(rows: int) -> list[tuple[int, int]]:
    """Shift and bits of every digit of a key: a metric's bits, then the position in a block of this many rows."""
    bits = (rows * WIDTH - 1).bit_length()
    return [*DIGITS, *((max(0, bits - 11 * (i + 1)), min(11, bits - 11 * i)) for i in range(-(-bits // 11)))]


class _Masks:
    """Which entries of 128 columns are pruned, jointly over the rows of each matrix: an exact selection by digits."""

    CHUNK = 32  # rows a program

    def __init__(self, work: Tensor, heights: list[int], plan: Plan) -> None:
        device, self.work, self.segments = work.device, work, len(heights)
        starts = [sum(heights[:i]) for i in range(len(heights))]
        self.segment_start = torch.tensor(starts, dtype=torch.int32, device=device)
        self.counts: Tensor | None = None
        self.digits: list[tuple[int, int]] = []
        self.states = self.row_segment = self.segment_start  # stand in where nothing is selected
        if plan.sparsity is None:
            return
        counts = [
            [round(plan.sparsity * (height * (min(start + WIDTH, work.shape[1]) - start))) for height in heights]
            for start in range(0, work.shape[1], WIDTH)
        ]
        self.counts = torch.tensor(counts, dtype=torch.int32, device=device)
        ends = [start + height for start, height in zip(starts, heights, strict=True)]
        self.segment_end = torch.tensor(ends, dtype=torch.int32, device=device)
        self.row_segment = (
            torch.arange(self.segments, dtype=torch.int32).repeat_interleave(torch.tensor(heights)).to(device)
        )
        self.digits = digits(max(heights))
        chunks = [(i, row) for i, end in enumerate(ends) for row in range(starts[i], end, self.CHUNK)]
        self.chunk_segment, self.chunk_row = torch.tensor(chunks, dtype=torch.int32).T.contiguous().to(device)
        shape = (len(counts), self.segments, len(self.digits))
        self.histograms = torch.zeros(*shape, 2048, dtype=torch.int32, device=device)
        self.states = torch.zeros(shape[0], shape[1], shape[2] + 1, 2, dtype=torch.int64, device=device)

    def select(self, inverse: Tensor, start: int) -> None:
        if self.counts is None:
            return
        from compressors.kernels.triton_columns import histogram_kernel

        levels = len(self.digits)
        for level in range(levels + 1):
            shift, bits = self.digits[min(level, levels - 1)]
            histogram_kernel[(len(self.chunk_row),)](
                self.work, inverse, self.chunk_segment, self.chunk_row, self.segment_start, self.segment_end,
                self.counts, self.histograms, self.states, self.work.shape[1], start, self.segments,
                LEVEL=level, LEVELS=levels, SHIFT=shift, BITS=bits, LAST_SHIFT=self.digits[max(level - 1, 0)][0],
                ROWS=self.CHUNK, WIDTH=WIDTH,
            )  # fmt: skip
