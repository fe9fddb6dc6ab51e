"""NF4, RIA, DSnoT, OWL, SpQR, AWQ and Pruner-Zero again: float64, slow and obvious, written from the papers' equations.

Nothing here is shared with the product; an entry, a row or a column is handled at a time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tests.references_compressors import damped, fix

Array = NDArray[np.float64]


def lowest(metric: Array, count: int) -> NDArray[np.bool_]:
    """True for the ``count`` smallest entries of ``metric``; of equal ones the first in row-major order."""
    chosen = np.zeros(metric.size, dtype=bool)
    chosen[np.argsort(metric, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(metric.shape)


# NF4, arXiv 2305.14314


def nf4_levels() -> Array:
    """Appendix E: equally likely quantiles of both halves of a normal distribution, sharing 0, scaled to [-1, 1]."""
    tail = (1 / 32 + 1 / 30) / 2
    positive = [norm.ppf(1 - tail + (0.5 - 1 + tail) * i / 8) for i in range(8)]
    negative = [-norm.ppf(1 - tail + (0.5 - 1 + tail) * i / 7) for i in range(7)]
    levels = np.sort([*negative, 0.0, *positive])
    return levels / np.abs(levels).max()


def nf4(weight: Array, block: int) -> Array:
    levels, result = nf4_levels(), np.zeros_like(weight)
    for r, row in enumerate(weight):
        for start in range(0, len(row), block):
            part = row[start : start + block]
            largest = np.abs(part).max()
            for j, value in enumerate(part):
                result[r, start + j] = largest * levels[np.argmin(np.abs(levels - value / largest))]
    return result


# RIA, ICLR 2024


def ria_metric(weight: Array, inputs: Array, a: float) -> Array:
    """Equations 3 and 4, entry by entry; inputs are [tokens, in]."""
    size, result = np.abs(weight), np.zeros_like(weight)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            share = size[i, j] / size[:, j].sum() + size[i, j] / size[i].sum()
            result[i, j] = share * np.linalg.norm(inputs[:, j]) ** a
    return result


def kept_by_pattern(metric: Array, keep: int, group: int) -> float:
    """The sum that an n:m pattern keeps."""
    return sum(
        float(np.sort(row[start : start + group])[-keep:].sum())
        for row in metric
        for start in range(0, metric.shape[1], group)
    )


# DSnoT, arXiv 2310.08915


def dsnot(
    dense: Array, start: Array, inputs: Array, cycles: int, threshold: float, group: int | None, tokens: int = 2048
) -> Array:
    """Section 3.2 row by row; an entry moves once. With ``group``, swaps stay in a group and no error changes sign."""
    mean, variance, size = inputs.mean(0), inputs.var(0), np.sqrt((inputs**2).mean(0))
    result = start.copy()
    for r in range(len(dense)):
        moved: set[int] = set()
        begun = None
        for _ in range(cycles):
            error = tokens * float((dense[r] - result[r]) @ mean)
            begun = np.sign(error) if begun is None else begun
            if abs(error) <= threshold:
                break
            back = [
                j for j in range(len(mean)) if start[r, j] == 0 and j not in moved and dense[r, j] * mean[j] * error > 0
            ]
            if not back:
                break
            grown = max(back, key=lambda j: abs(dense[r, j] * mean[j]) / variance[j])
            gone = [j for j in range(len(mean)) if start[r, j] != 0 and j not in moved]
            if group is None:
                gone = [j for j in gone if start[r, j] * mean[j] * error < 0]
            else:
                gone = [j for j in gone if j // group == grown // group]
            moved.add(grown)
            if not gone:
                continue
            pruned = min(gone, key=lambda j: abs(start[r, j]) * size[j])
            after = error - tokens * mean[grown] * dense[r, grown] + tokens * mean[pruned] * start[r, pruned]
            if group is not None and np.sign(after) != begun:
                break
            moved.add(pruned)
            result[r, grown], result[r, pruned] = dense[r, grown], 0.0
    return result


# OWL, arXiv 2310.05175


def owl_shares(blocks: list[list[tuple[Array, Array]]], m: float) -> list[float]:
    """The outlier share of each block, a list of (weight [out, in], inputs [tokens, in])."""
    shares = []
    for linears in blocks:
        entries = [
            abs(weight[i, j]) * np.sqrt((inputs[:, j] ** 2).mean())
            for weight, inputs in linears
            for i in range(weight.shape[0])
            for j in range(weight.shape[1])
        ]
        mean = np.mean(entries)
        shares.append(sum(1 for entry in entries if entry > m * mean) / len(entries))
    return shares


# SpQR, arXiv 2306.03078


def affine(values: Array, bits: int) -> tuple[float, float]:
    """Scale and (real) zero point of the grid that runs from the least to the largest value."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (2**bits - 1) if high > low else 1.0
    return scale, -low / scale


def on_grid(value: float, scale: float, zero: float, bits: int) -> float:
    return (np.clip(np.round(value / scale + zero), 0, 2**bits - 1) - zero) * scale


def coarse(values: Array, bits: int, run: int) -> Array:
    """Statistics of a column of groups, quantized in runs of rows."""
    result = values.copy()
    for start in range(0, len(values), run):
        part = values[start : start + run]
        scale, zero = affine(part, bits)
        result[start : start + run] = [on_grid(value, scale, zero, bits) for value in part]
    return result


def spqr(
    weight: Array, hessian: Array, bits: int, group: int, threshold: float, statbits: int, statgroup: int, damp: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Algorithm 1 with columns in falling order of the Hessian's diagonal; the result and its outliers [out, in]."""
    order = np.argsort(-np.diag(hessian), kind="stable")
    hessian = damped(hessian, damp)[order][:, order]
    work, columns = weight[:, order].copy(), weight.shape[1]
    cost = np.array([np.linalg.inv(hessian[j:, j:])[0, 0] for j in range(columns)])  # U_jj^2
    limit = threshold * np.mean(work.var(0, ddof=1) / cost)
    result, outliers = np.zeros_like(work), np.zeros(work.shape, dtype=bool)
    scales, zeros = np.zeros(len(work)), np.zeros(len(work))
    for j in range(columns):
        if j % group == 0:
            for r, row in enumerate(work):
                scales[r], zeros[r] = affine(
                    without_outliers(row[j : j + group], cost[j : j + group], bits, limit), bits
                )
            scales, zeros = coarse(scales, statbits, statgroup), coarse(zeros, statbits, statgroup)
        for r in range(len(work)):
            value = on_grid(work[r, j], scales[r], zeros[r], bits)
            outliers[r, j] = (work[r, j] - value) ** 2 / cost[j] > limit
            result[r, j] = work[r, j] if outliers[r, j] else value
            fix(work[r], hessian, j, result[r, j])
    back = np.argsort(order)
    return result[:, back], outliers[:, back]


def spqr_regret(
    weight: Array, hessian: Array, decided: Array, outliers: NDArray[np.bool_], bits: int, group: int, threshold: float,
    statbits: int, statgroup: int, damp: float,
) -> tuple[float, float]:  # fmt: skip
    """Replay decisions: the largest distance, in grid steps, of a decided value from the best one given the decisions
    before it, and the largest share by which the error of a kept weight falls short of the limit, or that of a rounded
    one exceeds it.
    """
    order = np.argsort(-np.diag(hessian), kind="stable")
    hessian = damped(hessian, damp)[order][:, order]
    work, decided, outliers = weight[:, order].copy(), decided[:, order], outliers[:, order]
    cost = np.array([np.linalg.inv(hessian[j:, j:])[0, 0] for j in range(len(hessian))])
    limit = threshold * np.mean(work.var(0, ddof=1) / cost)
    scales, zeros = np.zeros(len(work)), np.zeros(len(work))
    worst = breach = 0.0
    for j in range(len(hessian)):
        if j % group == 0:
            cells = slice(j, j + group)
            for r, row in enumerate(work):
                scales[r], zeros[r] = affine(without_outliers(row[cells], cost[cells], bits, limit), bits)
            scales, zeros = coarse(scales, statbits, statgroup), coarse(zeros, statbits, statgroup)
        for r in range(len(work)):
            value = on_grid(work[r, j], scales[r], zeros[r], bits)
            excess = (work[r, j] - value) ** 2 / cost[j] / limit - 1
            due = work[r, j] if outliers[r, j] else value
            breach = max(breach, -excess if outliers[r, j] else excess)
            worst = max(worst, abs(decided[r, j] - due) / scales[r])
            fix(work[r], hessian, j, decided[r, j])
    return worst, breach


def without_outliers(values: Array, cost: Array, bits: int, limit: float) -> Array:
    """A group with its likely outliers, found by leaving out an entry at a time, replaced by the others' mean."""

    def error(part: Array, share: Array) -> float:
        scale, zero = affine(part, bits)
        return sum((value - on_grid(value, scale, zero, bits)) ** 2 / c for value, c in zip(part, share, strict=True))

    whole = error(values, cost)
    likely = [whole - error(np.delete(values, leave), np.delete(cost, leave)) > limit for leave in range(len(values))]
    if not any(likely):
        return values
    rest = values[~np.array(likely)]
    return np.where(likely, rest.mean() if len(rest) else 0.0, values)


# AWQ, arXiv 2306.00978


def to_nearest(weight: Array, bits: int, group: int) -> Array:
    """The grid of ``rtn``: asymmetric, 0 in range, whole zero point."""
    result = np.zeros_like(weight)
    for r, row in enumerate(weight):
        for start in range(0, len(row), group):
            part = row[start : start + group]
            low, high = min(part.min(), 0.0), max(part.max(), 0.0)
            scale = (high - low) / (2**bits - 1)
            zero = np.round(-low / scale)
            codes = np.clip(np.round(part / scale) + zero, 0, 2**bits - 1)
            result[r, start : start + group] = (codes - zero) * scale
    return result


def awq_ratio(weight: Array, inputs: Array, bits: int, group: int, steps: int) -> tuple[float, Array]:
    """Equation 5: the ratio whose scaled rounding changes the linear's output least, and the errors of all ratios."""
    size = np.abs(inputs).mean(0)
    errors = []
    for step in range(steps):
        scale = size ** (step / steps)
        scale = scale / np.sqrt(scale.max() * scale.min())
        changed = to_nearest(weight * scale, bits, group) / scale
        errors.append(float(((inputs @ (changed - weight).T) ** 2).sum()))
    return int(np.argmin(errors)) / steps, np.array(errors)


def awq_clipped(weight: Array, inputs: Array, bits: int, group: int, steps: int) -> Array:
    """Each group rounded within the range that changes its own share of the output least."""
    result = np.zeros_like(weight)
    for r, row in enumerate(weight):
        for start in range(0, len(row), group):
            cell = slice(start, start + group)
            tried = []
            for step in range(steps // 2):
                bound = np.abs(row[cell]).max() * (1 - step / steps) if step else np.inf
                tried.append(to_nearest(np.clip(row[cell], -bound * (1 - 2**-12), bound)[None], bits, group)[0])
            shares = [float(((inputs[:, cell] @ (new - row[cell])) ** 2).sum()) for new in tried]
            result[r, cell] = tried[int(np.argmin(shares))]
    return result


# Pruner-Zero, arXiv 2406.02924


def prunerzero_metric(weight: Array, gradients: list[Array]) -> Array:
    """|W| |W| minmax(|G|), G the root of the sum of squares over the sequences' gradients."""
    total = np.sqrt(sum(gradient**2 for gradient in gradients))
    return np.abs(weight) * np.abs(weight) * (total - total.min()) / (total.max() - total.min())
