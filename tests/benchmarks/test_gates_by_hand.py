"""The figures behind a gate's verdict, computed again from the records without any of its code."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import gates, gates_change
from reports.statistics import Interval
from tests.helpers_gates import TASKS, WORLD, find, judged, make_baseline
from tests.simulate import simulate

SUBJECT = "known-corpus-1m wanda-0.5"
POWER = stats.norm.isf(0.2)  # power .8


def planned(verdicts):
    """How many gates share the chance of a false alarm."""
    return sum(v.gate in ("variance", "regression", "release", "reconstruction") for v in verdicts)


def of_method(records, method="wanda-0.5"):
    """(source, record) of every draw, sources by name, seeds in order."""
    found = [r for r in records if r.case["method"] == method]
    draws = sorted(found, key=lambda r: (r.case["draw"]["source"], r.case["draw"]["seed"]))
    return [(r.case["draw"]["source"], r) for r in draws]


def within(values, sources):
    """Pooled variance of the columns ``[..., n]`` about the mean of their source, and its degrees of freedom a row."""
    squares, df = 0.0, 0
    for source in set(sources):
        part = values[..., [k for k, name in enumerate(sources) if name == source]]
        squares += ((part - part.mean(-1, keepdims=True)) ** 2).sum()
        df += part.shape[-1] - 1
    rows = values.size // values.shape[-1]
    return squares / (df * rows), df


def damage(records):
    """Nats a token above the dense model, a mean a draw of wanda."""
    dense = next(r for r in records if r.case["draw"] is None)

    def each(record):
        return np.concatenate([np.divide(s.nll, s.tokens) for _, s in sorted(record.nll.items())])

    draws = of_method(records)
    return [s for s, _ in draws], np.array([(each(r) - each(dense)).mean() for _, r in draws])


@pytest.mark.parametrize(
    ("estimate", "low", "high", "detectable", "outcome"),
    [
        (0.010, 0.005, 0.030, 0.01, "inconclusive"),  # the interval holds the margin, the estimate does not exceed it
        (0.030, 0.010, 0.050, 0.01, "fail"),
        (0.030, 0.010, 0.050, None, "fail"),
        (0.005, -0.01, 0.019, 0.01, "pass"),
        (0.000, -0.01, 0.010, 0.03, "refused"),  # a pass that could not have been anything else
        (0.030, 0.010, 0.050, 0.03, "refused"),
        (0.040, 0.021, 0.060, 0.03, "fail"),  # refused gates fail where all of the interval lies beyond
    ],
)
def test_what_an_interval_decides_at_a_margin_of_two_hundredths(estimate, low, high, detectable, outcome):
    assert gates_change.decide(Interval(estimate, low, high, 0.01, 9), 0.02, detectable) == outcome


class TestRegressionOfLoss:
    def test_items_and_draws_both_vary(self):
        """Items: 4 / 3. Draws of two sources: (2 + 8) / 2 about their own means, over four draws."""
        found = gates_change._paired_interval(np.array([0.0, 2, 4]), np.array([1.0, 3, 2, 6]), [2, 2], 0.95)
        parts = 4 / 3, 5 / 4
        assert found.estimate == 2.0
        assert found.error**2 == pytest.approx(sum(parts))
        assert found.df == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2))

    def test_two_runs_two_trainings_and_the_family_are_in_what_it_could_see(self):
        manifest, records = simulate(WORLD)
        stored = gates.make_baseline(manifest, records, [])
        sources, means = damage(records)
        error = math.sqrt(within(means, sources)[0] / len(means))
        assert stored["groups"][SUBJECT]["loss"]["draw_error"] == pytest.approx(error, rel=1e-6)
        known = {**stored, "retraining_sd": {"known-corpus-1m": 0.002}}
        verdicts = judged(dataclasses.replace(WORLD, retrained=1.0), known)
        level = stats.norm.isf(0.05 / planned(verdicts)) + POWER
        expected = level * math.sqrt(2 * error**2 + 2 * 0.002**2)
        assert find(verdicts, "regression").detectable == pytest.approx(expected, rel=1e-5)


class TestRegressionOfAnswers:
    ACCURACY = f"{SUBJECT} accuracy"

    def test_what_it_could_see_is_mcnemars_at_the_families_level(self):
        stored = make_baseline(TASKS)
        verdicts = judged(TASKS, stored)
        columns = np.array([[c == "1" for c in row] for row in stored["groups"][SUBJECT]["accuracy"]["correct"]])
        n, pairs = columns.shape[1], [(i, j) for i in range(len(columns)) for j in range(i)]
        rho = np.mean([(columns[i] != columns[j]).mean() for i, j in pairs])
        expected = (stats.norm.isf(0.05 / planned(verdicts)) + POWER) * math.sqrt(rho / n)
        assert find(verdicts, "regression", self.ACCURACY).detectable == pytest.approx(expected)

    def test_every_draw_counts_the_same_whatever_its_source(self):
        lost = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0]])
        assert gates_change._paired_answers(lost, [1, 2], 0.95).estimate == pytest.approx(2 / 9)

    def test_answers_of_another_training_or_to_other_prompts_are_not_paired(self):
        stored = make_baseline(TASKS)
        other = find(judged(dataclasses.replace(TASKS, retrained=1.0), stored), "regression", self.ACCURACY)
        assert (other.outcome, other.estimate) == ("inconclusive", None)
        assert "retrained" in other.reason
        manifest, records = simulate(TASKS)
        for record in records:
            record.tasks["piqa"].prompt_hash = ["changed", *record.tasks["piqa"].prompt_hash[1:]]
        prompts = find(gates.judge(manifest, records, stored), "regression", self.ACCURACY)
        assert (prompts.outcome, prompts.estimate) == ("inconclusive", None)
        assert "prompts" in prompts.reason


def test_the_p_value_of_a_release_is_that_of_exceeding_its_margin():
    settings = {"release_margin": 1.0}
    level = find(judged(settings=settings), "release").estimate
    at = find(judged(settings={"release_margin": level}), "release")
    assert at.p == pytest.approx(0.5)
    assert find(judged(settings={"release_margin": 2 * level}), "release").p > 0.99


def test_reconstruction_looks_at_the_worst_linear_with_all_of_them_in_mind():
    def logs(records):
        draws = of_method(records)
        rows = [[linear["relative_error"] for linear in r.compression["linears"]] for _, r in draws]
        return [s for s, _ in draws], np.log(np.array(rows)).T

    stored = make_baseline(WORLD)
    sources, before = logs(simulate(WORLD)[1])
    worse = dataclasses.replace(WORLD, worse_linear=0.03)
    verdicts = judged(worse, stored, run=1)
    verdict, family = find(verdicts, "reconstruction"), planned(verdicts)
    change = logs(simulate(worse, run=1)[1])[1] - before
    count, draws = change.shape
    error = math.sqrt(((change - change.mean(1, keepdims=True)) ** 2).sum() / (count * (draws - 1)) / draws)
    df = count * (draws - 1)
    assert verdict.estimate == pytest.approx(change.mean(1).max(), abs=1e-5)
    assert verdict.high - verdict.estimate == pytest.approx(stats.t.isf(0.025 / count, df) * error, rel=1e-3)
    assert verdict.p == pytest.approx(count * stats.t.sf(verdict.estimate / error, df), rel=1e-2)
    assert verdict.margin == pytest.approx(math.log(1.1))
    noise = math.sqrt(2 / draws * within(before, sources)[0])
    assert verdict.detectable == pytest.approx((stats.norm.isf(0.05 / (family * count)) + POWER) * noise, rel=1e-3)
