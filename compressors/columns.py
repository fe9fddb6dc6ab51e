"""The inner loop of GPTQ and SparseGPT: fix one column after the other, let the later ones make up for its error.

::

    columns, in blocks     | done | block: column by column | later: one product for the whole block |
                                    w_i -> new_i, e_i = w_i - new_i
                                    w_j -= unit[i, j] e_i  for the later columns j of the block
                                                             W -= unit[block, later]' E

Everything is transposed, [columns, out], so that a column of the weight is contiguous. Nothing here waits for the
device.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compressors import grid as grids
from compressors import masks

COLUMN_BLOCK = 128


class Pattern(NamedTuple):
    """Keep ``keep`` of every ``group`` columns, chosen on the weights as they are when the group is reached."""

    keep: int
    group: int


def edges(columns: int, step: int, cut: int | None = None) -> list[tuple[int, int]]:
    """Column blocks [start, end) of ``step`` columns, cut at multiples of ``cut`` too."""
    starts = sorted({*range(0, columns, step), *(range(0, columns, cut) if cut else ())})
    return list(zip(starts, [*starts[1:], columns], strict=True))


def solve_block(
    block: Tensor,
    unit: Tensor,
    *,
    grid: grids.Grid | None = None,
    pruned: Tensor | None = None,
    pattern: Pattern | None = None,
    diagonal: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve one block of columns; returns (new weights, errors), both [columns, out].

    ``block`` [columns, out] is used up. ``unit`` [columns, columns]: the block of ``Factor.unit``. ``grid``: scale
    and zero [columns, out], to round to. ``pruned`` [columns, out]: entries to set to zero; or ``pattern``, which
    chooses them here by (w / ``diagonal``)^2.
    """
    new, errors = torch.empty_like(block), torch.empty_like(block)
    for i in range(block.shape[0]):
        if pattern is not None and i % pattern.group == 0:
            assert diagonal is not None
            cell = slice(i, i + pattern.group)
            metric = (block[cell] / diagonal[cell, None]).square_()
            chosen = masks.pattern(metric.T, *pattern).T
        column = block[i]
        value = column
        if pattern is not None:
            value = value.masked_fill(chosen[i % pattern.group], 0)
        elif pruned is not None:
            value = value.masked_fill(pruned[i], 0)
        if grid is not None:
            here = grids.Grid(grid.scale[i], grid.zero[i], grid.top)
            value = grids.decode(grids.encode(value, here), here)
        new[i] = value
        torch.sub(column, value, out=errors[i])
        block[i + 1 :].addr_(unit[i, i + 1 :], errors[i], alpha=-1)
    return new, errors
