"""Every statistic against a published value, another library, or a simulation whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import statistics
from reports.statistics.tolerance import MINIMUM_RUNS

answers = st.lists(st.integers(0, 1), min_size=1, max_size=40)


def table(rng, n, s, sd, items=0.2, noise=0.05):
    """Items x draws with SDs of items, draws and residual."""
    return items * rng.normal(size=(n, 1)) + sd * rng.normal(size=(1, s)) + noise * rng.normal(size=(n, s))


class TestTwoWay:
    def test_mean_squares_of_a_table_by_hand(self):
        found = statistics.mean_squares([[1.0, 2.0], [3.0, 6.0]])
        assert found.items == pytest.approx(9.0)
        assert found.draws == pytest.approx(4.0)
        assert found.residual == pytest.approx(1.0)

    def test_mean_squares_agree_with_statsmodels(self):
        anova = pytest.importorskip("statsmodels.stats.anova")
        formula = pytest.importorskip("statsmodels.formula.api")
        pandas = pytest.importorskip("pandas")
        x = table(np.random.default_rng(1), 7, 4, 0.3)
        rows = [{"y": x[i, s], "i": i, "s": s} for i in range(7) for s in range(4)]
        oracle = anova.anova_lm(formula.ols("y ~ C(i) + C(s)", pandas.DataFrame(rows)).fit())
        found = statistics.mean_squares(x)
        expected = [oracle.mean_sq["C(i)"], oracle.mean_sq["C(s)"], oracle.mean_sq["Residual"]]
        assert [found.items, found.draws, found.residual] == pytest.approx(expected)

    def test_the_variance_is_the_closed_form(self):
        x = table(np.random.default_rng(2), 30, 5, 0.3)
        ms = statistics.mean_squares(x)
        v = (ms.items + ms.draws - ms.residual) / (30 * 5)
        df = v**2 * (30 * 5) ** 2 / (ms.items**2 / 29 + ms.draws**2 / 4 + ms.residual**2 / (29 * 4))
        found = statistics.contrast([x])
        assert found.error == pytest.approx(math.sqrt(v))
        assert found.df == pytest.approx(df)

    def test_never_narrower_than_the_items_alone(self):
        x = np.random.default_rng(3).normal(size=(50, 1)) + np.zeros((1, 6))
        found = statistics.contrast([x])
        assert found.error == pytest.approx(x[:, 0].std(ddof=1) / math.sqrt(50))

    # The spread of draws counts: without its term these intervals cover 86, 88, 93 and 96 %.
    @pytest.mark.parametrize(
        ("draws", "sd", "items"), [(3, 0.015, 0.1), (5, 0.015, 0.1), (10, 0.015, 0.1), (10, 0, 0.2)]
    )
    def test_intervals_of_a_mean_cover(self, draws, sd, items):
        rng, rounds = np.random.default_rng(draws), 3000
        found = [statistics.contrast([table(rng, 120, draws, sd, items)]) for _ in range(rounds)]
        covered = np.mean([i.low <= 0 <= i.high for i in found])
        # 94 to 96 %, and three standard errors of the simulation
        assert 0.94 - 0.012 <= covered <= 0.96 + 0.012

    def test_three_draws_that_outweigh_the_items_cover_a_little_less(self):
        """The limit that the docstring of the module states."""
        rng = np.random.default_rng(12)
        found = [statistics.contrast([table(rng, 120, 3, 0.015, items=0.05)]) for _ in range(2000)]
        assert 0.90 <= np.mean([i.low <= 0 <= i.high for i in found]) <= 0.94

    def test_intervals_of_a_difference_of_sources_cover(self):
        rng, hits = np.random.default_rng(5), []
        for _ in range(2500):
            shared = 0.2 * rng.normal(size=(120, 1))
            a, b = (shared + table(rng, 120, 5, 0.01, items=0.03) for _ in range(2))
            found = statistics.contrast([a, b], [1, -1])
            hits.append(found.low <= 0 <= found.high)
        assert 0.94 - 0.013 <= np.mean(hits) <= 0.96 + 0.013

    @pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((1, 3)), np.full((3, 3), np.nan)])
    def test_tables_that_mean_nothing_are_refused(self, bad):
        with pytest.raises(ValueError, match=r"matrix|finite"):
            statistics.mean_squares(bad)

    def test_matrices_of_different_items_are_refused(self):
        with pytest.raises(ValueError, match="same items"):
            statistics.contrast([np.zeros((3, 2)), np.zeros((4, 2))], [1, -1])


class TestVarianceComponent:
    @pytest.mark.parametrize(("sources", "draws", "sd"), [(5, 5, 0.006), (2, 5, 0.01), (1, 10, 0.02)])
    def test_the_interval_covers(self, sources, draws, sd):
        rng, hits = np.random.default_rng(draws), []
        for _ in range(1500):
            part = statistics.variance_component([table(rng, 100, draws, sd) for _ in range(sources)])
            hits.append(part.low <= sd <= part.high)
        assert 0.94 - 0.017 <= np.mean(hits) <= 0.96 + 0.017

    def test_items_alone_are_not_blamed_on_the_draws(self):
        rng = np.random.default_rng(7)
        parts = [statistics.variance_component([table(rng, 100, 5, 0.0)] * 1) for _ in range(400)]
        observed = np.sqrt(np.mean([p.observed**2 for p in parts]))
        assert observed == pytest.approx(0.05 / 10, rel=0.05)
        assert np.mean([p.low == 0 for p in parts]) > 0.95
        assert np.mean([p.p < 0.05 for p in parts]) < 0.08

    def test_constant_draws_have_exactly_no_variance(self):
        x = np.random.default_rng(8).normal(size=(20, 1)) + np.zeros((1, 4))
        part = statistics.variance_component([x])
        assert (part.observed, part.sd, part.high, part.p) == (0, 0, 0, 1)

    def test_one_draw_says_nothing(self):
        with pytest.raises(ValueError, match="two draws"):
            statistics.variance_component([np.zeros((5, 1))])


class TestMcNemar:
    def test_agrees_with_statsmodels(self):
        oracle = pytest.importorskip("statsmodels.stats.contingency_tables").mcnemar
        before = np.array([1] * 20 + [0] * 15)
        after = np.array([0] * 9 + [1] * 11 + [1] * 2 + [0] * 13)
        found = statistics.mcnemar(before, after)
        assert (found.worse, found.better) == (9, 2)
        two_sided = oracle([[11, 9], [2, 13]], exact=True).pvalue
        assert 2 * found.p == pytest.approx(two_sided)

    @settings(deadline=None)
    @given(answers, st.randoms(use_true_random=False))
    def test_one_draw_of_the_sign_flip_test_is_mcnemar(self, before, random):
        after = [random.randint(0, 1) for _ in before]
        one = statistics.mcnemar(before, after)
        flip = statistics.sign_flip(np.array(before)[:, None], np.array(after)[:, None])
        assert flip[:3] == one[:3]
        assert flip.p == pytest.approx(one.p)

    @settings(deadline=None, max_examples=20)
    @given(st.integers(0, 2**32 - 1))
    def test_the_sign_flip_test_agrees_with_enumeration(self, seed):
        rng = np.random.default_rng(seed)
        before, after = rng.integers(0, 2, (8, 3)), rng.integers(0, 2, (8, 3))
        drop = (before - after).sum(axis=1)
        signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
        expected = ((signs * drop).sum(axis=1) >= drop.sum()).mean()
        assert statistics.sign_flip(before, after).p == pytest.approx(expected)

    def test_false_alarms_stay_under_alpha(self):
        rng, alarms = np.random.default_rng(9), []
        for _ in range(1500):
            before = rng.random((150, 1)) < 0.6
            flips = rng.random((150, 3)) < 0.06
            # The same items flip on every draw: what treating draws as independent would get wrong.
            flips |= rng.random((150, 1)) < 0.06
            fair = rng.random((150, 1)) < 0.5
            after = np.where(flips, fair, before)
            flipped = np.where(flips, ~after, before)
            alarms.append(statistics.sign_flip(flipped.astype(int), after.astype(int)).p < 0.05)
        assert np.mean(alarms) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


class TestSmall:
    @settings(deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_holm_agrees_with_statsmodels(self, p):
        oracle = pytest.importorskip("statsmodels.stats.multitest").multipletests
        assert statistics.holm(p) == pytest.approx(list(oracle(p, method="holm")[1]))

    def test_holm_counts_what_was_planned_but_not_run(self):
        assert statistics.holm([0.01, None, 0.02], family=10) == [pytest.approx(0.1), None, pytest.approx(0.18)]

    def test_tolerance_factors_are_the_published_ones(self):
        found = [statistics.tolerance_factor(n) for n in (5, 8, 10, 20)]
        assert found == pytest.approx([4.203, 3.187, 2.911, 2.396], abs=0.002)
        assert [statistics.upper_sd_factor(df) for df in (4, 9, 19)] == pytest.approx([2.37, 1.65, 1.37], abs=0.01)

    @pytest.mark.parametrize("runs", range(MINIMUM_RUNS))
    def test_fewer_than_five_runs_make_no_threshold(self, runs):
        with pytest.raises(ValueError, match="at least 5"):
            statistics.tolerance_factor(runs)

    def test_wilson_agrees_with_statsmodels(self):
        oracle = pytest.importorskip("statsmodels.stats.proportion").proportion_confint
        assert statistics.wilson(33, 64) == pytest.approx(oracle(33, 64, method="wilson"))

    def test_detectable_flips_are_the_published_ones(self):
        found = [100 * statistics.detectable_flips(0.06, n) for n in (200, 500, 1000, 5000)]
        assert found == pytest.approx([4.3, 2.7, 1.9, 0.86], abs=0.05)

    def test_items_needed_reach_the_margin(self):
        needed = statistics.items_needed(statistics.detectable_flips(0.06, 200), 0.02, 200)
        assert statistics.detectable_flips(0.06, needed) <= 0.02 < statistics.detectable_flips(0.06, needed - 2)
        with pytest.raises(ValueError, match="margin"):
            statistics.items_needed(0.1, 0, 10)

    def test_item_floor_is_the_published_one(self):
        found = [100 * statistics.item_floor(rho, 500) for rho in (0.03, 0.06, 0.1)]
        assert found == pytest.approx([0.55, 0.77, 1.0], abs=0.005)

    def test_disagreement_counts_pairs_of_draws(self):
        assert statistics.disagreement([[1, 1, 0], [0, 0, 0]]) == pytest.approx(1 / 3)

    @pytest.mark.parametrize(("low", "high", "outcome"), [(0, 1, "pass"), (3, 4, "fail"), (1, 3, "inconclusive")])
    def test_noninferiority(self, low, high, outcome):
        interval = statistics.Interval((low + high) / 2, low, high, 1.0, 10)
        assert statistics.noninferiority(interval, 2.0) == outcome

    def test_paired_difference_is_the_t_test(self):
        from scipy.stats import ttest_rel

        rng = np.random.default_rng(11)
        a, b = rng.normal(size=20), rng.normal(size=20)
        oracle = ttest_rel(a, b)
        found = statistics.paired_difference(a, b)
        assert found.p_two_sided() == pytest.approx(oracle.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval()))

    def test_bit_equal_data_has_p_one(self):
        found = statistics.paired_difference([1.0, 2.0], [1.0, 2.0])
        assert (found.low, found.high, found.p_greater(), found.p_two_sided()) == (0, 0, 1, 1)


class TestSuperiority:
    def test_ties_count_half(self):
        assert statistics.superiority([1, 2, 3], [2]).estimate == pytest.approx(0.5)

    @settings(deadline=None)
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9))
    def test_it_is_the_mirror_of_itself_and_stays_in_bounds(self, a, b):
        one, other = statistics.superiority(a, b), statistics.superiority(b, a)
        assert one.estimate == pytest.approx(1 - other.estimate)
        assert one.low == pytest.approx(1 - other.high)
        assert 0 <= one.low <= one.estimate <= one.high <= 1

    def test_the_interval_covers(self):
        from scipy.stats import norm

        rng, hits = np.random.default_rng(12), []
        truth = norm.cdf(0.8 / math.sqrt(2))
        for _ in range(1500):
            found = statistics.superiority(rng.normal(0.8, 1, 20), rng.normal(0, 1, 20))
            hits.append(found.low <= truth <= found.high)
        assert 0.935 <= np.mean(hits) <= 0.975


class TestSourceRange:
    def test_equal_sources_show_the_gap_of_draws_alone(self):
        # Four equal sources, ten draws, SD 0.21: an expected gap of 0.14 and a 95th percentile of 0.24.
        rng = np.random.default_rng(13)
        found = [statistics.source_range(0.21 * rng.normal(size=(4, 10)), rng, 300) for _ in range(150)]
        assert np.mean([f.gap for f in found]) == pytest.approx(0.137, abs=0.01)
        assert np.mean([f.expected for f in found]) == pytest.approx(0.137, abs=0.01)
        assert np.mean([f.high for f in found]) == pytest.approx(0.24, abs=0.02)
        assert np.mean([f.p < 0.05 for f in found]) < 0.12

    def test_a_real_gap_does_not_widen_what_draws_alone_make(self):
        rng = np.random.default_rng(14)
        draws = 0.21 * rng.normal(size=(4, 10)) + np.array([[0], [0], [0], [2.0]])
        found = statistics.source_range(draws, rng)
        assert found.expected < 0.2
        assert found.p < 0.001

    def test_one_source_has_no_gap(self):
        with pytest.raises(ValueError, match="two sources"):
            statistics.source_range([[1.0, 2.0]], np.random.default_rng(0))


class TestCalibrationError:
    def test_by_hand(self):
        confidence, correct = [0.95, 0.91, 0.55, 0.51], [1, 0, 1, 1]
        expected = 0.5 * abs(0.5 - 0.93) + 0.5 * abs(1 - 0.53)
        assert statistics.expected_calibration_error(confidence, correct) == pytest.approx(expected)

    @pytest.mark.parametrize("rule", ["width", "mass"])
    def test_perfect_confidence_has_no_error(self, rule):
        assert statistics.expected_calibration_error([1.0, 1.0, 0.0], [1, 1, 0], rule=rule) == 0

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60), st.integers(1, 20))
    def test_every_item_is_in_one_bin(self, items, bins):
        confidence, correct = zip(*items, strict=True)
        for rule in ("width", "mass"):
            held = statistics.reliability(confidence, correct, bins, rule)
            assert sum(b.n for b in held) == len(items)
            assert 0 <= statistics.expected_calibration_error(confidence, correct, bins, rule) <= 1

    def test_bins_of_equal_mass_hold_the_same_number(self):
        held = statistics.reliability(np.linspace(0, 1, 40) ** 4, np.ones(40), 8, "mass")
        assert [b.n for b in held] == [5] * 8

    def test_an_unknown_rule_is_named(self):
        with pytest.raises(ValueError, match="'widht'"):
            statistics.reliability([0.5], [1], 10, "widht")

    def test_brier_by_hand(self):
        assert statistics.brier([[0.7, 0.3], [0.2, 0.3, 0.5]], [0, 0]) == pytest.approx((0.18 + 0.64 + 0.09 + 0.25) / 2)
