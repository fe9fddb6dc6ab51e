"""A weighted sum of means of independent groups of draws, with Welch's interval (Biometrika 29, 1938)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.interval import Interval


def group_contrast(groups: Sequence[ArrayLike], weights: Sequence[float], confidence: float = 0.95) -> Interval:
    """Interval of ``sum_g weights[g] * mean(groups[g])``; one value a draw, at least two draws a group that counts.

    Degrees of freedom by Satterthwaite. Raises ``ValueError`` for a group of one draw with a weight.
    """
    arrays = [np.asarray(group, float) for group in groups]
    used = [(w, a) for w, a in zip(weights, arrays, strict=True) if w]
    if not used or any(a.size < 2 for _, a in used):
        raise ValueError(f"two draws of each group are needed; there are {[a.size for a in arrays]}")
    parts = [w**2 * float(a.var(ddof=1)) / a.size for w, a in used]
    spread = sum(part**2 / (a.size - 1) for part, (_, a) in zip(parts, used, strict=True))
    df = sum(parts) ** 2 / spread if spread > 0 else sum(a.size - 1 for _, a in used)
    estimate = sum(w * float(a.mean()) for w, a in used)
    return Interval.of_t(estimate, sum(parts) ** 0.5, df, confidence)
