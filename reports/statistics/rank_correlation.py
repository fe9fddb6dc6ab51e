"""Spearman's rank correlation with a two-sided permutation p value (exact up to seven pairs, 9,999 shuffles beyond)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

EXACT = 7
ROUNDS = 9_999


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float | None, float | None]:
    """(rho, p); (None, None) with fewer than three pairs or where one side does not vary."""
    from scipy.stats import rankdata

    if len(x) != len(y):
        raise ValueError(f"pairs are needed; there are {len(x)} and {len(y)} values")
    a, b = (rankdata(v) - (len(v) + 1) / 2 for v in (np.asarray(x, float), np.asarray(y, float)))
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    if len(a) < 3 or scale == 0:
        return None, None
    rho = float(a @ b) / scale
    if len(a) <= EXACT:
        shuffled = np.array([a[list(order)] @ b for order in permutations(range(len(a)))]) / scale
        p = float((np.abs(shuffled) >= abs(rho) - 1e-12).mean())
    else:
        # A stream of its own: the p value of a table does not depend on which tables came before it.
        orders = np.random.default_rng(0).permuted(np.tile(a, (ROUNDS, 1)), axis=1)
        p = (1 + int((np.abs(orders @ b) / scale >= abs(rho) - 1e-12).sum())) / (ROUNDS + 1)
    return rho, p
