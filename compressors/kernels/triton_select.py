"""Triton kernels that choose the entries to prune. Import only where Triton is (``compressors.kernels.usable``)."""

import triton
import triton.language as tl


@triton.jit
def smallest_kernel(metric, mask, columns, count, WIDTH: tl.constexpr):
    """Marks the ``count`` smallest of a row of ``metric`` in ``mask``, of equal ones the first; a row a program.

    The threshold is built bit by bit, from the top: with those of negative numbers flipped, the bits of a float32 sort
    as it does. Adding 0 makes one of the two zeros.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    value = tl.load(metric + row * columns + column, mask=column < columns, other=0.0) + 0.0
    bits = value.to(tl.int32, bitcast=True)
    bits = tl.where(bits < 0, bits ^ 2147483647, bits)
    bits = tl.where(column < columns, bits, 2147483647)
    negative = tl.sum((bits < 0).to(tl.int32))
    threshold = tl.where(negative >= count, -2147483648, 0).to(tl.int32)
    for i in range(0, 31):
        candidate = threshold | (1 << (30 - i))
        smaller = tl.sum((bits < candidate).to(tl.int32))
        threshold = tl.where(smaller < count, candidate, threshold)
    below = bits < threshold
    equal = ((bits == threshold) & (column < columns)).to(tl.int32)
    missing = count - tl.sum(below.to(tl.int32))
    chosen = below | ((equal != 0) & (tl.cumsum(equal, 0) <= missing))
    tl.store(mask + row * columns + column, chosen.to(tl.int8), mask=column < columns)


@triton.jit
def pattern_kernel(metric, mask, cells, PRUNED: tl.constexpr, GROUP: tl.constexpr, CELLS: tl.constexpr):
    """Marks the PRUNED smallest of each run of GROUP entries of ``metric``, of equal ones the first; ``cells`` runs."""
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    for i in tl.static_range(GROUP):
        mine = tl.load(metric + cell * GROUP + i, mask=cell < cells, other=0.0)
        rank = tl.zeros((CELLS,), tl.int32)
        for k in tl.static_range(GROUP):
            if k != i:
                other = tl.load(metric + cell * GROUP + k, mask=cell < cells, other=0.0)
                rank += (other < mine).to(tl.int32)
                if k < i:
                    rank += (other == mine).to(tl.int32)
        tl.store(mask + cell * GROUP + i, (rank < PRUNED).to(tl.int8), mask=cell < cells)
