"""The verdict rules where it is known what is so: false *replicates* are at most 5 %, and what is so is found."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.claims import Component, Effect, Order, Rank, decide
from benchmarks.claims.common import component_of, resampled
from benchmarks.claims.dispersion import pivots
from benchmarks.claims.rules import REPLICATES
from benchmarks.claims.sourcewise import interaction_of, own_domain
from benchmarks.claims.sweeps import _growth, _slope
from reports.statistics.group_contrast import group_contrast
from reports.statistics.one_way import one_way
from reports.statistics.rank_association import rank_association
from reports.statistics.spread_ratio import spread_ratio
from tests.helpers_claims import agreement, judges

ROUNDS = 300
MOST = int(binom.ppf(0.999, ROUNDS, 0.05))  # a rule with exactly 5 % exceeds it once in a thousand


def false_alarms(rule, draw, margin=0.0, rounds=ROUNDS):
    return sum(decide(rule, draw(np.random.default_rng([7, k])), margin) == REPLICATES for k in range(rounds))


# False *replicates* where nothing is so.


def test_direction_of_a_contrast_of_draws():
    def draw(rng):
        return Effect(group_contrast([rng.normal(size=10), 3 * rng.normal(size=6)], [1, -1]))

    assert false_alarms("D", draw) <= MOST


@pytest.mark.parametrize("edge", [1.0, -1.0])
def test_no_effect_at_the_margin(edge):
    def draw(rng):
        return Effect(group_contrast([edge + 0.5 * rng.normal(size=10)], [1]))

    assert 1 <= false_alarms("E", draw, 1.0) <= MOST


def test_not_worse_at_the_margin():
    def draw(rng):
        return Effect(group_contrast([-1 + 0.5 * rng.normal(size=10)], [1]))

    assert 1 <= false_alarms("N", draw, 1.0) <= MOST


def test_weak_correlation_at_its_bound():
    """Spearman's correlation is exactly .5: that of two normal variables correlated by 2 sin(pi / 12)."""
    r = 2 * np.sin(np.pi / 12)

    def draw(rng):
        x, y = rng.normal(size=(2, 60))
        return Rank(rank_association(x, r * x + (1 - r**2) ** 0.5 * y))

    assert 1 <= false_alarms("weak", draw) <= MOST


def test_component_between_equal_sources():
    def draw(rng):
        found = one_way([rng.normal(size=10) for _ in range(5)])
        return Component(found.between, found.low, found.high, found.p, found.detectable)

    assert 1 <= false_alarms("D", draw) <= MOST


def test_source_component_no_larger_than_that_of_draws():
    def draw(rng):
        return pivots(rng.normal(size=(5, 10)) + rng.normal(size=(5, 1)), rng, 500)

    assert false_alarms("D", draw) <= MOST


def test_interaction_with_additive_effects():
    def draw(rng):
        return interaction_of(judges(rng, np.arange(5.0)[None] + np.arange(4.0)[:, None], 1.0))

    assert 1 <= false_alarms("D", draw) <= MOST


def test_own_domain_with_additive_effects():
    def draw(rng):
        return Effect(own_domain(judges(rng, np.arange(5.0)[None] + np.arange(5.0)[:, None], 1.0)))

    assert 1 <= false_alarms("D", draw) <= MOST


@pytest.mark.parametrize("own", [1.0, 0.2])
def test_ratio_of_spreads_of_the_same_draws(own):
    def draw(rng):
        table = judges(rng, np.zeros((2, 4)), 1.0, own=own)
        return Effect(spread_ratio(list(table[0]), list(table[1])))

    assert 1 <= false_alarms("D", draw) <= MOST


def test_ordering_of_equal_spreads():
    def draw(rng):
        table = judges(rng, np.zeros((3, 4)), 1.0)
        return Order([Effect(spread_ratio(list(table[i]), list(table[i + 1]))) for i in range(2)])

    assert false_alarms("O", draw) <= MOST


def test_rank_of_unrelated_units():
    assert 1 <= false_alarms("R", lambda rng: Rank(rank_association(rng.normal(size=14), rng.normal(size=14)))) <= MOST


def test_concordance_where_sources_are_alike_but_draws_are_shared():
    """Without the second hypothesis every judge would agree about the luck of the draws."""

    def draw(rng):
        return agreement(rng, np.zeros((6, 4)), 1.0, 200, own=0.1)

    assert false_alarms("W", draw, rounds=150) <= binom.ppf(0.999, 150, 0.05)


def test_concordance_of_independent_judges():
    def draw(rng):
        return agreement(rng, rng.normal(size=(5, 4)), 0.1, 200)

    assert false_alarms("W", draw, rounds=150) <= binom.ppf(0.999, 150, 0.05)


def test_bootstrap_of_a_component_that_is_zero():
    def draw(rng):
        return resampled(rng.normal(size=(5, 10)), component_of, rng, 200)

    assert false_alarms("D", draw, rounds=150) <= binom.ppf(0.999, 150, 0.05)


# And where something is so, it is found.


def test_power_where_effects_are_planted():
    rng = np.random.default_rng(3)
    sources = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
    table = judges(rng, np.tile(sources, (4, 1)), 0.2)
    found = one_way(list(table[0]))
    assert decide("D", Component(found.between, found.low, found.high, found.p, None), 0.1) == REPLICATES
    assert found.low < sources.std(ddof=1) < found.high
    crossed = judges(rng, np.tile(sources, (4, 1)) * np.arange(4)[:, None], 0.2)
    assert decide("D", interaction_of(crossed)) == REPLICATES
    diagonal = judges(rng, 1 - np.eye(5), 0.2)
    assert own_domain(diagonal).estimate == pytest.approx(1, abs=0.2)
    wide = spread_ratio([3 * rng.normal(size=20)], [rng.normal(size=20)])
    assert np.exp(wide.low) < 3 < np.exp(wide.high)
    assert decide("D", Effect(wide)) == REPLICATES


@pytest.mark.parametrize("draws", [3, 5, 12])
def test_resampled_intervals_cover_with_few_draws_too(draws):
    inside = 0
    for k in range(150):
        rng = np.random.default_rng([5, k])
        evidence = resampled(1.0 + rng.normal(size=(3, draws)), lambda t: float(t.mean()), rng, 200)
        inside += evidence.low < 1 < evidence.high
    assert binom.ppf(0.001, 150, 0.95) <= inside <= binom.ppf(0.999, 150, 0.95)


def test_two_draws_are_not_resampled():
    with pytest.raises(ValueError, match="3 draws a source are needed"):
        resampled(np.zeros((4, 2)), component_of, np.random.default_rng(0))


@pytest.mark.parametrize("draws", [3, 5])
def test_gap_that_does_not_grow(draws):
    """Sources differ as much at every sparsity, and draws move all sparsities together."""
    sources = np.arange(5)[None, :, None]

    def slope(rng):
        levels = np.arange(4.0)
        weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()
        table = 3 + 0.5 * sources + rng.normal(size=(1, 5, draws)) + 0.7 * rng.normal(size=(4, 5, draws))
        return resampled(table, partial(_slope, weights=weights, share=False), rng, 150)

    def growth(rng):
        return Order([resampled(0.5 * sources + rng.normal(size=(2, 5, draws)), _growth, rng, 150)])

    most = binom.ppf(0.999, 150, 0.05)
    assert false_alarms("D", slope, rounds=150) <= most
    assert false_alarms("O", growth, rounds=150) <= most
