"""Minimum detectable effect, and what it would take to reach a margin.

(z_{1-alpha} + z_{power}) times the standard error; for flips the standard error is sqrt(rho / n) with rho the share
of items that differ (Zhuang et al., arXiv 2605.28873): 2.49 sqrt(rho / n) at alpha .05 and power .8.
"""

from __future__ import annotations

import math


def _reach(alpha: float, power: float, sided: int) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - alpha / sided) + norm.ppf(power))


def detectable_difference(error: float, alpha: float = 0.05, power: float = 0.8, sided: int = 1) -> float:
    """Smallest true difference that is found with ``power``, for a standard error of ``error``."""
    return _reach(alpha, power, sided) * error


def detectable_flips(rho: float, n_items: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest drop in accuracy (a share) that McNemar's test finds, at disagreement ``rho``."""
    return detectable_difference(math.sqrt(rho / n_items), alpha, power)


def fewest_flips(alpha: float = 0.05) -> int:
    """Changed items, all for the worse, that McNemar's exact one-sided test needs: 2^-k is at most ``alpha``.

    Fewer cannot be seen, however small the disagreement between runs was.
    """
    return math.ceil(-math.log2(alpha))


def items_needed(detectable: float, margin: float, n: int) -> int:
    """Units (items, or draws) that bring ``detectable``, measured with ``n``, down to ``margin``."""
    if margin <= 0:
        raise ValueError(f"no number of items detects a margin of {margin}: a margin is above 0")
    return math.ceil(n * (detectable / margin) ** 2)
