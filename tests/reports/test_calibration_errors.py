"""Calibration errors by hand, on the edges of bins, and against a second implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import statistics as S


def test_hand_computed_bins_and_their_edges():
    confidence, right = [0.2, 0.2, 0.6, 1.0], [0, 1, 1, 1]
    # Closed on the right: .2 in bin 2, .6 in bin 6; on the left: .2 in bin 3, .6 in bin 7: the same gaps.
    for rule in ("width", "left"):
        assert S.expected_calibration_error(confidence, right, 10, rule) == pytest.approx((2 * 0.3 + 0.4 + 0) / 4)
    # .2 and .25 share a bin only if bins are closed on the left, .15 and .2 only on the right.
    assert len(S.reliability([0.2, 0.25], [1, 0], 10, "left")) == 1
    assert len(S.reliability([0.2, 0.25], [1, 0], 10, "width")) == 2
    assert len(S.reliability([0.15, 0.2], [1, 0], 10, "left")) == 2
    assert len(S.reliability([0.15, 0.2], [1, 0], 10, "width")) == 1
    for rule in S.calibration_error.RULES:
        assert S.reliability([0.0, 1.0], [0, 1], 10, rule)[-1] == (1.0, 1.0, 1)  # 0 and 1 are in a bin
        assert sum(b.n for b in S.reliability([0.0, 1.0], [0, 1], 10, rule)) == 2


@given(st.integers(0, 1000), st.sampled_from([1, 5, 10, 15]), st.sampled_from(["width", "left"]))
def test_ece_is_that_of_a_loop_over_bins(seed, bins, rule):
    random = np.random.default_rng(seed)
    confidence = random.choice([random.random(), *np.arange(11) / 10], 60)
    right = random.random(60) < 0.5
    total = 0.0
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        inside = (
            [(low < c <= high) or (k == 0 and c == 0) for c in confidence]
            if rule == "width"
            else [(low <= c < high) or (k == bins - 1 and c == 1) for c in confidence]
        )
        # An edge such as 3/10 is not exact in floats: such items are compared by the rule's own arithmetic.
        edges = [abs(c * bins - round(c * bins)) < 1e-9 for c in confidence]
        own = np.ceil(confidence * bins) - 1 if rule == "width" else np.floor(confidence * bins)
        own = np.clip(own, 0, bins - 1)
        held = np.array([own[i] == k if edges[i] else inside[i] for i in range(60)])
        if held.any():
            total += held.sum() * abs(right[held].mean() - confidence[held].mean())
    assert S.expected_calibration_error(confidence, right, bins, rule) == pytest.approx(total / 60)


@given(st.integers(0, 1000))
def test_relations_between_the_errors(seed):
    random = np.random.default_rng(seed)
    z = 3 * random.standard_normal((80, 4))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    target = random.integers(0, 4, 80)
    confidence, right = p.max(1), p.argmax(1) == target
    order = random.permutation(80)
    ece = S.expected_calibration_error(confidence, right)
    assert ece == pytest.approx(S.expected_calibration_error(confidence[order], right[order]))
    assert abs(S.signed_gap(confidence, right)) <= ece + 1e-12 <= S.maximum_calibration_error(confidence, right) + 1e-9
    assert S.expected_calibration_error(confidence, right, 1) == pytest.approx(abs(S.signed_gap(confidence, right)))
    assert S.brier(p, target) == pytest.approx(S.brier(p.tolist(), target.tolist()))
    assert S.negative_log_likelihood(np.log(p), target) == pytest.approx(
        S.negative_log_likelihood(np.log(p).tolist(), target)
    )
    assert 0 <= S.classwise_calibration_error(p, target) <= 1


def test_risk_and_coverage_by_hand():
    assert S.area_under_risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]) == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert S.area_under_risk_coverage([0.5, 0.5], [1, 0]) == pytest.approx(0.5)  # a tie shares its error
    assert S.area_under_risk_coverage([0.9, 0.1], [1, 0]) < S.area_under_risk_coverage([0.1, 0.9], [1, 0])


def test_a_calibrated_model_shows_only_the_bias_of_ece():
    random = np.random.default_rng(0)
    confidence = random.random(2000)
    right = random.random(2000) < confidence
    bias = S.bias_of_perfect(confidence, 15)
    assert 0 < bias < 0.04
    assert S.expected_calibration_error(confidence, right, 15) == pytest.approx(bias, abs=0.015)


def test_bootstrap_covers_and_repeats():
    random = np.random.default_rng(1)
    confidence = random.random(300)
    right = random.random(300) < 0.5 * confidence
    low, high = S.bootstrap(S.signed_gap, confidence, right, seed=3, resamples=300)
    assert low < S.signed_gap(confidence, right) < high
    assert (low, high) == S.bootstrap(S.signed_gap, confidence, right, seed=3, resamples=300)


def test_networks_that_saw_the_same_images_are_resampled_together():
    random = np.random.default_rng(1)
    confidence = random.random((3, 400))
    right = random.random((3, 400)) < 0.6 * confidence
    low, high = S.bootstrap_error(confidence, right, seed=2, resamples=400)

    def mean(sure, answers):
        return np.mean(
            [S.expected_calibration_error(*pair, 10, "left") for pair in zip(sure.T, answers.T, strict=True)]
        )

    assert low < mean(confidence.T, right.T) < high
    plain = S.bootstrap(mean, confidence.T, right.T, seed=3, resamples=400)
    assert high - low == pytest.approx(plain[1] - plain[0], rel=0.15)
    assert (low + high) / 2 < sum(plain) / 2  # without what resampling adds to the error
    one = S.bootstrap_error(confidence[0], right[0], seed=2)
    assert one == S.bootstrap_error(confidence[:1], right[:1], seed=2)
    assert one[1] - one[0] > high - low  # three networks' mean is surer


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="NaN"):
        S.reliability([float("nan")], [1])
    with pytest.raises(ValueError, match="'width', 'left', 'mass'"):
        S.reliability([0.5], [1], rule="right")
