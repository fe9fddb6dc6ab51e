"""Wilson's score interval of a proportion (JASA 22, 1927): honest at small n, where the normal one is not."""

from __future__ import annotations


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a proportion; raises ``ValueError`` if ``n`` is 0."""
    if n < 1:
        raise ValueError("a proportion needs at least one trial")
    from scipy.stats import binomtest

    interval = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
