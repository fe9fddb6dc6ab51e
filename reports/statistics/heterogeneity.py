"""Do several estimates of one effect differ by more than their errors? Cochran's Q (Biometrics 10, 1954)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.statistics.interval import Interval


def heterogeneity(intervals: Sequence[Interval]) -> float:
    """p value of the hypothesis that all have one mean; 1 for fewer than two with an error.

    The chi-square of Q is that of known errors, so with a few draws each it finds differences a little too often.
    """
    from scipy.stats import chi2

    held = [interval for interval in intervals if interval.error > 0]
    if len(held) < 2:
        return 1.0
    weights = np.array([1 / interval.error**2 for interval in held])
    estimates = np.array([interval.estimate for interval in held])
    mean = float((weights * estimates).sum() / weights.sum())
    return float(chi2.sf(float((weights * (estimates - mean) ** 2).sum()), len(held) - 1))
