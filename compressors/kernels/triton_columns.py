"""Triton kernels of the column loop. Import only where Triton is (``compressors.kernels.usable``)."""

import triton
import triton.language as tl

ROUND = tl.constexpr(12582912.0)  # 1.5 * 2^23: adding and subtracting it rounds a float32 half to even
BINS = tl.constexpr(2048)


@triton.jit
def _nearest(value):
    return tl.minimum(tl.maximum(value, -1048576.0), 1048576.0) + ROUND - ROUND


@triton.jit
def _grid(low, high, TOP: tl.constexpr, SYM: tl.constexpr, TIE_BREAK: tl.constexpr):
    """``compressors.grid.fit`` of groups that span [low, high], which includes 0; divisions are exact."""
    if SYM:
        high = tl.maximum(high, -low) * TIE_BREAK
        low = -high
    scale = tl.where(high == low, 1.0, tl.div_rn(high - low, tl.full(low.shape, TOP, tl.float32)))
    zero = tl.full(low.shape, (TOP + 1) / 2, tl.float32) if SYM else _nearest(tl.div_rn(-low, scale))
    return scale, zero


@triton.jit
def _rounded(value, scale, zero, TOP: tl.constexpr):
    code = _nearest(tl.div_rn(value, scale)) + zero
    return (tl.minimum(tl.maximum(code, 0.0), TOP) - zero) * scale


@triton.jit(do_not_specialize=["rows", "groups", "first"])
def fit_kernel(
    work, scales, zeros, rows, columns, groups, first, size,
    TOP: tl.constexpr, SYM: tl.constexpr, TIE_BREAK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Fits the grid of group ``first + program_id(1)`` for ROWS rows of ``work`` [rows, columns]."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    group = first + tl.program_id(1)
    low = tl.zeros((ROWS, WIDTH), tl.float32)
    high = tl.zeros((ROWS, WIDTH), tl.float32)
    for offset in range(0, size, WIDTH):
        column = offset + tl.arange(0, WIDTH)
        inside = (row < rows)[:, None] & ((column < size) & (group * size + column < columns))[None, :]
        at = row.to(tl.int64)[:, None] * columns + group * size + column[None, :]
        tile = tl.load(work + at, mask=inside, other=0.0)
        low = tl.minimum(low, tile)
        high = tl.maximum(high, tile)
    scale, zero = _grid(tl.min(low, 1), tl.max(high, 1), TOP, SYM, TIE_BREAK)
    at = row.to(tl.int64) * groups + group
    tl.store(scales + at, scale, mask=row < rows)
    tl.store(zeros + at, zero, mask=row < rows)


@triton.jit
def _key(tile, inverse, position):
    """Sorts by (w / U_jj)^2, then by position: the bits of a float32 >= 0 sort as it does."""
    scaled = tile * inverse
    return ((scaled * scaled).to(tl.int32, bitcast=True).to(tl.int64) << 32) | position


@triton.jit
def _pick(histogram, need):
    """The bin that holds the ``need``-th smallest element (from 1) and how many lie in the bins before it."""
    counts = tl.load(histogram + tl.arange(0, BINS))
    running = tl.cumsum(counts, 0)
    before = running < need
    return tl.sum(before.to(tl.int32)), tl.max(tl.where(before, running, 0))


@triton.jit(do_not_specialize=["segments", "share"])
def histogram_kernel(
    work, inverse, chunk_segment, chunk_row, segment_start, segment_end, counts, histograms, states,
    columns, start, segments, share,
    LEVEL: tl.constexpr, LEVELS: tl.constexpr, SHIFT: tl.constexpr, BITS: tl.constexpr, LAST_SHIFT: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One digit of a radix selection over the keys of a block of columns, jointly over the rows of a matrix.

    ``states`` [blocks, segments, LEVELS + 1, 2] holds the digits found so far and the rank that is still looked for;
    level l works out digit l - 1 from the counts that level l - 1 left, so that no launch is needed in between. A row
    of ``inverse`` [factors, columns] serves ``share`` segments.
    """
    segment = tl.load(chunk_segment + tl.program_id(0))
    slot = start // WIDTH * segments + segment
    prefix = tl.zeros((), tl.int64)
    need = tl.load(counts + slot).to(tl.int64)
    if LEVEL > 0:
        state = states + (slot * (LEVELS + 1) + LEVEL - 1) * 2
        if LEVEL > 1:
            prefix = tl.load(state)
            need = tl.load(state + 1)
        digit, before = _pick(histograms + (slot * LEVELS + LEVEL - 1) * BINS, need)
        prefix = prefix | (digit.to(tl.int64) << LAST_SHIFT)
        need -= before
        tl.store(state + 2, prefix)
        tl.store(state + 3, need)
    if LEVEL < LEVELS:
        row = tl.load(chunk_row + tl.program_id(0)) + tl.arange(0, ROWS)
        column = tl.arange(0, WIDTH)
        inside = (row < tl.load(segment_end + segment))[:, None] & (start + column < columns)[None, :]
        tile = tl.load(work + row.to(tl.int64)[:, None] * columns + start + column[None, :], mask=inside, other=0.0)
        scale = tl.load(inverse + segment // share * columns + start + column, mask=start + column < columns, other=0.0)
        position = (row - tl.load(segment_start + segment)).to(tl.int64)[:, None] * WIDTH + column[None, :]
        key = _key(tile, scale[None, :], position)
        inside = inside & ((key >> (SHIFT + BITS)) == (prefix >> (SHIFT + BITS)))
        digits = ((key >> SHIFT) & ((1 << BITS) - 1)).to(tl.int32)
        histogram = histograms + (slot * LEVELS + LEVEL) * BINS
        if LEVEL == 0:
            flat = tl.reshape(digits, (ROWS * WIDTH,))
            found = tl.histogram(flat, 1 << BITS, mask=tl.reshape(inside, (ROWS * WIDTH,)))
            tl.atomic_add(histogram + tl.arange(0, 1 << BITS), found, mask=found > 0)
        else:  # few are left
            tl.atomic_add(histogram + digits, 1, mask=inside)


@triton.jit
def _cell(column, first, SIZE: tl.constexpr):
    return ((column >= first) & (column < first + SIZE))[None, :]


@triton.jit
def _pattern(tile, scaling, column, first, OF: tl.constexpr):
    """Ranks, by (w / U_jj)^2 and then by position, that are right for the OF columns from ``first`` on."""
    scaled = tile * scaling[None, :]
    metric = scaled * scaled
    rank = tl.zeros(tile.shape, tl.int32)
    for i in tl.static_range(OF):
        other = tl.sum(tl.where((column == first + i)[None, :], metric, 0.0), 1)[:, None]
        rank += ((other < metric) | ((other == metric) & (first + i < column)[None, :])).to(tl.int32)
    return rank


@triton.jit(do_not_specialize=["rows", "groups", "segments"])
def block_kernel(
    work, change, factor, inverse, scales, zeros, group_of, row_segment, segment_start, states,
    rows, columns, start, groups, segments,
    QUANTIZE: tl.constexpr, FRESH: tl.constexpr, GROUP: tl.constexpr, TOP: tl.constexpr, SYM: tl.constexpr,
    TIE_BREAK: tl.constexpr, JOINT: tl.constexpr, LEVELS: tl.constexpr, PRUNED: tl.constexpr, OF: tl.constexpr,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Compresses WIDTH columns of ROWS rows in registers, one after another; see ``columns.run``.

    ``work`` [factors * rows, columns] goes from updated to compressed weights, ``change`` [factors * rows, WIDTH] gets
    their difference. The second program id is that of the factor.
    """
    own = tl.program_id(1)
    row = own * rows + tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = row < (own + 1) * rows
    column = tl.arange(0, WIDTH)
    inside = real[:, None] & (start + column < columns)[None, :]
    at = row.to(tl.int64)[:, None] * columns + start + column[None, :]
    tile = tl.load(work + at, mask=inside, other=0.0)
    lost = tl.zeros((ROWS, WIDTH), tl.float32)
    scaling = tl.load(inverse + own * columns + start + column, mask=start + column < columns, other=0.0)
    pruned = tl.zeros((ROWS, WIDTH), tl.int1)
    if JOINT:
        segment = tl.load(row_segment + row, mask=real, other=0)
        position = (row - tl.load(segment_start + segment)).to(tl.int64)[:, None] * WIDTH + column[None, :]
        slot = start // WIDTH * segments + segment
        last = tl.load(states + (slot * (LEVELS + 1) + LEVELS) * 2)
        pruned = _key(tile, scaling[None, :], position) <= last[:, None]
    scale = tl.full((ROWS,), 1.0, tl.float32)
    zero = tl.full((ROWS,), 0.0, tl.float32)
    for j in range(0, tl.minimum(WIDTH, columns - start)):
        here = (column == j)[None, :]
        if OF > 0:  # noqa: SIM102 (one is known when compiling, and j % 0 is an error)
            if j % OF == 0:
                pruned = tl.where(_cell(column, j, OF), _pattern(tile, scaling, column, j, OF) < PRUNED, pruned)
        if QUANTIZE:
            if FRESH:
                if j % GROUP == 0:
                    cell = tl.where(_cell(column, j, GROUP), tile, 0.0)
                    scale, zero = _grid(tl.min(cell, 1), tl.max(cell, 1), TOP, SYM, TIE_BREAK)
                    place = row.to(tl.int64) * groups + (start + j) // GROUP
                    tl.store(scales + place, scale, mask=real)
                    tl.store(zeros + place, zero, mask=real)
            else:
                place = row.to(tl.int64) * groups + tl.load(group_of + own * columns + start + j)
                scale = tl.load(scales + place, mask=real, other=1.0)
                zero = tl.load(zeros + place, mask=real, other=0.0)
        updated = tl.sum(tl.where(here, tile, 0.0), 1)
        value = updated
        if JOINT or OF > 0:
            value = tl.sum(tl.where(here & (pruned == 0), tile, 0.0), 1)
        if QUANTIZE:
            value = _rounded(value, scale, zero, TOP)
        delta = (updated - value)[:, None]
        later = (column > j) & (start + column < columns)
        line = (own.to(tl.int64) * columns + start + j) * columns
        ahead = tl.load(factor + line + start + column, mask=later, other=0.0)
        tile = tl.where(here, value[:, None], tile - delta * ahead[None, :])
        lost = tl.where(here, delta, lost)
    tl.store(work + at, tile, mask=inside)
    tl.store(change + row.to(tl.int64)[:, None] * WIDTH + column[None, :], lost, mask=real[:, None])
