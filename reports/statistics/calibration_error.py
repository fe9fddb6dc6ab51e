"""Does the confidence match the accuracy? ECE and its relatives, the bins of a reliability diagram, Brier score, NLL.

Expected calibration error (Naeini et al., AAAI 2015; Guo et al., arXiv 1706.04599, equation 3) with the bin rule
named. ``width`` cuts [0, 1] into equal widths that are closed on the right as in Guo et al., so that a confidence on
an edge belongs to the lower bin; ``left`` is the same closed on the left, with 1 in the last bin; ``mass`` gives every
bin the same number of items (adaptive ECE, arXiv 1904.01685). The Brier score is the multi-class one (1950), 0 to 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RULES = ("width", "left", "mass")


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
    if not np.isfinite(confidence).all():
        raise ValueError("a confidence is NaN or infinite")
    if rule == "width":
        number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    elif rule == "left":
        number = np.clip(np.floor(confidence * bins).astype(int), 0, bins - 1)
    elif rule == "mass":
        rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
        number = rank * bins // confidence.size
    else:
        raise ValueError(f"unknown bin rule {rule!r}: {', '.join(map(repr, RULES))}")
    n = np.bincount(number, minlength=bins)
    held = np.flatnonzero(n)
    totals = (np.bincount(number, weights=values, minlength=bins)[held] / n[held] for values in (confidence, correct))
    return [Bin(float(c), float(a), int(k)) for c, a, k in zip(*totals, n[held], strict=True)]


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10, rule: str = "width") -> float:
    """Mean distance of accuracy from confidence over the bins, weighted by their items; between 0 and 1."""
    held = reliability(confidence, correct, bins, rule)
    total = sum(b.n for b in held)
    return sum(b.n * abs(b.accuracy - b.confidence) for b in held) / total


def maximum_calibration_error(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10, rule: str = "width", least: int = 1
) -> float:
    """The largest distance of any bin of at least ``least`` items; noisy where bins hold few."""
    gaps = [abs(b.accuracy - b.confidence) for b in reliability(confidence, correct, bins, rule) if b.n >= least]
    return max(gaps, default=0.0)


def signed_gap(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Mean confidence minus accuracy: above 0 is over-confident."""
    return float(np.mean(np.asarray(confidence, float)) - np.mean(np.asarray(correct, float)))


def classwise_calibration_error(
    probabilities: ArrayLike, target: ArrayLike, bins: int = 15, rule: str = "width"
) -> float:
    """Mean over the classes of each one's ECE against the rest (arXiv 1910.12656); ``probabilities [n, classes]``."""
    rows, answers = np.asarray(probabilities, float), np.asarray(target)
    each = [expected_calibration_error(rows[:, k], answers == k, bins, rule) for k in range(rows.shape[1])]
    return float(np.mean(each))


def brier(probabilities: Sequence[Sequence[float]] | NDArray[np.float64], target: Sequence[int] | ArrayLike) -> float:
    """Mean squared distance of each item's probabilities from its answer; items may differ in number of choices."""
    answers = np.asarray(target)
    if isinstance(probabilities, np.ndarray) and probabilities.ndim == 2:
        return float(((probabilities - np.eye(probabilities.shape[1])[answers]) ** 2).sum(1).mean())
    right = np.array([row[answer] for row, answer in zip(probabilities, answers, strict=True)])
    every = np.fromiter(chain.from_iterable(probabilities), float)
    # Of one item: the squares of all, and (1 - p)^2 instead of p^2 for the answer.
    return float((np.square(every).sum() + (1 - 2 * right).sum()) / len(answers))


def negative_log_likelihood(log_probabilities: Sequence[Sequence[float]] | ArrayLike, target: ArrayLike) -> float:
    """Mean loss in nats; items may differ in number of choices."""
    answers = np.asarray(target)
    if isinstance(log_probabilities, np.ndarray) and log_probabilities.ndim == 2:
        return float(-log_probabilities[np.arange(len(answers)), answers].mean())
    rows: Sequence[Sequence[float]] = log_probabilities  # type: ignore[assignment]
    return float(-np.mean([row[answer] for row, answer in zip(rows, answers, strict=True)]))


def area_under_risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Mean error among the surest items over every coverage (AURC, arXiv 1805.08206); ties share their error."""
    confidence, wrong = np.asarray(confidence, float), 1 - np.asarray(correct, float)
    levels, inverse, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    shared = np.bincount(inverse, weights=wrong, minlength=len(levels)) / counts
    errors = np.repeat(shared, counts)
    return float((np.cumsum(errors) / np.arange(1, len(errors) + 1)).mean())


def bootstrap(
    statistic: object, *arrays: ArrayLike, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of ``statistic(*arrays)`` over resampled items; ``seed`` makes it repeatable.

    ECE is biased upwards, and resampling adds to that: the interval says how noisy a figure is, not where 0 lies.
    """
    assert callable(statistic)
    columns = [np.asarray(array) for array in arrays]
    random, n = np.random.default_rng(seed), len(columns[0])
    found = []
    for _ in range(resamples):
        chosen = random.integers(0, n, n)
        found.append(float(statistic(*(column[chosen] for column in columns))))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_error(
    confidence: ArrayLike, correct: ArrayLike, bins: int = 10, seed: int = 0, resamples: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """:func:`bootstrap` of the mean ECE (rule ``left``) of several models that answered the same items, ``[models, n]``
    both: their items are resampled together. Centred at the error itself: resampling adds bias of its own.
    """
    given, right = np.atleast_2d(np.asarray(confidence, float)), np.atleast_2d(np.asarray(correct, float))
    random, n = np.random.default_rng(seed), given.shape[1]
    times = np.vstack([np.ones(n), random.multinomial(n, np.full(n, 1 / n), resamples)])  # the items as they are first
    total = np.zeros(resamples + 1)
    for one, answers in zip(given, right, strict=True):
        number = np.clip(np.floor(one * bins).astype(int), 0, bins - 1)
        gaps = np.zeros((n, bins))
        gaps[np.arange(n), number] = answers - one
        total += np.abs(times @ gaps).sum(1) / n
    found, *drawn = total / len(given)
    low, high = found + np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) - np.mean(drawn)
    return float(low), float(high)


def bias_of_perfect(
    confidence: ArrayLike, bins: int = 10, rule: str = "width", seed: int = 0, draws: int = 50
) -> float:
    """Mean ECE that a perfectly calibrated model with these confidences would show on as many items."""
    given, random = np.asarray(confidence, float), np.random.default_rng(seed)
    answers = random.random((draws, given.size)) < given
    return float(np.mean([expected_calibration_error(given, row, bins, rule) for row in answers]))
