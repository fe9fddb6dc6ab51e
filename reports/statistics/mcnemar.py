"""Exact one-sided test that answers got worse, on the items whose answer changed.

McNemar, Psychometrika 12, 1947, as a binomial test of the discordant items; Kübler et al., arXiv 2602.10144,
use it to detect degradation by compression and average repeats of an item first. ``sign_flip`` is that
version made exact: with one answer an item it *is* McNemar's test.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class McNemar(NamedTuple):
    """``worse`` items went from right to wrong, ``better`` from wrong to right, of ``n_items``; ``p`` is one-sided."""

    worse: int
    better: int
    n_items: int
    p: float


def mcnemar(before: ArrayLike, after: ArrayLike) -> McNemar:
    """One answer an item: ``before`` and ``after`` are 0/1 of shape ``[n_items]``."""
    before, after = np.asarray(before, int), np.asarray(after, int)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"paired answers are needed; the shapes are {before.shape} and {after.shape}")
    worse, better = int(((before == 1) & (after == 0)).sum()), int(((before == 0) & (after == 1)).sum())
    from scipy.stats import binom

    p = float(binom.sf(worse - 1, worse + better, 0.5)) if worse + better else 1.0
    return McNemar(worse, better, before.size, min(1.0, p))


def sign_flip(before: ArrayLike, after: ArrayLike) -> McNemar:
    """Several draws an item: ``before`` and ``after`` are 0/1 of shape ``[n_items, n_draws]``, paired draw by draw.

    Under the hypothesis of no change the sign of an item's summed difference is a fair coin; the distribution of
    the sum over items is computed exactly by convolution, since the differences are integers. ``worse`` and
    ``better`` count answers (item x draw).
    """
    before, after = np.asarray(before, int), np.asarray(after, int)
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(f"paired answers [n_items, n_draws] are needed; the shapes are {before.shape}, {after.shape}")
    drop = (before - after).sum(axis=1)
    worse, better = int((before > after).sum()), int((before < after).sum())
    return McNemar(worse, better, before.shape[0], exact_sign_flip(drop))


def exact_sign_flip(drop: ArrayLike) -> float:
    """One-sided p value of integer differences ``[n_items]`` whose signs are fair coins under the hypothesis."""
    drop = np.asarray(drop, int)
    sizes = np.abs(drop[drop != 0])
    total = int(sizes.sum())
    distribution = np.zeros(2 * total + 1)
    distribution[total] = 1.0
    for size in sizes:
        distribution = 0.5 * (np.roll(distribution, size) + np.roll(distribution, -size))
    return min(1.0, float(distribution[total + int(drop.sum()) :].sum()))
