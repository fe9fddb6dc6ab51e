"""The verdict rules: each verdict is reached, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.claims import Agreement, Component, Effect, Exact, Order, Rank, decide
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES, association, p_against, together
from reports.statistics import Interval
from reports.statistics.concordance import concordance
from reports.statistics.one_way import one_way
from reports.statistics.rank_association import Association, rank_association
from tests.helpers_claims import agreement


def effect(estimate, error, df=30):
    return Effect(Interval.of_t(estimate, error, df))


@pytest.mark.parametrize(
    ("estimate", "margin", "verdict"),
    [
        (1.0, 0.0, REPLICATES),
        (1.0, 0.5, REPLICATES),
        (0.1, 0.0, CANNOT_TELL),
        (-1.0, 0.0, DOES_NOT),
        (0.3, 2.0, DOES_NOT),
        (1.0, 1.1, CANNOT_TELL),
    ],
)
def test_direction_reaches_each_verdict(estimate, margin, verdict):
    assert decide("D", effect(estimate, 0.1), margin) == verdict


@pytest.mark.parametrize(
    ("estimate", "error", "verdict"),
    [
        (0.0, 0.1, REPLICATES),
        (0.9, 0.1, CANNOT_TELL),
        (3.0, 0.1, DOES_NOT),
        (-3.0, 0.1, DOES_NOT),
        (0.0, 3.0, CANNOT_TELL),
    ],
)
def test_no_effect_reaches_each_verdict(estimate, error, verdict):
    assert decide("E", effect(estimate, error), 1.0) == verdict


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.2, 0.5, 0.001, REPLICATES),
        (0.05, 0.5, 0.001, CANNOT_TELL),
        (0.0, 0.08, 0.3, DOES_NOT),
        (0.2, 0.5, 0.2, CANNOT_TELL),
    ],
)
def test_component_needs_its_lower_bound_above_the_margin(low, high, p, verdict):
    assert decide("D", Component((low + high) / 2, low, high, p, None), 0.1) == verdict


def test_ordering_reaches_each_verdict():
    up, unclear, down = effect(1, 0.1), effect(0.1, 0.1), effect(-1, 0.1)
    assert decide("O", Order([up, up, up])) == REPLICATES
    assert decide("O", Order([up, unclear])) == CANNOT_TELL
    assert decide("O", Order([up, unclear, down])) == DOES_NOT
    assert Order([up, unclear, down]).weakest is down


@pytest.mark.parametrize(
    ("r", "low", "high", "units", "verdict"),
    [
        (0.8, 0.5, 0.9, 15, REPLICATES),
        (0.8, 0.5, 0.9, 11, CANNOT_TELL),
        (-0.2, -0.6, 0.2, 15, DOES_NOT),
        (0.3, -0.2, 0.7, 15, CANNOT_TELL),
    ],
)
def test_rank_reaches_each_verdict(r, low, high, units, verdict):
    assert association(Rank(Association(r, low, high, 0.01, units, 0.5))) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, 0.3, REPLICATES), (0.85, 0.95, DOES_NOT), (0.2, 0.9, CANNOT_TELL), (-0.95, -0.85, DOES_NOT)],
)
def test_weak_correlation_reaches_each_verdict(low, high, verdict):
    assert decide("weak", Rank(Association((low + high) / 2, low, high, 0.5, 50, 0.4))) == verdict


@pytest.mark.parametrize(
    ("estimate", "verdict"), [(0.0, REPLICATES), (5.0, REPLICATES), (-0.9, CANNOT_TELL), (-3.0, DOES_NOT)]
)
def test_not_worse_reaches_each_verdict(estimate, verdict):
    assert decide("N", effect(estimate, 0.1), 1.0) == verdict


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("rule", ["D", "E", "N"])
def test_the_p_value_of_does_not_says_what_the_rule_says(rule, margin):
    rng = np.random.default_rng(8)
    for _ in range(300):
        found = effect(rng.normal(), 0.05 + rng.random(), rng.integers(2, 30))
        fails = decide(rule, found, margin) == DOES_NOT
        assert fails == (p_against(rule, found, margin) < 0.05) or (rule == "E" and margin == 0)
    parts = [one_way([rng.normal(size=5) + rng.normal() * rng.random() for _ in range(4)]) for _ in range(100)]
    for part in parts:
        found = Component(part.between, part.low, part.high, part.p, None, part.p_below)
        if rule == "D" and margin:
            assert (decide("D", found, 2 * margin) == DOES_NOT) == (p_against("D", found, 2 * margin) < 0.05)


def test_the_p_value_of_does_not_for_ranks_orders_and_exact_claims():
    rng = np.random.default_rng(9)
    for _ in range(200):
        found = Rank(rank_association(rng.normal(size=14), rng.normal(size=14)))
        assert (association(found) == DOES_NOT) == (p_against("R", found, 0.0) < 0.05)
        pairs = Order([effect(rng.normal(), 0.5) for _ in range(3)])
        assert (decide("O", pairs) == DOES_NOT) == (p_against("O", pairs, 0.0) < 0.05)
    assert p_against("exact", Exact(3, 1), 0.0) == 0.0
    assert p_against("exact", Exact(3, 0), 0.0) == 1.0


def test_concordance_reaches_each_verdict():
    rng = np.random.default_rng(1)
    alike = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], (6, 1))
    apart = np.stack([np.roll([0.0, 1.0, 2.0, 3.0, 4.0], k) for k in range(5)])
    swapped = np.tile([1.0, 0.0, 2.0, 3.0, 4.0], (2, 1))
    assert decide("W", agreement(rng, alike, 0.1)) == REPLICATES
    assert decide("W", agreement(rng, apart, 0.1)) == DOES_NOT
    assert decide("W", agreement(rng, np.vstack([alike[:2], swapped]), 0.1)) == CANNOT_TELL


def test_concordance_of_one_ranking_lost_in_noise_is_no_disagreement():
    """All judges rank the sources alike, but the draws hide it: the few that are told apart are false alarms."""

    def told(k: int) -> str:
        rng = np.random.default_rng([5, k])
        x = 0.1 * np.arange(5.0)[None, :, None] + rng.normal(size=(8, 5, 10))
        return decide("W", Agreement(concordance(x, rng, 200)))

    assert sum(told(k) == DOES_NOT for k in range(150)) <= binom.ppf(0.999, 150, 0.05)


def test_exact_reaches_each_verdict():
    assert decide("exact", Exact(9, 0)) == REPLICATES
    assert decide("exact", Exact(9, 1)) == DOES_NOT
    assert decide("exact", Exact(0, 0)) == CANNOT_TELL


def test_a_rule_refuses_evidence_that_does_not_fit():
    with pytest.raises(ValueError, match="cannot judge Exact"):
        decide("D", Exact(1, 0))


def test_cells_together():
    assert together([REPLICATES, REPLICATES]) == REPLICATES
    assert together([REPLICATES, DOES_NOT]) == CANNOT_TELL
    assert together([CANNOT_TELL, DOES_NOT]) == DOES_NOT
    assert together([CANNOT_TELL, REPLICATES], some=True) == REPLICATES
    assert together([CANNOT_TELL, DOES_NOT], some=True) == CANNOT_TELL
    assert together([]) == NOT_RUN
