"""How much of the spread over draws is caused by the draw, and how much the items alone would show.

The component is (MS_draws - MS_residual) / n of the items x draws table, pooled over sources; its interval is that
of Tukey (1951) and Williams (Biometrika 49, 1962): exact for the ratio, close to nominal for the component.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from reports.statistics.two_way import mean_squares


@dataclass(frozen=True)
class VarianceComponent:
    """Standard deviations in the unit of the data.

    ``observed`` is the SD of the means of draws within a source, ``floor`` the part that the items alone make
    (sqrt(MS_residual / n)), ``sd`` the square root of the component with its interval ``low`` .. ``high``;
    ``p`` is the F test of no draw effect.
    """

    observed: float
    floor: float
    sd: float
    low: float
    high: float
    p: float
    df_draws: int
    df_residual: int
    n_items: int
    ms_draws: float
    ms_residual: float

    def p_above(self, limit: float) -> float:
        """One-sided p value of the hypothesis that the SD caused by the draw is at most ``limit``."""
        from scipy.stats import chi2

        expected = self.n_items * limit**2 + self.ms_residual
        if expected == 0:
            return 0.0 if self.ms_draws > 0 else 1.0
        return float(chi2.sf(self.df_draws * self.ms_draws / expected, self.df_draws))

    def p_below(self, limit: float) -> float:
        """One-sided p value of the hypothesis that the SD caused by the draw is at least ``limit``."""
        return p_below(limit, self.ms_draws, self.ms_residual, self.df_draws, self.df_residual, self.n_items)


def variance_component(matrices: Sequence[ArrayLike], confidence: float = 0.95) -> VarianceComponent:
    """Pool ``matrices`` ``[n_items, n_draws_g]``, one a source, over the sources with at least two draws.

    Raises ``ValueError`` if there is none, or if the sources were scored on different numbers of items.
    """
    tables = [table for table in map(mean_squares, matrices) if table.n_draws >= 2]
    if not tables:
        raise ValueError("no source has two draws: nothing can be said about the spread over draws")
    n = tables[0].n_items
    if any(table.n_items != n for table in tables):
        raise ValueError(f"the sources have different numbers of items: {sorted({t.n_items for t in tables})}")
    df = sum(table.n_draws - 1 for table in tables)
    draws = sum(table.draws * (table.n_draws - 1) for table in tables) / df
    residual = sum(table.residual * (table.n_draws - 1) for table in tables) / df
    low, high, p = tukey_williams(draws, residual, df, df * (n - 1), confidence)
    return VarianceComponent(
        observed=(draws / n) ** 0.5,
        floor=(residual / n) ** 0.5,
        sd=(max(0.0, draws - residual) / n) ** 0.5,
        low=(low / n) ** 0.5,
        high=(high / n) ** 0.5,
        p=p,
        df_draws=df,
        df_residual=df * (n - 1),
        n_items=n,
        ms_draws=draws,
        ms_residual=residual,
    )


def p_below(limit: float, draws: float, residual: float, df: int, df_residual: int, size: float) -> float:
    """One-sided p value of the hypothesis that the SD is at least ``limit``: the tail at which the upper bound of
    :func:`tukey_williams` (of ``size`` times the component) falls on it; .5 if it would be larger.
    """
    from scipy.optimize import brentq

    def above(log_tail: float) -> float:
        return tukey_williams(draws, residual, df, df_residual, 1 - 2 * 10**log_tail)[1] - size * limit**2

    least, most = -12.0, math.log10(0.5) - 1e-9
    if above(most) >= 0:
        return 0.5
    return float(10 ** brentq(above, least, most)) if above(least) > 0 else 10**least


def tukey_williams(draws: float, residual: float, df: int, df_residual: int, confidence: float):
    """Bounds of n times the component, and the p value of the F test."""
    from scipy.stats import chi2, f

    tail = (1 - confidence) / 2
    upper, lower = 1 - tail, tail
    low = df * (draws - residual * float(f.ppf(upper, df, df_residual))) / float(chi2.ppf(upper, df))
    high = df * (draws - residual * float(f.ppf(lower, df, df_residual))) / float(chi2.ppf(lower, df))
    p = float(f.sf(draws / residual, df, df_residual)) if residual > 0 else (0.0 if draws > 0 else 1.0)
    return max(0.0, low), max(0.0, high), p
