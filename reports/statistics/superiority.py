"""P(A > B): the chance that a draw of A beats a draw of B, ties counted half, with an interval.

The estimate is the Mann-Whitney U divided by the number of pairs (Vargha and Delaney 2000, their A); the interval
is Newcombe's (Statistics in Medicine 25, 2006, method 5), which stays inside [0, 1] and has width at 0 and 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.interval import Interval


def superiority(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """``a`` ``[n_a]`` and ``b`` ``[n_b]`` are one value a draw. Raises ``ValueError`` if either is empty."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.size == 0 or b.size == 0:
        raise ValueError("P(A > B) needs at least one draw of each")
    from scipy.stats import norm

    pairs = np.sign(a[:, None] - b[None, :])
    theta = float((pairs.mean() + 1) / 2)
    z, extra = float(norm.ppf((1 + confidence) / 2)), (a.size + b.size) / 2 - 1

    def variance(t: float) -> float:
        return t * (1 - t) * (1 + extra * (1 - t) / (2 - t) + extra * t / (1 + t)) / (a.size * b.size)

    low = _root(lambda t: (theta - t) ** 2 - z * z * variance(t), 0.0, theta)
    high = _root(lambda t: (theta - t) ** 2 - z * z * variance(t), 1.0, theta)
    return Interval(theta, low, high, variance(theta) ** 0.5, float("inf"), confidence)


def _root(function, outer: float, inner: float) -> float:
    """The bound between ``outer`` (0 or 1) and the estimate ``inner`` by bisection."""
    if outer == inner:
        return outer
    for _ in range(60):
        middle = (outer + inner) / 2
        if function(middle) > 0:
            outer = middle
        else:
            inner = middle
    return (outer + inner) / 2
