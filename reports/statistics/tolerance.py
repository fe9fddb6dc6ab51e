"""Thresholds from the noise of earlier runs: mean + k SD, where k allows for how few runs there were.

One-sided tolerance factor of the normal distribution by the noncentral t (Odeh and Owen 1980): 4.20 for five
runs, 2.40 for twenty. Fewer than five runs are refused: the factor passes seven at three.
"""

from __future__ import annotations

MINIMUM_RUNS = 5


def tolerance_factor(n_runs: int, content: float = 0.95, confidence: float = 0.95) -> float:
    """k such that mean + k SD of ``n_runs`` exceeds a share ``content`` of all runs, with ``confidence``.

    Raises ``ValueError`` below five runs.
    """
    from scipy.stats import nct, norm

    if n_runs < MINIMUM_RUNS:
        raise ValueError(f"{n_runs} baseline runs: a threshold made from noise needs at least {MINIMUM_RUNS}")
    root = n_runs**0.5
    return float(nct.ppf(confidence, n_runs - 1, float(norm.ppf(content)) * root)) / root


def upper_sd_factor(df: float, confidence: float = 0.95) -> float:
    """Factor from an SD with ``df`` degrees of freedom to its one-sided upper bound (2.37 for four)."""
    from scipy.stats import chi2

    return float((df / chi2.ppf(1 - confidence, df)) ** 0.5)
