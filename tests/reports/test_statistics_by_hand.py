"""The statistics that claims rest on, number by number: by hand, or by another library's test of the same thing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports import statistics
from reports.statistics import Interval
from reports.statistics.group_contrast import group_contrast
from reports.statistics.heterogeneity import heterogeneity
from reports.statistics.mantel import mantel
from reports.statistics.one_way import detectable_component, one_way
from reports.statistics.rank_association import correlation, rank_association
from reports.statistics.spread_ratio import spread_ratio

X = [2.1, 3.4, 1.9, 5.5, 4.0, 6.1, 5.2, 7.7, 6.9]
Y = [1.0, 2.2, 2.9, 3.1, 5.3, 4.4, 6.6, 5.8, 9.0]


class TestGroupContrast:
    def test_two_groups_are_welchs_test(self):
        found, known = group_contrast([X, Y[:4]], [1, -1]), stats.ttest_ind(X, Y[:4], equal_var=False)
        assert found.p_two_sided() == pytest.approx(known.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
        assert found.df == pytest.approx(known.df)

    def test_weights_count_squared(self):
        """Variances 2 and 1: .25 x 2 / 2 + .0625 x 1 / 3; Satterthwaite's degrees of freedom of one and two."""
        found = group_contrast([[0, 2], [1, 2, 3]], [0.5, 0.25])
        parts = 1 / 4, 1 / 48
        assert found.estimate == pytest.approx(1.0)
        assert found.error**2 == pytest.approx(sum(parts))
        assert found.df == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 1 + parts[1] ** 2 / 2))


class TestInterval:
    def test_an_independent_error_is_added_in_squares(self):
        assert Interval.of_t(1.0, 3.0, 7).widened(4.0).error == pytest.approx(5.0)

    def test_three_estimates_one_error_apart(self):
        """Q = 1 + 0 + 1 on two degrees of freedom, whose chi-square tail is exp(-Q / 2)."""
        assert heterogeneity([Interval.of_t(k, 1.0, 9) for k in range(3)]) == pytest.approx(np.exp(-1))

    @pytest.mark.parametrize(("sided", "tail"), [(1, 0.05), (2, 0.025)])
    def test_what_is_detectable_by_a_one_sided_and_a_two_sided_test(self, sided, tail):
        """At that effect the test's own power is .8; the far side of a two-sided one adds nothing to speak of."""
        effect = statistics.detectable_difference(0.3, sided=sided)
        assert stats.norm.sf(stats.norm.isf(tail) - effect / 0.3) == pytest.approx(0.8)


class Reversing:
    """A generator whose permutations turn what they are given round, and that remembers it."""

    def __init__(self):
        self.seen = []

    def permutation(self, values):
        self.seen.append(sorted(np.asarray(values).tolist()))
        return np.asarray(values)[::-1]


class TestMantel:
    PLACES = np.array([0.0, 1.0, 3.0, 7.0, 15.0, 31.0])
    APART = np.abs(PLACES[:, None] - PLACES)

    def test_p_counts_the_draws_as_they_are(self):
        """Only the order itself has a correlation as large, and in nine shuffles of six draws it does not come back."""
        for second in (self.APART, 31 - self.APART):  # alike, and turned round: the test is two-sided
            found = mantel(self.APART, second, np.random.default_rng(0), rounds=9)
            assert abs(found.r) == pytest.approx(1)
            assert found.p == pytest.approx(0.1)

    def test_labels_stay_in_their_groups(self):
        groups, random = np.array(["a", "b", "a", "b", "a", "b", "a", "b"]), Reversing()
        places = np.arange(8.0) ** 2
        found = mantel(np.abs(places[:, None] - places), np.abs(places[:, None] - places), random, groups, rounds=3)
        assert random.seen == [[0, 2, 4, 6], [1, 3, 5, 7]] * 3
        assert found.units == 6

    def test_as_many_units_as_draws_less_one_a_group(self):
        places = np.arange(8.0) ** 2
        apart = np.abs(places[:, None] - places)
        for groups, units in ((None, 8), (np.repeat([0, 1], 4), 6)):
            found = mantel(apart, apart + np.eye(8)[::-1], np.random.default_rng(1), groups, rounds=9)
            error = np.sqrt((1 + found.r**2 / 2) / (units - 3))
            assert found.high == pytest.approx(np.tanh(np.arctanh(min(found.r, 0.999999)) + 1.96 * error))
            assert found.detectable == pytest.approx(np.tanh(2.8 / np.sqrt(units - 3)))


class TestOneWay:
    GROUPS = ([1.0, 3.0], [2.0, 4.0, 6.5], [10.0, 12.0, 14.0, 17.0])

    def test_unequal_groups_are_the_analysis_of_variance(self):
        found, known = one_way(self.GROUPS), stats.f_oneway(*self.GROUPS)
        within = sum(np.var(g, ddof=1) * (len(g) - 1) for g in self.GROUPS) / 6
        size = (9 - (4 + 9 + 16) / 9) / 2
        assert found.p == pytest.approx(known.pvalue)
        assert found.within**2 == pytest.approx(within)
        assert found.size == pytest.approx(size)
        assert found.component == pytest.approx(within * (known.statistic - 1) / size)

    def test_what_is_detectable_is_found_with_power(self):
        """With the spread within known, F at that component is a multiple of chi-square."""
        df, many, size = 4, 10**7, 5.0
        sd = detectable_component(1.0, df, many, size)
        critical = stats.f.isf(0.05, df, many)
        assert stats.f.sf(critical / (1 + size * sd**2), df, many) == pytest.approx(0.8, abs=1e-4)


class TestAssociation:
    def test_pearsons_interval_is_fishers(self):
        found, known = correlation(X, Y), stats.pearsonr(X, Y)
        assert found.r == pytest.approx(known.statistic)
        assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
        assert found.p == pytest.approx(2 * stats.norm.sf(np.arctanh(found.r) * np.sqrt(6)))

    def test_group_means_cost_degrees_of_freedom(self):
        found = correlation(X, Y, removed=3)
        assert found.units == 6
        assert np.arctanh(found.high) - np.arctanh(found.r) == pytest.approx(stats.norm.isf(0.025) / np.sqrt(3))

    def test_ranks_have_a_wider_interval(self):
        found = rank_association(X, Y)
        error = np.sqrt((1 + found.r**2 / 2) / 6)
        assert found.r == pytest.approx(stats.spearmanr(X, Y).statistic)
        assert np.arctanh(found.r) - np.arctanh(found.low) == pytest.approx(stats.norm.isf(0.025) * error)

    def test_three_pairs_turned_round(self):
        """Of six orders two are as far from chance, one either way."""
        assert statistics.rank_correlation([1, 2, 3], [9, 5, 4]) == pytest.approx((-1, 1 / 3))


class TestSpreadRatio:
    def test_draws_without_correlation_in_two_sources(self):
        """Half the spread; four draws a source leave six degrees of freedom."""
        a, b = np.array([1.0, 1, -1, -1]), np.array([2.0, -2, 2, -2])
        found = spread_ratio([a + 5, a], [b, b - 3])
        assert (found.estimate, found.df) == pytest.approx((np.log(0.5), 6))
        assert found.error == pytest.approx(np.sqrt(1 / 6))

    def test_draws_that_move_both_alike_leave_no_doubt(self):
        assert spread_ratio([X], [np.multiply(3, X)]).error == pytest.approx(0, abs=1e-7)


class TestDraws:
    def test_a_contrast_of_draws_alone(self):
        """Draws of 0 and 4, and of 0 and 2, on items that do not differ: variances 8 / 2 and 2 / 2 of the means."""
        found = statistics.contrast([[[0, 4], [0, 4]], [[0, 2], [0, 2]]], [0.5, 0.25])
        assert found.estimate == pytest.approx(1.25)
        assert found.error**2 == pytest.approx(0.25 * 4 + 0.0625 * 1)

    def test_the_gap_that_draws_alone_make(self):
        """Deviations of one from a mean of two are of sqrt(2): the widest gap of two means of them is twice that."""
        found = statistics.source_range([[0.0, 2.0], [10.0, 12.0]], np.random.default_rng(0))
        assert found.gap == 10
        assert found.high == pytest.approx(2 * np.sqrt(2))
        assert found.expected == pytest.approx(0.75 * np.sqrt(2), abs=0.1)

    def test_the_error_of_a_chance_to_be_better_is_newcombes(self):
        """Of nine pairs seven are better and one is a tie; method 5, with (3 + 3) / 2 - 1 = 2."""
        found, t = statistics.superiority([1, 2, 3], [0, 2, 0.5]), 7.5 / 9
        expected = t * (1 - t) * (1 + 2 * (1 - t) / (2 - t) + 2 * t / (1 + t)) / 9
        assert found.estimate == pytest.approx(t)
        assert found.error**2 == pytest.approx(expected)
