"""Spearman's rank correlation with an interval that holds for ranks (Bonett and Wright, Psychometrika 65, 2000)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Association(NamedTuple):
    """Correlation ``r`` with its interval; ``p`` is two-sided; ``detectable`` is found with power 0.8."""

    r: float
    low: float
    high: float
    p: float
    units: int
    detectable: float


def rank_association(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> Association:
    """Of two arrays of one value a unit; raises ``ValueError`` for fewer than five units or a constant."""
    from scipy.stats import rankdata

    return correlation(rankdata(np.asarray(x, float)), rankdata(np.asarray(y, float)), 0, True, confidence)


def correlation(
    x: ArrayLike, y: ArrayLike, removed: int = 0, ranks: bool = False, confidence: float = 0.95
) -> Association:
    """Pearson's correlation with Fisher's interval; ``removed`` degrees of freedom went into group means."""
    from scipy.stats import norm

    a, b = np.asarray(x, float), np.asarray(y, float)
    if a.shape != b.shape or a.size - removed < 5:
        raise ValueError(f"five units beyond the group means are needed; there are {a.size - removed}")
    a, b = a - a.mean(), b - b.mean()
    if not (a**2).sum() or not (b**2).sum():
        raise ValueError("one of the two does not vary")
    r = float((a * b).sum() / math.sqrt((a**2).sum() * (b**2).sum()))
    inside = min(0.999999, max(-0.999999, r))
    error = math.sqrt((1 + inside**2 / 2 if ranks else 1.0) / (a.size - removed - 3))
    z, half = math.atanh(inside), float(norm.ppf((1 + confidence) / 2)) * error
    reach = float(norm.ppf(0.975) + norm.ppf(0.8)) / math.sqrt(a.size - removed - 3)
    p = float(2 * norm.sf(abs(z) * math.sqrt(a.size - removed - 3)))
    return Association(r, math.tanh(z - half), math.tanh(z + half), p, int(a.size - removed), math.tanh(reach))
