"""GPTQ and SparseGPT again, float64, slow and obvious: written from the papers' equations, not from the product's code.

Optimal brain surgery on the columns from left to right (arXiv 2210.17323, equations 2 and 3): F are the columns not
yet fixed, H_F their Hessian. Fixing column j to q_j adds -(w_j - q_j) / [H_F^-1]_jj * [H_F^-1]_j: to the rest of the
row. The inverse is computed anew for every column.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def damped(hessian: Array, damp: float) -> Array:
    return hessian + damp * np.mean(np.diag(hessian)) * np.eye(len(hessian))


def grid_points(group: Array, bits: int) -> Array:
    """All values of the asymmetric grid of one row's group, [2^bits]."""
    low, high = min(group.min(), 0.0), max(group.max(), 0.0)
    scale = (high - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    return scale * (np.arange(2**bits) - zero)


def nearest(value: float, points: Array) -> float:
    return float(points[np.argmin(np.abs(points - value))])


def gptq(weight: Array, hessian: Array, bits: int, group: int, rule: str, damp: float, column_block: int) -> Array:
    """``rule``: static, block or fresh, as the method's setting ``groups``."""
    hessian = damped(hessian, damp)
    columns = weight.shape[1]
    result = np.zeros_like(weight)
    for r, original in enumerate(weight):
        row, at_block = original.copy(), original.copy()
        for j in range(columns):
            if j % column_block == 0:
                at_block = row.copy()
            if j % group == 0:
                source = {"static": original, "block": at_block, "fresh": row}[rule]
                points = grid_points(source[j : j + group], bits)
            result[r, j] = nearest(row[j], points)
            fix(row, hessian, j, result[r, j])
    return result


def gptq_by_energy(weight: Array, hessian: Array, bits: int, group: int, damp: float) -> Array:
    """Columns in falling order of the Hessian's diagonal, each rounded to the grid of its group in the original order,
    fitted to the original weights.
    """
    order = np.argsort(-np.diag(hessian), kind="stable")
    hessian = damped(hessian, damp)[order][:, order]
    result = np.zeros_like(weight)
    for r, original in enumerate(weight):
        row = original[order].copy()
        for j, column in enumerate(order):
            start = column // group * group
            result[r, column] = nearest(row[j], grid_points(original[start : start + group], bits))
            fix(row, hessian, j, result[r, column])
    return result


def fix(row: Array, hessian: Array, j: int, value: float) -> None:
    """Fix column j of a row to a value; the columns after it make up for the error."""
    inverse = np.linalg.inv(hessian[j:, j:])
    row[j:] -= (row[j] - value) / inverse[0, 0] * inverse[0]


def gptq_regret(
    weight: Array, hessian: Array, decided: Array, scale: Array, zero: Array, bits: int, damp: float
) -> float:
    """Replay decisions: the largest excess distance, in grid steps, of a decided value over the nearest grid point,
    given the decisions before it. ``scale`` and ``zero`` are [out, in], the grid of each column.
    """
    hessian = damped(hessian, damp)
    worst = 0.0
    for r in range(len(weight)):
        row = weight[r].copy()
        for j in range(weight.shape[1]):
            points = scale[r, j] * (np.arange(2**bits) - zero[r, j])
            best = np.abs(points - row[j]).min()
            worst = max(worst, (abs(decided[r, j] - row[j]) - best) / scale[r, j])
            fix(row, hessian, j, decided[r, j])
    return worst


def sparsegpt(
    weight: Array, hessian: Array, sparsity: float, keep: int, group: int, damp: float, block: int, bits: int = 0,
    size: int = 1, rule: str = "block",
) -> Array:  # fmt: skip
    """``group`` 0: the share ``sparsity`` of each column block, jointly over rows; else ``keep`` of every ``group``.

    With ``bits`` what is kept is rounded to the grid of its ``size`` columns, fitted to the original weights (``rule``
    static) or to those as its column block begins (block).
    """
    hessian = damped(hessian, damp)
    work, at_block = weight.copy(), weight
    columns = weight.shape[1]
    share = np.array([np.linalg.inv(hessian[j:, j:])[0, 0] for j in range(columns)])
    pruned, result = np.zeros(weight.shape, dtype=bool), np.zeros_like(weight)
    for j in range(columns):
        if group and j % group == 0:
            metric = work[:, j : j + group] ** 2 / share[j : j + group]
            order = np.argsort(metric, axis=1, kind="stable")[:, : group - keep]
            np.put_along_axis(pruned[:, j : j + group], order, True, axis=1)
        elif not group and j % block == 0:
            metric = work[:, j : j + block] ** 2 / share[j : j + block]
            order = np.argsort(metric, axis=None, kind="stable")[: round(sparsity * metric.size)]
            chosen = np.zeros(metric.size, dtype=bool)
            chosen[order] = True
            pruned[:, j : j + block] = chosen.reshape(metric.shape)
        if j % block == 0:
            at_block = work.copy()
        if j % size == 0:
            fitted = (weight if rule == "static" else at_block)[:, j : j + size]
        for r in range(len(work)):
            kept = nearest(work[r, j], grid_points(fitted[r], bits)) if bits else work[r, j]
            result[r, j] = 0.0 if pruned[r, j] else kept
            fix(work[r], hessian, j, result[r, j])
    return result


def sparsegpt_regret(
    weight: Array, hessian: Array, decided: Array, group: int, damp: float, block: int
) -> tuple[float, float]:
    """Replay decisions: by how much (relative) the metric of a pruned entry exceeds that of a kept one which it is
    compared with, given the decisions before it, and the largest difference of a kept value from the one due, relative
    to the largest weight. ``group`` 0: compared within a column block, jointly over rows; else within a row's group.
    """
    hessian = damped(hessian, damp)
    work, columns = weight.copy(), weight.shape[1]
    worst = difference = 0.0
    for j in range(columns):
        step = group or block
        if j % step == 0:
            share = np.array([np.linalg.inv(hessian[i:, i:])[0, 0] for i in range(j, min(j + step, columns))])
            metric, gone = work[:, j : j + step] ** 2 / share, decided[:, j : j + step] == 0
            for cells, out in zip(metric, gone, strict=True) if group else [(metric, gone)]:
                if out.any() and not out.all():
                    worst = max(worst, cells[out].max() / cells[~out].min() - 1)
        kept = decided[:, j] != 0
        if kept.any():
            difference = max(difference, np.abs(work[kept, j] - decided[kept, j]).max() / np.abs(weight).max())
        for r in range(len(work)):
            fix(work[r], hessian, j, decided[r, j])
    return worst, difference
