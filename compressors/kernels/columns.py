"""The column loop of GPTQ and SparseGPT over stacked matrices, in few launches and without waiting for the device.

::

    for each 128 columns                 work [rows, columns]
      choose the mask (joint) | fit the groups' grids
      for each column, in registers:     prune, round, spread the error over the rest of the 128
      one product spreads the 128 errors over the columns that follow

The same steps as ``compressors/columns.py``, which stays the reference.
"""

from __future__ import annotations

import functools
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
    """``scale`` and ``zero`` [rows, groups]; column j of a factor's rows is in ``group_of[factor, j]`` (int32)."""

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

    ``work`` stacks matrices of ``heights`` rows. ``unit`` [sets, columns, columns] and ``diagonal`` [sets, columns] are
    factors (``compressors.factor.Factor``): each belongs to as many rows as the others, the first to the first of them.
    Masks are joint over the rows of a matrix, not of the stack.
    """
    from compressors.kernels import triton_columns as kernels

    sets, columns = diagonal.shape
    rows = work.shape[0] // sets
    unit, inverse = unit.contiguous(), diagonal.reciprocal()
    size = columns if plan.group_size == -1 else plan.group_size
    if grids is None:
        grids = _empty(work, sets, size if plan.bits is not None else columns)
    masks = _Masks(work, heights, plan)
    change = torch.empty(len(work), WIDTH, device=work.device)
    fresh = plan.bits is not None and plan.groups == "fresh" and size < WIDTH
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        if plan.bits is not None and plan.groups != "static" and not fresh:
            _fit(work, grids, plan, size, start, stop)
        masks.select(inverse, start)
        layout = masks.layout
        kernels.block_kernel[(-(-rows // ROWS), sets)](
            work, change, unit, inverse, grids.scale, grids.zero, grids.group_of,
            layout.row_segment, layout.segment_start, masks.states,
            rows, columns, start, grids.scale.shape[1], len(heights),
            QUANTIZE=plan.bits is not None, FRESH=fresh, GROUP=size, TOP=2 ** (plan.bits or 1) - 1, SYM=plan.sym,
            TIE_BREAK=TIE_BREAK, JOINT=masks.joint, LEVELS=len(masks.digits),
            PRUNED=(plan.group or 0) - (plan.keep or 0), OF=plan.group or 0,
            ROWS=ROWS, WIDTH=WIDTH, num_warps=WARPS,
        )  # fmt: skip
        if stop < columns:
            spread(work, change, unit, start, stop)
    return None if plan.bits is None else grids


def spread(work: Tensor, change: Tensor, unit: Tensor, start: int, stop: int) -> None:
    """Take what the columns from ``start`` to ``stop`` lost, ``change`` [rows, WIDTH], from those that follow; the
    rows of each factor ``unit`` [sets, columns, columns] apart.
    """
    sets = len(unit)
    if sets == 1:
        work[:, stop:].addmm_(change, unit[0, start:stop, stop:], alpha=-1)
        return
    later = work.unflatten(0, (sets, -1))[:, :, stop:]
    later.baddbmm_(change.unflatten(0, (sets, -1)), unit[:, start:stop, stop:], alpha=-1)


def _empty(work: Tensor, sets: int, size: int) -> Grids:
    rows, columns = work.shape
    scale, zero = work.new_zeros(2, rows, columns // size)
    group_of = torch.arange(columns, device=work.device, dtype=torch.int32) // size
    return Grids(scale, zero, group_of.expand(sets, -1).contiguous())


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


class _Layout(NamedTuple):
    """Which rows are a matrix's (a segment), and which a program's, in int32 on the device: ``segment_start`` and
    ``segment_end`` [segments], ``row_segment`` [rows], ``chunk_segment`` and ``chunk_row`` [programs].
    """

    segment_start: Tensor
    segment_end: Tensor
    row_segment: Tensor
    chunk_segment: Tensor
    chunk_row: Tensor


CHUNK = 32  # rows a program of the selection


@functools.lru_cache(maxsize=64)
def _layout(heights: tuple[int, ...], device: torch.device) -> _Layout:
    # Made once a shape: a table that is copied to the device makes the host wait for all that is queued there.
    ends = [sum(heights[: i + 1]) for i in range(len(heights))]
    starts = [end - height for end, height in zip(ends, heights, strict=True)]
    chunks = [(i, row) for i, end in enumerate(ends) for row in range(starts[i], end, CHUNK)]
    rows = torch.arange(len(heights)).repeat_interleave(torch.tensor(heights))
    tables = (starts, ends, rows, [i for i, _ in chunks], [row for _, row in chunks])
    return _Layout(*(torch.as_tensor(table, dtype=torch.int32).to(device) for table in tables))


@functools.lru_cache(maxsize=64)
def _counts(heights: tuple[int, ...], columns: int, sparsity: float, device: torch.device) -> Tensor:
    """How many entries each matrix loses in each 128 columns, [blocks, segments] in int32."""
    widths = [min(WIDTH, columns - start) for start in range(0, columns, WIDTH)]
    counts = [[round(sparsity * (height * width)) for height in heights] for width in widths]
    return torch.tensor(counts, dtype=torch.int32, device=device)


class _Masks:
    """Which entries of 128 columns are pruned, jointly over the rows of each matrix: an exact selection by digits."""

    def __init__(self, work: Tensor, heights: list[int], plan: Plan) -> None:
        self.work, self.joint, self.segments = work, plan.sparsity is not None, len(heights)
        self.layout = _layout(tuple(heights), work.device)
        self.digits: list[tuple[int, int]] = []
        self.states = self.layout.segment_start  # stands in where nothing is selected
        if plan.sparsity is None:
            return
        self.counts = _counts(tuple(heights), work.shape[1], plan.sparsity, work.device)
        self.digits = digits(max(heights))
        shape = (len(self.counts), self.segments, len(self.digits))
        self.histograms = torch.zeros(*shape, 2048, dtype=torch.int32, device=work.device)
        self.states = torch.zeros(shape[0], shape[1], shape[2] + 1, 2, dtype=torch.int64, device=work.device)

    def select(self, inverse: Tensor, start: int) -> None:
        """Choose in the columns from ``start``; ``inverse`` [sets, columns] scales those of each factor's rows."""
        if not self.joint:
            return
        from compressors.kernels.triton_columns import histogram_kernel

        layout, levels = self.layout, len(self.digits)
        for level in range(levels + 1):
            shift, bits = self.digits[min(level, levels - 1)]
            histogram_kernel[(len(layout.chunk_row),)](
                self.work, inverse, layout.chunk_segment, layout.chunk_row, layout.segment_start, layout.segment_end,
                self.counts, self.histograms, self.states, self.work.shape[1], start, self.segments,
                self.segments // len(inverse),
                LEVEL=level, LEVELS=levels, SHIFT=shift, BITS=bits, LAST_SHIFT=self.digits[max(level - 1, 0)][0],
                ROWS=CHUNK, WIDTH=WIDTH,
            )  # fmt: skip
