"""Sources as a sample of sources: the variance component between groups of draws, with its F test.

One-way analysis of variance of one value a draw; the component is (MS_between - MS_within) / n0, its interval that of
Tukey (1951) and Williams (1962), exact for the ratio of mean squares (Searle, Casella and McCulloch 1992, 3.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.variance_component import p_below, tukey_williams


@dataclass(frozen=True)
class OneWay:
    """SDs in the unit of the data: ``between`` groups with its interval ``low`` .. ``high``, and ``within`` a group.

    ``p`` is the F test of no group effect, ``detectable`` the SD between groups that it finds with power 0.8.
    """

    between: float
    low: float
    high: float
    within: float
    p: float
    component: float  # not cut off at 0
    df_between: int
    df_within: int
    size: float
    detectable: float

    def p_below(self, limit: float) -> float:
        """One-sided p value of the hypothesis that the SD between groups is at least ``limit``."""
        squares = self.size * self.component + self.within**2
        return p_below(limit, squares, self.within**2, self.df_between, self.df_within, self.size)


def one_way(groups: Sequence[ArrayLike], confidence: float = 0.95) -> OneWay:
    """``groups`` holds one array of draw means a source; needs two groups and one with two draws (``ValueError``)."""
    arrays = [np.asarray(group, float) for group in groups]
    k, total = len(arrays), sum(array.size for array in arrays)
    if k < 2 or total - k < 1 or any(array.size == 0 for array in arrays):
        raise ValueError(f"two sources and some with two draws are needed; the draws are {[a.size for a in arrays]}")
    grand = np.concatenate(arrays).mean()
    between = sum(a.size * (a.mean() - grand) ** 2 for a in arrays) / (k - 1)
    within = sum(((a - a.mean()) ** 2).sum() for a in arrays) / (total - k)
    size = (total - sum(a.size**2 for a in arrays) / total) / (k - 1)
    low, high, p = tukey_williams(float(between), float(within), k - 1, total - k, confidence)
    return OneWay(
        between=float(max(0.0, between - within) / size) ** 0.5,
        low=(low / size) ** 0.5,
        high=(high / size) ** 0.5,
        within=float(within) ** 0.5,
        p=p,
        component=float(between - within) / size,
        df_between=k - 1,
        df_within=total - k,
        size=float(size),
        detectable=detectable_component(float(within), k - 1, total - k, float(size)),
    )


def detectable_component(within: float, df: int, df_within: int, size: float, alpha: float = 0.05, power: float = 0.8):
    """SD between groups that the F test finds with ``power``, at a mean square ``within``."""
    from scipy.stats import chi2, f

    ratio = float(f.ppf(1 - alpha, df, df_within)) / (float(chi2.ppf(1 - power, df)) / df)
    return float(within * max(0.0, ratio - 1) / size) ** 0.5
