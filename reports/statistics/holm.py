"""Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979): family error without independence."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None], family: int | None = None) -> list[float | None]:
    """Adjusted p values in the given order; None (no test was possible) stays None but counts in the family.

    ``family`` is the number of tests that were planned, at least ``len(p_values)``: what ``-k`` left out still counts.
    """
    m = max(family or 0, len(p_values))
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, (m - rank) * p))
        adjusted[i] = running
    return adjusted
