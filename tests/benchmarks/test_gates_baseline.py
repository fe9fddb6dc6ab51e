"""Gates that compare with a baseline: what is planted is found, what cannot be paired is said; and its making."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from benchmarks import gates, gates_change
from fixtures.records import Verdict
from tests.helpers_gates import TASKS, WORLD, find, judged, make_baseline
from tests.simulate import simulate


@pytest.fixture(scope="module")
def baseline():
    return make_baseline(WORLD)


class TestRegression:
    def test_the_same_run_again_passes_with_no_difference(self, baseline):
        verdict = find(judged(baseline=baseline), "regression")
        assert (verdict.outcome, verdict.estimate, verdict.p) == ("pass", 0.0, 1.0)

    def test_one_document_shows_no_error(self):
        with pytest.raises(ValueError, match="score at least two"):
            gates_change._paired_interval(np.array([0.1]), np.array([0.1, 0.2]), [2], 0.95)

    def test_a_planted_drop_fails(self, baseline):
        verdict = find(judged(dataclasses.replace(WORLD, drop=0.04), baseline), "regression")
        assert verdict.outcome == "fail"
        assert verdict.low < 0.04001
        assert verdict.high > 0.03999

    def test_a_drop_below_the_margin_is_no_failure(self, baseline):
        verdict = find(judged(dataclasses.replace(WORLD, drop=0.01), baseline), "regression")
        assert verdict.p < 0.001
        assert verdict.outcome == "pass"

    def test_an_improvement_passes(self, baseline):
        assert find(judged(dataclasses.replace(WORLD, drop=-0.05), baseline), "regression").outcome == "pass"

    def test_other_documents_cannot_be_paired(self, baseline):
        manifest, records = simulate(WORLD)
        for record in records:
            record.nll["web"].document_hash[0] = "another"
        verdict = find(gates.judge(manifest, records, baseline), "regression")
        assert verdict.outcome == "inconclusive"
        assert "documents" in verdict.reason

    def test_a_retrained_model_needs_the_spread_of_retraining(self, baseline):
        world = dataclasses.replace(WORLD, retrained=1.0)
        verdict = find(judged(world, baseline), "regression")
        assert verdict.outcome == "inconclusive"
        assert "retrain" in verdict.reason
        known = {**baseline, "retraining_sd": {"known-corpus-1m": 0.002}}
        verdict = find(judged(world, known), "regression")
        assert verdict.outcome == "pass"
        assert verdict.high - verdict.low > 2 * 1.9 * 0.002
        assert find(judged(dataclasses.replace(world, drop=0.06), known), "regression").outcome == "fail"

    @pytest.mark.parametrize(("drop", "outcome"), [(0.0, "pass"), (0.06, "fail")])
    def test_another_version_of_a_model_of_the_users_is_judged_against_the_last(self, drop, outcome):
        """No spread of retraining is asked for: the question is about these two versions."""
        world = dataclasses.replace(WORLD, models=("./my-model",))
        first = gates.make_baseline(*simulate(world), [])
        verdicts = judged(dataclasses.replace(world, retrained=1.0, drop=drop), first)
        subject = "my-model wanda-0.5"
        verdict = find(verdicts, "regression", subject)
        assert verdict.outcome == outcome
        assert "another version of the model" in verdict.reason
        assert re.search(r"; uncompressed it has [+-][\d.]+ nats a token .* which is not judged$", verdict.reason)
        before, after = (simulate(w)[1][0] for w in (world, dataclasses.replace(world, retrained=1.0, drop=drop)))
        assert before.case["method"] == after.case["method"] == "dense"
        pairs = [(before.nll[d].by_document, after.nll[d].by_document) for d in before.nll]
        moved = [b - a for old, new in pairs for a, b in zip(old, new, strict=True)]
        low, high = verdict.details["dense_moved"][1:]
        assert verdict.details["dense_moved"][0] == pytest.approx(sum(moved) / len(moved), abs=1e-5)
        assert low < verdict.details["dense_moved"][0] < high
        assert "another version" in find(verdicts, "reconstruction", subject).reason
        assert "another version" not in find(judged(world, first), "regression", subject).reason

    def test_a_spread_of_retraining_above_the_margin_is_refused(self, baseline):
        known = {**baseline, "retraining_sd": {"known-corpus-1m": {"default": {"loss": 0.05}}}}
        verdict = find(judged(dataclasses.replace(WORLD, retrained=1.0), known), "regression")
        assert verdict.outcome == "refused"
        assert "retraining" in verdict.reason

    def test_a_margin_that_cannot_be_resolved_is_refused_and_says_what_it_takes(self, baseline):
        verdict = find(judged(baseline=baseline, settings={"regression_margin": 0.001}), "regression")
        assert verdict.outcome == "refused"
        assert verdict.detectable > 0.001
        assert "draws instead of 15, or a larger regression_margin" in verdict.reason

    def test_answers_are_paired_item_by_item(self):
        stored = make_baseline(TASKS)
        subject = "known-corpus-1m wanda-0.5 accuracy"
        clean = find(judged(TASKS, stored), "regression", subject)
        assert clean.outcome == "refused"  # 600 items cannot see two points
        assert "items instead of 600" in clean.reason
        assert clean.flips == (0, 0)
        wide = {"regression_margin_accuracy": 0.1}
        assert find(judged(TASKS, stored, wide), "regression", subject).outcome == "pass"
        worse = dataclasses.replace(TASKS, drop=0.3)
        verdict = find(judged(worse, stored, wide), "regression", subject)
        assert verdict.outcome == "fail"
        assert verdict.flips[0] > 300 > 10 > verdict.flips[1]

    def test_no_baseline_is_visible(self):
        verdict = find(judged(), "regression", "simulated")
        assert verdict.outcome == "inconclusive"
        assert "--update-baselines" in verdict.reason

    def test_a_method_that_the_baseline_lacks_is_visible(self, baseline):
        world = dataclasses.replace(WORLD, methods=("wanda-0.5", "sparsegpt-0.5"))
        verdict = find(judged(world, baseline), "regression", "known-corpus-1m sparsegpt-0.5")
        assert verdict.outcome == "inconclusive"

    def test_the_order_of_sources_in_a_profile_does_not_matter(self, baseline):
        world = dataclasses.replace(WORLD, sources=WORLD.sources[::-1])
        for gate in ("regression", "reconstruction"):
            verdict = find(judged(world, baseline), gate)
            assert (verdict.outcome, verdict.estimate, verdict.high) == ("pass", 0.0, 0.0)

    def test_other_draws_cannot_be_paired(self, baseline):
        verdict = find(judged(dataclasses.replace(WORLD, seeds=3), baseline), "regression")
        assert verdict.outcome == "inconclusive"
        assert "15 draws" in verdict.reason


class TestReconstruction:
    def test_one_linear_that_got_worse_fails_and_is_named(self, baseline):
        verdicts = judged(dataclasses.replace(WORLD, worse_linear=0.2), baseline)
        verdict = find(verdicts, "reconstruction")
        assert verdict.outcome == "fail"
        assert "blocks.0.linear3" in verdict.reason
        assert verdict.details["risen"] == ["blocks.0.linear3"]
        assert find(verdicts, "regression").outcome == "pass"

    def test_the_same_run_passes(self, baseline):
        assert find(judged(baseline=baseline), "reconstruction").outcome == "pass"

    def test_other_linears_cannot_be_paired(self, baseline):
        verdict = find(judged(dataclasses.replace(WORLD, linears=7), baseline), "reconstruction")
        assert verdict.outcome == "inconclusive"


class TestBaseline:
    def test_a_run_with_failures_is_refused(self):
        manifest, records = simulate(WORLD)
        failed = [Verdict("null", "x", "fail", "")]
        with pytest.raises(gates.GateError, match=r"null\[x\]"):
            gates.make_baseline(manifest, records, failed)

    def test_an_incomplete_run_is_refused(self):
        manifest, records = simulate(WORLD)
        with pytest.raises(gates.GateError, match="missing"):
            gates.make_baseline(manifest, records[:-1], [])

    def test_the_spread_of_retraining_is_kept(self):
        manifest, records = simulate(WORLD)
        previous = {"retraining_sd": {"known-corpus-1m": 0.01}, "groups": {}}
        assert gates.make_baseline(manifest, records, [], previous)["retraining_sd"] == previous["retraining_sd"]

    def test_the_spread_of_retraining_is_measured_over_training_seeds(self):
        manifest, _ = simulate(WORLD)
        runs = [simulate(dataclasses.replace(WORLD, drop=drop))[1] for drop in (0.0, 0.01, 0.02)]
        found = gates.retraining_spread(manifest, runs)
        assert found["known-corpus-1m"]["wanda-0.5"]["loss"] == pytest.approx(0.01)
        with pytest.raises(gates.GateError, match="at least two"):
            gates.retraining_spread(manifest, runs[:1])

    def test_the_difference_is_in_words(self, baseline):
        other = make_baseline(dataclasses.replace(WORLD, drop=0.05, methods=("wanda-0.5", "sparsegpt-0.5")))
        text = gates.baseline_difference(baseline, other)
        assert "+ known-corpus-1m sparsegpt-0.5" in text
        assert "- known-corpus-1m rtn-w3g64" in text
        assert "known-corpus-1m wanda-0.5: loss" in text
        assert gates.baseline_difference(baseline, baseline) == "nothing changed"
        assert "first baseline" in gates.baseline_difference(None, baseline)

    def test_verdicts_are_plain_json(self, baseline):
        for verdict in judged(dataclasses.replace(WORLD, tasks=("piqa",)), baseline):
            assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False))) == verdict
