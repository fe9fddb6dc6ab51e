"""Triton kernel of SpQR's column loop. Import only where Triton is (``compressors.kernels.usable``)."""

import triton
import triton.language as tl

from compressors.kernels.triton_columns import _cell, _nearest

FAR = tl.constexpr(3.0e38)


@triton.jit
def _range(low, high, TOP: tl.constexpr, INTEGER: tl.constexpr):
    """``compressors.spqr._range``."""
    if INTEGER:
        low = tl.minimum(low, 0.0)
        high = tl.maximum(high, 0.0)
    else:
        alike = low == high
        low = tl.where(alike, tl.minimum(low, 0.0), low)
        high = tl.where(alike, tl.maximum(high, 0.0), high)
    scale = tl.where(high == low, 1.0, tl.div_rn(high - low, tl.full(low.shape, TOP, tl.float32)))
    zero = tl.div_rn(-low, scale)
    if INTEGER:
        zero = _nearest(zero)
    return scale, zero


@triton.jit
def _rounded(value, scale, zero, TOP: tl.constexpr):
    """``compressors.spqr._round``; all of one shape."""
    code = tl.minimum(tl.maximum(_nearest(tl.div_rn(value, scale) + zero), 0.0), TOP)
    return (code - zero) * scale


@triton.jit
def _errors(cells, group, weight, TOP: tl.constexpr, INTEGER: tl.constexpr):
    """Weighted squared errors of rounding the ``group`` of columns of ``cells`` to a grid of its range."""
    low = tl.min(tl.where(group, cells, FAR), 1)
    high = tl.max(tl.where(group, cells, -FAR), 1)
    scale, zero = _range(low, high, TOP, INTEGER)
    scale = tl.broadcast_to(scale[:, None], cells.shape)
    value = _rounded(cells, scale, tl.broadcast_to(zero[:, None], cells.shape), TOP)
    return tl.where(group, (cells - value) * (cells - value) * weight, 0.0)


@triton.jit
def _levels(values, inside, LEVELS: tl.constexpr):
    """``compressors.spqr._rounded`` of one run of values: to LEVELS + 1 levels from their least to their largest."""
    low = tl.min(tl.where(inside, values, FAR), 0)
    high = tl.max(tl.where(inside, values, -FAR), 0)
    step = tl.full(values.shape, 0.0, tl.float32) + tl.where(high == low, 1.0, high - low)
    step = tl.where(high == low, 1.0, tl.div_rn(step, tl.full(values.shape, LEVELS, tl.float32)))
    return low + _nearest(tl.div_rn(values - low, step)) * step


@triton.jit
def _fit(
    tile, group, column, weight, limit, inside, TOP: tl.constexpr, INTEGER: tl.constexpr, LEVELS: tl.constexpr,
    SIZE: tl.constexpr,
):  # fmt: skip
    """``compressors.spqr._fit``: the grid of the ``group`` of columns, likely outliers left out."""
    cells = tl.where(group, tile, 0.0)
    if SIZE > 1:
        base = _errors(cells, group, weight, TOP, INTEGER)
        whole = tl.sum(base, 1)
        low = tl.min(tl.where(group, cells, FAR), 1)
        high = tl.max(tl.where(group, cells, -FAR), 1)
        lowest = column[None, :] == tl.argmin(tl.where(group, cells, FAR), 1)[:, None]
        highest = column[None, :] == tl.argmax(tl.where(group, cells, -FAR), 1)[:, None]
        # A stand-in on the other end leaves the range of the rest.
        left = _errors(tl.where(lowest, high[:, None], cells), group, weight, TOP, INTEGER)
        gain = tl.where(lowest, (whole - tl.sum(tl.where(lowest, 0.0, left), 1))[:, None], base)
        left = _errors(tl.where(highest, low[:, None], cells), group, weight, TOP, INTEGER)
        gain = tl.where(highest, (whole - tl.sum(tl.where(highest, 0.0, left), 1))[:, None], gain)
        usual = group & (gain <= limit[:, None])
        count = tl.maximum(tl.sum(usual.to(tl.float32), 1), 1.0)
        mean = tl.div_rn(tl.sum(tl.where(usual, cells, 0.0), 1), count)
        cells = tl.where(usual, cells, mean[:, None])
    low = tl.min(tl.where(group, cells, FAR), 1)
    high = tl.max(tl.where(group, cells, -FAR), 1)
    scale, zero = _range(low, high, TOP, INTEGER)
    if LEVELS > 0:
        scale = _levels(scale, inside, LEVELS)
        zero = _levels(zero, inside, LEVELS)
    return scale, zero


@triton.jit(do_not_specialize=["rows"])
def spqr_kernel(
    work, change, kept, factor, diagonal, limits, rows, columns, start,
    TOP: tl.constexpr, INTEGER: tl.constexpr, LEVELS: tl.constexpr, GROUP: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Compresses WIDTH columns of ROWS rows in registers; the rows are one run whose statistics are rounded together.

    ``work`` [factors * rows, columns] goes from updated to compressed weights, ``change`` [factors * rows, WIDTH] gets
    their difference, ``kept`` marks outliers. The second program id is that of the factor.
    """
    own = tl.program_id(1)
    factor += own.to(tl.int64) * columns * columns
    diagonal += own * columns
    row = own * rows + tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = row < (own + 1) * rows
    column = tl.arange(0, WIDTH)
    within = start + column < columns
    inside = real[:, None] & within[None, :]
    at = row.to(tl.int64)[:, None] * columns + start + column[None, :]
    tile = tl.load(work + at, mask=inside, other=0.0)
    limit = tl.load(limits + row, mask=real, other=0.0)
    scaling = tl.load(diagonal + start + column, mask=within, other=1.0)
    weight = tl.div_rn(tl.full((WIDTH,), 1.0, tl.float32), scaling * scaling)[None, :]
    allowed = scaling[None, :] * tl.sqrt_rn(limit)[:, None]
    lost = tl.zeros((ROWS, WIDTH), tl.float32)
    outliers = tl.zeros((ROWS, WIDTH), tl.int8)
    scale = tl.full((ROWS,), 1.0, tl.float32)
    zero = tl.full((ROWS,), 0.0, tl.float32)
    for j in range(0, tl.minimum(WIDTH, columns - start)):
        here = (column == j)[None, :]
        if j % GROUP == 0:
            group = _cell(column, j, GROUP) & (row >= 0)[:, None]
            scale, zero = _fit(tile, group, column, weight, limit, real, TOP, INTEGER, LEVELS, GROUP)
        updated = tl.sum(tl.where(here, tile, 0.0), 1)
        value = _rounded(updated, scale, zero, TOP)
        keep = tl.abs(updated - value) > tl.sum(tl.where(here, allowed, 0.0), 1)
        value = tl.where(keep, updated, value)
        delta = (updated - value)[:, None]
        later = (column > j) & within
        ahead = tl.load(factor + (start + j).to(tl.int64) * columns + start + column, mask=later, other=0.0)
        tile = tl.where(here, value[:, None], tile - delta * ahead[None, :])
        lost = tl.where(here, delta, lost)
        outliers = tl.where(here, keep[:, None].to(tl.int8), outliers)
    tl.store(work + at, tile, mask=inside)
    tl.store(kept + at, outliers, mask=inside)
    tl.store(change + row.to(tl.int64)[:, None] * WIDTH + column[None, :], lost, mask=real[:, None])
