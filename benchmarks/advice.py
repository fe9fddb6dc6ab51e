"""Rank candidate sources by a figure of which there is one value a draw, and say which cannot be told apart.

Used twice by ``benchmarks.advise``: on the likeness to the target text, before anything is compressed, and on the
damage found by a pilot. ``accuracy`` asks of finished records how good either would have been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ALPHA = 0.05


@dataclass(frozen=True)
class Ranking:
    """Sources from best (lowest mean) to worst. ``tied`` are those that cannot be told from the first; ``detectable``
    is the least difference of two means that could have been told (None: single draws, no spread known). ``needed``
    draws each would show, with power .8, a difference like that of the first two (None: also if they are equal)."""

    order: tuple[str, ...]
    mean: dict[str, float]
    deviation: float | None
    tied: tuple[str, ...]
    detectable: float | None
    needed: int | None = None

    @property
    def first(self) -> str:
        return self.order[0]

    @property
    def sure(self) -> bool:
        """Whether the first stands apart from all others."""
        return len(self.order) > 1 and not self.tied


def rank(values: Mapping[str, Sequence[float]], alpha: float = ALPHA) -> Ranking:
    """Ranks sources by the mean over draws, lower being better.

    The SD over draws is pooled over sources; a source is told from the first if their difference exceeds t times its
    standard error, at ``alpha`` shared over the comparisons (Bonferroni, one-sided). With single draws nothing is.
    Raises ``ValueError`` without sources, or for a value that is not finite.
    """
    if not values or any(not len(found) for found in values.values()):
        raise ValueError("nothing to rank: expected at least one value of every source")
    wrong = [name for name, found in values.items() if not np.isfinite(np.asarray(found, float)).all()]
    if wrong:
        raise ValueError(f"source {wrong[0]!r}: a value is not finite")
    mean = {name: float(np.mean(found)) for name, found in values.items()}
    order = tuple(sorted(mean, key=lambda name: (mean[name], name)))
    degrees = sum(len(found) - 1 for found in values.values())
    others = order[1:]
    if degrees == 0 or not others:
        return Ranking(order, mean, None, others, None)
    from scipy.stats import t

    squares = sum(float(np.sum((np.asarray(found) - mean[name]) ** 2)) for name, found in values.items())
    deviation = math.sqrt(squares / degrees)
    factor = float(t.ppf(1 - alpha / len(others), degrees))

    def bound(name: str) -> float:
        return factor * deviation * math.sqrt(1 / len(values[name]) + 1 / len(values[order[0]]))

    tied = tuple(name for name in others if mean[name] - mean[order[0]] <= bound(name))
    needed = _needed(mean[order[1]] - mean[order[0]], deviation, alpha / len(others))
    return Ranking(order, mean, deviation, tied, max(bound(name) for name in others), needed)


def _needed(difference: float, deviation: float, alpha: float) -> int | None:
    """Draws of each of two sources that tell ``difference`` with power .8 (normal approximation)."""
    from scipy.stats import norm

    if difference <= 0:
        return None
    factor = float(norm.ppf(1 - alpha) + norm.ppf(0.8))
    return max(2, math.ceil(2 * (factor * deviation / difference) ** 2))


@dataclass(frozen=True)
class Hit:
    """How one advice would have fared: ``regret`` is the damage of the source advised minus the least damage.

    ``share`` is the regret as a share of the least damage, ``random_share`` that of a source taken at random.
    ``within``: the records cannot tell the source advised from the best one; ``first``: it is that one; ``sure``: the
    advice said that its first choice stands apart; ``random_within``: how often any source is ``within``.
    """

    cell: str
    advised: str
    best: str
    first: bool
    within: bool
    regret: float
    share: float
    random_share: float
    sure: bool
    random_within: float
    method: str = ""


def judge(
    cell: str, likeness: Mapping[str, Sequence[float]], damage: Mapping[str, Sequence[float]], method: str = ""
) -> Hit:
    """Compares the advice from ``likeness`` (lower is better) with what was found, one value a draw in both."""
    advice, truth = rank(likeness), rank(damage)
    least = truth.mean[truth.first]
    regret = truth.mean[advice.first] - least
    scale = abs(least) or 1.0
    anyone = float(np.mean([truth.mean[name] for name in damage])) - least
    return Hit(
        cell,
        advice.first,
        truth.first,
        advice.first == truth.first,
        advice.first == truth.first or advice.first in truth.tied,
        regret,
        regret / scale,
        anyone / scale,
        advice.sure,
        (1 + len(truth.tied)) / len(damage),
        method,
    )


def accuracy(hits: Sequence[Hit]) -> dict[str, float]:
    """Shares over cells: ``first`` (advice is the best source), ``within`` (not told from it), and mean regrets.

    ``sure`` is the share of cells where the advice said that its first choice stands apart, ``within_when_sure`` how
    often that choice was ``within``; absent if it never said so.
    """
    if not hits:
        raise ValueError(
            "no cell to judge: the records have no model, method and domain with two sources and two draws"
        )
    sure = [hit.within for hit in hits if hit.sure]
    return {
        "cells": float(len(hits)),
        "first": float(np.mean([hit.first for hit in hits])),
        "within": float(np.mean([hit.within for hit in hits])),
        "random_within": float(np.mean([hit.random_within for hit in hits])),
        "regret": float(np.mean([hit.share for hit in hits])),
        "random_regret": float(np.mean([hit.random_share for hit in hits])),
        "sure": len(sure) / len(hits),
        **({"within_when_sure": float(np.mean(sure))} if sure else {}),
    }


def summary(hits: Sequence[Hit]) -> dict[str, Any]:
    """``accuracy`` of all cells, and under ``methods`` that of each method's."""
    names = sorted({hit.method for hit in hits} - {""})
    return {**accuracy(hits), "methods": {name: accuracy([h for h in hits if h.method == name]) for name in names}}
