"""OWL: blocks with more outliers are pruned less. An allocator: a dense pass over the model gives each block its
sparsity.

Yin et al., arXiv 2310.05175, section 3: a block's outlier share is that of its entries whose |w| ||x|| exceeds ``m``
times their mean; shares are stretched to a range of 2 ``lambda`` and centred, so that the mean sparsity is the target:
exactly, of the ratios; zeros are whole numbers of each row (or block, or matrix) that the base compares within.

Deviations from the reference code: blocks count by their number of weights (the same where blocks are equal); ratios
that leave [0, 0.99] are clamped and the others moved until the mean is exact again, where it lifts densities of 0 to
0.01 and lets the mean go; blocks that all have one share, where it divides by zero, are pruned evenly and this is
counted; its command line has m = 3, its recipe for 70 % (here the default) m = 5.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import torch
from torch import Tensor

from compressors.codehash import module_name
from compressors.method import Method
from compressors.prepass import DensePass, Plan
from compressors.solving import Solved
from compressors.statistics import Statistics
from compressors.wanda import importance

LIMIT = 0.99  # no block is pruned further


def outlier_share(weights: list[Tensor], norms: list[Tensor], m: float) -> float:
    """Share of the entries of a block whose |w| ||x|| exceeds ``m`` times the mean over the block (equation 1's D, as a
    share).

    ``weights`` are the block's matrices [out, in], ``norms`` [in] the mean squares of their inputs.
    """
    metrics = [importance(weight, norm) for weight, norm in zip(weights, norms, strict=True)]
    total = sum(metric.numel() for metric in metrics)
    mean = sum(float(metric.sum(dtype=torch.float64)) for metric in metrics) / total
    return sum(int((metric > m * mean).sum()) for metric in metrics) / total


def ratios(shares: list[float], sizes: list[int], sparsity: float, spread: float) -> tuple[list[float], int]:
    """Each block's sparsity, whose mean over weights is ``sparsity``, and how often a ratio had to be clamped (or, -1,
    all shares were equal).

    ``spread`` is lambda: before clamping the sparsities span 2 lambda, the largest share getting the smallest.
    """
    low, high = min(shares), max(shares)
    if spread == 0:
        return [sparsity] * len(shares), 0
    if low == high:
        return [sparsity] * len(shares), -1
    lean = [-(share - low) / (high - low) * 2 * spread for share in shares]
    return _centred(lean, sizes, sparsity)


def _centred(lean: list[float], sizes: list[int], sparsity: float) -> tuple[list[float], int]:
    """``lean`` plus one constant, clamped to [0, LIMIT], with a mean of ``sparsity``: the constant is found by
    bisection.
    """
    limit = max(LIMIT, sparsity)
    total = sum(sizes)

    def at(shift: float) -> list[float]:
        return [min(max(value + shift, 0.0), limit) for value in lean]

    def mean(values: list[float]) -> float:
        return sum(value * size for value, size in zip(values, sizes, strict=True)) / total

    low, high = sparsity - 1 - max(lean), sparsity + 1 - min(lean)  # all at 0, all at the limit
    shift = sparsity - mean(lean)
    if at(shift) != [value + shift for value in lean]:
        for _ in range(200):
            shift = (low + high) / 2
            low, high = (shift, high) if mean(at(shift)) < sparsity else (low, shift)
    found = at(shift)
    return found, sum(1 for value, free in zip(found, lean, strict=True) if value != free + shift)


def plan(dense: DensePass, method: Method) -> Plan:
    """Each block's method, from one pass of the dense model over the calibration set."""
    shares, sizes = [], []
    for block, seen in dense.norms():
        weights = [dense.weight(block, name) for name in seen]
        shares.append(outlier_share(weights, list(seen.values()), float(method.setting("m"))) if weights else 0.0)
        sizes.append(sum(weight.numel() for weight in weights))
    assert method.target.sparsity is not None
    found, clamped = ratios(shares, sizes, method.target.sparsity, float(method.setting("lambda")))
    methods = [replace(method, target=replace(method.target, sparsity=value)) for value in found]
    details = {
        "outlier_shares": shares, "sparsities": found, "clamped": max(clamped, 0), "equal_shares": int(clamped < 0),
    }  # fmt: skip
    return Plan(methods, details={"owl": details})


def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]:
    base = method.base_method
    return import_module(module_name(base.algorithm)).solve(weights, seen, base)
