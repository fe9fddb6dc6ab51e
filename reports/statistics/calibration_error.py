"""Does the confidence match the accuracy? ECE, Brier score and the bins of a reliability diagram.

Expected calibration error (Naeini et al., AAAI 2015; Guo et al., arXiv 1706.04599, equation 3) with the bin rule
named: ``width`` cuts [0, 1] into equal widths, right-closed as in Guo et al.; ``mass`` gives every bin the same number
of items. The Brier score is the multi-class one (1950), between 0 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Bin(NamedTuple):
    """Items of one bin: mean ``confidence``, ``accuracy`` and their number."""

    confidence: float
    accuracy: float
    n: int


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 10, rule: str = "width") -> list[Bin]:
    """Bins that hold items, in order of confidence; both arrays have shape ``[n_items]``."""
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, float)
    if confidence.shape != correct.shape or confidence.size == 0:
        raise ValueError(f"one confidence an answer is needed; the shapes are {confidence.shape}, {correct.shape}")
    if rule == "width":
        number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    elif rule == "mass":
        rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        number = rank * bins // confidence.size
    else:
        raise ValueError(f"unknown bin rule {rule!r}: 'width' or 'mass'")
    held = [number == k for k in range(bins)]
    return [Bin(float(confidence[m].mean()), float(correct[m].mean()), int(m.sum())) for m in held if m.any()]


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10, rule: str = "width") -> float:
    """Mean distance of accuracy from confidence over the bins, weighted by their items; between 0 and 1."""
    held = reliability(confidence, correct, bins, rule)
    total = sum(b.n for b in held)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in held) / total


def brier(probabilities: Sequence[Sequence[float]], target: Sequence[int]) -> float:
    """Mean squared distance of each item's probabilities from its answer; items may differ in number of choices."""
    total = 0.0
    for row, answer in zip(probabilities, target, strict=True):
        total += sum((p - (k == answer)) ** 2 for k, p in enumerate(row))
    return total / len(target)
