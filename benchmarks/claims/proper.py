"""Proper scores beside ECE: an effect on ECE is believed only if NLL and Brier score move the same way.

ECE alone can be had by answering evenly; a proper score cannot.
"""

from __future__ import annotations

from collections.abc import Callable

ACCURACY, GAP, ECE, CLASSWISE = 0, 3, 4, 6  # columns of benchmarks.confidence_scores
PROPER = {1: "NLL", 2: "Brier score"}


def contrary(effect: Callable[[int], float], column: int = ECE) -> str:
    """Which proper scores move against ``column``, in words; ``effect(column)`` is signed alike for all columns."""
    found = effect(column)
    return " and ".join(name for other, name in PROPER.items() if effect(other) * found < 0)
