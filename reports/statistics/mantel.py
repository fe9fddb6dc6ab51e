"""Do pairs of draws that differ more in one thing differ more in another? Mantel's test (Cancer Research 27, 1967).

Pairs share draws, so they are not independent: the unit is the draw. Labels of draws are permuted in one of the two
distance matrices, within groups where groups are given; the interval takes as many units as there are draws.
"""

from __future__ import annotations

import math

import numpy as np

from reports.statistics.rank_association import Association


def mantel(
    first: np.ndarray,
    second: np.ndarray,
    generator: np.random.Generator,
    groups: np.ndarray | None = None,
    rounds: int = 999,
) -> Association:
    """Spearman's correlation over pairs of two distance matrices ``[n, n]``; ``p`` is two-sided.

    With ``groups`` ``[n]`` only pairs of one group count, ranked within it. ``units`` are the draws, less one a group.
    Raises ``ValueError`` for fewer than five units or a matrix that does not vary.
    """
    n = len(first)
    member = np.zeros(n, int) if groups is None else np.unique(groups, return_inverse=True)[1]
    rows, columns = np.triu_indices(n, 1)
    same = member[rows] == member[columns]
    rows, columns = rows[same], columns[same]
    units = n if groups is None else n - len(set(member))
    if units < 5:
        raise ValueError(f"five draws beyond the groups are needed; there are {units}")
    a, b = (_ranked(held[rows, columns], member[rows]) for held in (first, second))
    if not a.any() or not b.any():
        raise ValueError("one of the two does not vary over pairs")
    r = _pearson(a, b)
    above = 1
    for _ in range(rounds):
        order = _within(member, generator)
        again = _ranked(second[order[rows], order[columns]], member[rows])
        above += abs(_pearson(a, again)) >= abs(r) - 1e-12
    error = math.sqrt((1 + r * r / 2) / (units - 3))  # Bonett and Wright (2000), of ranks
    z = math.atanh(max(-0.999999, min(0.999999, r)))
    reach = 2.8 / math.sqrt(units - 3)
    low, high = math.tanh(z - 1.96 * error), math.tanh(z + 1.96 * error)
    return Association(r, low, high, above / (rounds + 1), units, math.tanh(reach))


def _ranked(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Ranks within every group, from -1/2 to 1/2 about 0."""
    from scipy.stats import rankdata

    found = np.zeros(len(values))
    for one in np.unique(group):
        inside = group == one
        ranks = rankdata(values[inside])
        found[inside] = (ranks - ranks.mean()) / len(ranks)
    return found


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def _within(member: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    order = np.arange(len(member))
    for one in np.unique(member):
        inside = np.flatnonzero(member == one)
        order[inside] = generator.permutation(inside)
    return order
