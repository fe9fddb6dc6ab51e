"""Is the gap between the best and the worst source more than draws alone would make?

A difference of maxima is positive whenever anything varies, so it is compared with its distribution when the labels
of the sources are shuffled over the draws (a permutation test; Good 2005, chapter 3), never with zero. The p value
shuffles the draws themselves; the gap that draws alone make is read from their deviations from their own source, since
a real difference between sources would otherwise widen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class SourceRange(NamedTuple):
    """``gap`` = max - min of the source means; ``expected`` and ``high`` (95th percentile): what draws alone make.

    Both are NaN if no source has two draws.
    """

    gap: float
    expected: float
    high: float
    p: float


def source_range(groups: Sequence[ArrayLike], generator: np.random.Generator, rounds: int = 2000) -> SourceRange:
    """``groups`` holds one array of draw means a source; raises ``ValueError`` for fewer than two sources."""
    arrays = [np.asarray(g, float) for g in groups]
    if len(arrays) < 2 or any(a.size == 0 for a in arrays):
        raise ValueError("the gap between sources needs at least two sources with a draw each")
    values, sizes = np.concatenate(arrays), [a.size for a in arrays]
    cuts = np.cumsum(sizes)[:-1]
    gap = _gap(values[None, :], cuts)[0]
    shuffled = _gap(generator.permuted(np.tile(values, (rounds, 1)), axis=1), cuts)
    # The tolerance lets a shuffle that only reorders equal groups count as a tie despite rounding.
    p = (1 + int((shuffled >= gap - 1e-12 * abs(gap)).sum())) / (rounds + 1)
    if max(sizes) < 2:
        return SourceRange(float(gap), float("nan"), float("nan"), p)
    # Deviations from an estimated mean are too small by (S - 1) / S.
    noise = np.concatenate([(a - a.mean()) * np.sqrt(a.size / max(1, a.size - 1)) for a in arrays if a.size > 1])
    alone = _gap(generator.choice(noise, (rounds, values.size)), cuts)
    return SourceRange(float(gap), float(alone.mean()), float(np.quantile(alone, 0.95)), p)


def _gap(rows: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Range of the group means of every row; rows ``[rounds, n_draws]``."""
    means = np.stack([part.mean(axis=1) for part in np.split(rows, cuts, axis=1)])
    return means.max(axis=0) - means.min(axis=0)
