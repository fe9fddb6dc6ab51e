"""Mean of paired differences with a t interval.

Miller 2024, arXiv 2411.00640, section 4.2: two models are compared on the differences of the same items,
whose spread is far below that of the scores themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.interval import Interval


def paired_difference(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of mean(``a - b``) over items; ``a`` and ``b`` have shape ``[n_items]``.

    Raises ``ValueError`` if the shapes differ or there are fewer than two items.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise ValueError(f"paired items are needed, at least two; the shapes are {a.shape} and {b.shape}")
    difference = a - b
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    return Interval.of_t(difference.mean(), error, difference.size - 1, confidence)
