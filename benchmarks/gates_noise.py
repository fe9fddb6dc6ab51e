"""Gates for figures that have no items to pair (seconds, a published perplexity): thresholds made from noise.

A run fails if it exceeds mean + k SD of earlier runs, k being the one-sided tolerance factor for that few runs, *and*
the margin. Fewer than five runs are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fixtures.records import Verdict
from reports import statistics
from reports.statistics.tolerance import MINIMUM_RUNS


def noise(
    subject: str, history: Sequence[float], value: float, margin: float = 0.05, unit: str = "", confidence: float = 0.95
) -> Verdict:
    """``value`` (higher is worse) against earlier runs; ``margin`` is the relative rise that matters."""
    if len(history) < MINIMUM_RUNS:
        why = f"{len(history)} baseline runs; a threshold made from noise needs at least {MINIMUM_RUNS}"
        return Verdict("noise", subject, "refused", why, estimate=value, unit=unit)
    runs = np.asarray(history, float)
    mean, sd = float(runs.mean()), float(runs.std(ddof=1))
    threshold = mean + statistics.tolerance_factor(runs.size, 0.95, confidence) * sd
    limit = mean * (1 + margin)
    details = {"runs": runs.size, "mean": mean, "sd": sd, "threshold": threshold}
    base: dict[str, Any] = {
        "estimate": value,
        "margin": limit,
        "detectable": threshold,
        "unit": unit,
        "details": details,
    }
    if threshold > limit:
        outcome = "fail" if value > threshold else "refused"
        why = f"noise alone reaches {threshold:.4g}, beyond the margin at {limit:.4g}: more runs, or a wider margin"
    else:
        outcome = "fail" if value > limit else "pass"
        why = f"noise reaches {threshold:.4g}, the margin is at {limit:.4g}"
    return Verdict("noise", subject, outcome, why, **base)
