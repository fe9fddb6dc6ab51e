"""The SD over draws that changed answers alone would make, if the draw had no effect of its own.

Two draws disagree on a share rho of the items; independent flips give each draw's accuracy the variance
rho / (2 n), which a variance bound must not blame on calibration data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def disagreement(correct: ArrayLike) -> float:
    """Mean share of items on which two draws differ; ``correct`` is 0/1 of shape ``[n_items, n_draws >= 2]``."""
    x = np.asarray(correct, float)
    if x.ndim != 2 or x.shape[1] < 2:
        raise ValueError(f"answers [n_items, n_draws >= 2] are needed; the shape is {x.shape}")
    s = x.shape[1]
    ones = x.sum(axis=1)
    return float((2 * ones * (s - ones) / (s * (s - 1))).mean())


def item_floor(rho: float, n_items: int) -> float:
    """SD (as a share, not points) of an accuracy over ``n_items`` from flips alone, at disagreement ``rho``."""
    return float(np.sqrt(rho / (2 * n_items)))
