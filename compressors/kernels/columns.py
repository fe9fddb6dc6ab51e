"""The column loop of GPTQ and SparseGPT over stacked matrices: Triton on a GPU, torch elsewhere.

::

    for each 128 columns                 work [rows, columns]      one launch per step, no host synchronisation
      choose the mask (joint) | fit the groups' grids
      for each column, in registers:     prune, round, spread the change over the rest of the 128
      one product spreads the 128 changes over the columns that follow
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressors.kernels.factor import Factor

WIDTH = 128
DIGITS = ((52, 11), (42, 10), (32, 10))  # shift and bits of the digits of a metric, above its position


class Plan(NamedTuple):
    """What happens to a column: rounding if ``bits``, pruning to ``keep`` of ``group`` or of ``counts`` entries.

    ``groups`` is ``static``, ``block`` or ``fresh`` (``registry.GROUPS``); ``group_of`` [columns] says whose static grid a column uses
    (None: of its ``group_size`` columns). ``counts[b][m]`` entries are pruned of block b of matrix m, jointly over its rows.
    """

    bits: int | None = None
    group_size: int = -1
    sym: bool = False
    groups: str = "block"
    keep: int | None = None
    group: int | None = None
    counts: list[list[int]] | None = None


def fits(columns: int, plan: Plan) -> bool:
    """Whether the fused loop can run this plan: patterns and fresh groups must not straddle its blocks of 128."""
    if plan.group is not None and WIDTH % plan.group:
        return False
    size = columns if plan.group_size == -1 else plan.group_size
    return plan.bits is None or plan.groups != "fresh" or WIDTH % size == 0 or size % WIDTH == 0


def solve(weights: list[Tensor], factor: Factor, plan: Plan, *, rows: int = 16, warps: int = 4) -> list[Tensor]:
    """Compressed copies of ``weights`` ([out, columns] each), which share the inputs that ``factor`` belongs to; on a GPU with Triton.

    ``rows`` a program and its ``warps`` change the speed only.
    """
    import triton

    from compressors.kernels import triton_columns as kernels

    work = torch.cat(weights)
    total, columns = work.shape
    change = torch.empty(total, WIDTH, device=work.device)
    unit, diagonal = factor.unit.contiguous(), factor.diagonal.contiguous()
    grids = _Grids(work, plan)
    masks = _Masks(work, [len(w) for w in weights], plan)
    programs = (triton.cdiv(total, rows),)
    if plan.groups == "static":
        grids.fit(0, columns)
    for start in range(0, columns, WIDTH):
        stop = min(start + WIDTH, columns)
        if plan.groups != "static" and not grids.fresh:
            grids.fit(start, stop)
        masks.select(diagonal, start)
        kernels.block_kernel[programs](
            work, change, unit, diagonal, grids.scale, grids.zero, grids.group_of, masks.row_segment,
            masks.segment_start, masks.state(start), total, columns, start, grids.count,
            QUANTIZE=plan.bits is not None, FRESH=grids.fresh, GROUP=grids.size, TOP=grids.top, SYM=plan.sym,
            JOINT=plan.counts is not None, LEVELS=len(masks.digits),
            PRUNED=(plan.group or 0) - (plan.keep or 0), OF=plan.group or 0,
            ROWS=rows, WIDTH=WIDTH, num_warps=warps,
        )  # fmt: skip
        if stop < columns:
            work[:, stop:].addmm_(change[:, : stop - start], unit[start:stop, stop:], alpha=-1)
    return list(work.split([len(w) for w in weights]))


class _Grids:
    """Scales and zero points [rows, groups] of the grids, fitted when their group is reached."""

    def __init__(self, work: Tensor, plan: Plan) -> None:
        rows, columns = work.shape
        self.work, self.sym, self.quantize = work, plan.sym, plan.bits is not None
        self.size = columns if plan.group_size == -1 else plan.group_size
        self.top = 2 ** (plan.bits or 1) - 1
        self.count = columns // self.size
        self.fresh = self.quantize and plan.groups == "fresh" and self.size < WIDTH
        stored = (rows, self.count) if self.quantize and not self.fresh else (1,)
        self.scale, self.zero = (torch.empty(stored, device=work.device) for _ in range(2))
        self.group_of = torch.arange(columns, device=work.device, dtype=torch.int32) // self.size

    def fit(self, start: int, stop: int) -> None:
        """Fit the groups that start within these columns, on the weights as they are now."""
        if not self.quantize:
            return
        from compressors.kernels.triton_columns import fit_kernel

        first, last = -(-start // self.size), -(-stop // self.size)
        rows, columns = self.work.shape
        if last > first:
            fit_kernel[(-(-rows // 16), last - first)](
                self.work, self.scale, self.zero, rows, columns, self.count, first, self.size,
                TOP=self.top, SYM=self.sym, ROWS=16, WIDTH=min(WIDTH, 1 << (self.size - 1).bit_length()),
            )  # fmt: skip


class _Masks:
    """Which entries of a block of columns are pruned, jointly over the rows of each matrix: an exact selection on the GPU."""

    CHUNK = 32

    def __init__(self, work: Tensor, heights: list[int], plan: Plan) -> None:
        device, self.work = work.device, work
        self.counts = None if plan.counts is None else torch.tensor(plan.counts, dtype=torch.int32).to(device)
        starts = [sum(heights[:i]) for i in range(len(heights))]
        self.segment_start = torch.tensor(starts, dtype=torch.int32).to(device)
        self.segment_end = self.segment_start + torch.tensor(heights, dtype=torch.int32).to(device)
        numbers = torch.arange(len(heights), dtype=torch.int32)
        self.row_segment = numbers.repeat_interleave(torch.tensor(heights)).to(device)
        self.digits: list[tuple[int, int]] = []
        self.states = self.segment_start  # stands in where nothing is selected
        if self.counts is None:
            return
        bits = max(1, (max(heights) * WIDTH - 1).bit_length())
        lower = [(max(0, bits - 11 * (i + 1)), min(11, bits - 11 * i)) for i in range(-(-bits // 11))]
        self.digits = [*DIGITS, *lower]
        chunks = [(i, row) for i, s in enumerate(starts) for row in range(s, s + heights[i], self.CHUNK)]
        self.chunk_segment, self.chunk_row = torch.tensor(chunks, dtype=torch.int32).T.contiguous().to(device)
        blocks, levels, matrices = len(plan.counts or ()), len(self.digits), len(heights)
        self.histograms = torch.zeros(blocks, matrices, levels, 2048, dtype=torch.int32, device=device)
        self.states = torch.zeros(blocks, matrices, levels + 1, 2, dtype=torch.int64, device=device)

    def state(self, start: int) -> Tensor:
        return self.states if self.counts is None else self.states[start // WIDTH]

    def select(self, diagonal: Tensor, start: int) -> None:
        if self.counts is None:
            return
        from compressors.kernels.triton_columns import histogram_kernel

        block, levels = start // WIDTH, len(self.digits)
        for level in range(levels + 1):
            shift, bits = self.digits[min(level, levels - 1)]
            histogram_kernel[(len(self.chunk_row),)](
                self.work, diagonal, self.chunk_segment, self.chunk_row, self.segment_start, self.segment_end,
                self.counts[block], self.histograms[block], self.states[block], self.work.shape[1], start,
                LEVEL=level, LEVELS=levels, SHIFT=shift, BITS=bits, LAST_SHIFT=self.digits[max(level - 1, 0)][0],
                ROWS=self.CHUNK, WIDTH=WIDTH,
            )  # fmt: skip
