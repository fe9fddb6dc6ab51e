"""Is one method's SD over draws larger than another's? The log of the ratio, for draws that both methods saw.

The same draws make the two methods' results correlate, so an F test would be wrong. For bivariate normal data
log(s1 / s2) has the variance (1 - r^2) / df (Pitman and Morgan, Biometrika 31, 1939), which is the F test's at r = 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.interval import Interval


def spread_ratio(a: Sequence[ArrayLike], b: Sequence[ArrayLike], confidence: float = 0.95) -> Interval:
    """Interval of log(SD of ``a`` / SD of ``b``) within groups; ``a[g]`` and ``b[g]`` are the same draws of a source.

    Raises ``ValueError`` for groups of different sizes, fewer than three degrees of freedom, or a spread of exactly 0.
    """
    first, second = _deviations(a), _deviations(b)
    df = first.size - len(a)
    if first.size != second.size or df < 3:
        raise ValueError(f"the same draws of both are needed, and more than {df} degrees of freedom")
    sums = float((first**2).sum()), float((second**2).sum())
    if min(sums) <= 0:
        raise ValueError("one of the two does not vary at all: the ratio of spreads is not a number")
    r = float((first * second).sum()) / (sums[0] * sums[1]) ** 0.5
    return Interval.of_t(0.5 * float(np.log(sums[0] / sums[1])), ((1 - r * r) / df) ** 0.5, df, confidence)


def _deviations(groups: Sequence[ArrayLike]) -> np.ndarray:
    arrays = [np.asarray(group, float) for group in groups]
    return np.concatenate([array - array.mean() for array in arrays])
