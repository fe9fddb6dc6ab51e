"""Each gate passes what is clean, fails what is planted, and says so when it cannot tell."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest

from benchmarks import gates
from fixtures.records import Verdict
from tests.helpers_gates import TASKS, WORLD, find, judged, make_baseline
from tests.simulate import World, simulate


@pytest.fixture(scope="module")
def baseline():
    return make_baseline(WORLD)


class TestVariance:
    def test_a_spread_under_the_limit_passes_and_shows_its_parts(self):
        verdict = find(judged(settings={"variance_limit": 0.02}), "variance")
        assert verdict.outcome == "pass"
        assert verdict.low < 0.004 < verdict.high < 0.02
        assert verdict.details["item_floor"] == pytest.approx(0.02 / math.sqrt(48), rel=0.2)
        assert verdict.details["observed_sd"] ** 2 == pytest.approx(
            verdict.estimate**2 + verdict.details["item_floor"] ** 2
        )

    def test_a_spread_over_the_limit_fails(self):
        world = dataclasses.replace(WORLD, draw_sd=0.05)
        verdict = find(judged(world, settings={"variance_limit": 0.01}), "variance")
        assert verdict.outcome == "fail"
        assert verdict.p_adjusted < 0.05
        assert verdict.low > 0.01

    def test_a_limit_inside_the_interval_is_inconclusive(self):
        assert find(judged(settings={"variance_limit": 0.004}), "variance").outcome == "inconclusive"

    def test_items_that_disagree_are_not_blamed_on_the_draws(self):
        world = dataclasses.replace(WORLD, draw_sd=0.0, noise=0.2)
        verdict = find(judged(world, settings={"variance_limit": 0.02}), "variance")
        assert verdict.details["observed_sd"] > 0.02
        assert verdict.outcome != "fail"

    def test_one_draw_plans_no_gate(self):
        assert "variance" not in {verdict.gate for verdict in judged(dataclasses.replace(WORLD, seeds=1))}

    def test_the_limit_may_differ_by_method(self):
        limits = {"default": 0.02, "wanda-0.5": 0.0005}
        verdicts = judged(settings={"variance_limit": limits})
        assert find(verdicts, "variance").margin == 0.0005
        assert find(verdicts, "variance", "known-corpus-1m gptq-w3g64").margin == 0.02

    def test_answers_on_informative_tasks_have_their_own_gate(self):
        verdict = find(judged(TASKS), "variance", "known-corpus-1m wanda-0.5 accuracy")
        assert verdict.unit == "share"
        assert verdict.details["items"] == 600

    def test_tasks_at_chance_are_not_judged(self):
        world = dataclasses.replace(TASKS, accuracy=0.26)
        verdict = find(judged(world), "variance", "known-corpus-1m wanda-0.5 accuracy")
        assert verdict.outcome == "inconclusive"
        assert "informative" in verdict.reason


class TestSource:
    def test_the_worst_source_is_told_apart_and_equals_are_not(self):
        verdict = find(judged(), "source")
        assert verdict.outcome == "pass"
        assert verdict.details["order"][-1] == "code"
        assert "code" not in verdict.details["tied"]
        assert verdict.low < 0.03 < verdict.high
        assert verdict.details["gap_by_draws_alone"] < 0.015
        pair = next(p for p in verdict.details["pairs"] if (p["a"], p["b"]) == ("web", "code"))
        assert pair["a_worse"] == 0
        assert pair["p_adjusted"] < 0.05

    def test_equal_sources_are_seldom_told_apart(self):
        world = dataclasses.replace(WORLD, source_effect={}, methods=("wanda-0.5",), documents=12)
        sure = [not find(judged(world, run=run), "source").details["tied"] for run in range(60)]
        assert sum(sure) <= 7  # 5 % of 60, and two standard errors

    def test_a_margin_below_what_can_be_seen_is_refused_with_the_draws_it_needs(self):
        world = dataclasses.replace(WORLD, draw_sd=0.05, source_effect={"code": 0.01})
        verdict = find(judged(world, settings={"source_margin": 0.005}), "source")
        assert verdict.outcome == "refused"
        assert verdict.detectable > 0.005
        draws, needed = map(int, re.search(r"with (\d+) draws a source, it needs about (\d+)", verdict.reason).groups())
        assert needed >= draws * (verdict.detectable / 0.005) ** 2 > needed - 1

    def test_random_tokens_are_never_the_best_source(self):
        world = dataclasses.replace(
            WORLD, sources=("web", "code", "random-tokens"), source_effect={"random-tokens": -1}
        )
        assert "random-tokens" not in find(judged(world), "source").details["order"]

    def test_one_draw_plans_no_gate(self):
        assert "source" not in {verdict.gate for verdict in judged(dataclasses.replace(WORLD, seeds=1))}


class TestNullControl:
    def test_clean(self):
        verdicts = judged()
        assert find(verdicts, "null", "known-corpus-1m rtn-w3g64").outcome == "pass"
        assert find(verdicts, "null").outcome == "pass"
        assert not [v for v in verdicts if v.gate == "variance" and "rtn" in v.subject]

    def test_a_seed_that_does_not_reach_the_weights_fails(self):
        manifest, records = simulate(WORLD)
        same = [r for r in records if r.case["method"] == "wanda-0.5" and r.case["draw"]["source"] == "web"]
        same[3].keys["weights_hash"] = same[1].keys["weights_hash"]
        verdict = find(gates.judge(manifest, records), "null")
        assert verdict.outcome == "fail"
        assert same[1].id in verdict.reason
        assert same[3].id in verdict.reason

    @pytest.mark.parametrize("what", ["weights", "scores"])
    def test_one_bit_in_a_calibration_free_method_fails(self, what):
        manifest, records = simulate(WORLD)
        record = [r for r in records if r.case["method"] == "rtn-w3g64"][7]
        if what == "weights":
            record.keys["weights_hash"] = "f" * 64
        else:
            record.nll["web"].nll[5] = math.nextafter(record.nll["web"].nll[5], math.inf)
        verdict = find(gates.judge(manifest, records), "null", "known-corpus-1m rtn-w3g64")
        assert verdict.outcome == "fail"
        assert what in verdict.reason


class TestRelease:
    @pytest.mark.parametrize(("margin", "outcome"), [(0.3, "pass"), (0.1, "fail")])
    def test_against_dense(self, margin, outcome):
        assert find(judged(settings={"release_margin": margin}), "release").outcome == outcome

    def test_not_made_unless_asked_for(self):
        assert not [v for v in judged() if v.gate == "release"]

    def test_accuracy_shows_flips(self):
        verdict = find(
            judged(TASKS, settings={"release_margin_accuracy": 0.2}), "release", "known-corpus-1m wanda-0.5 accuracy"
        )
        assert verdict.outcome == "pass"
        assert min(verdict.flips) > 0


class TestFamily:
    def test_a_missing_record_makes_its_gates_inconclusive_and_keeps_the_family(self, baseline):
        manifest, records = simulate(WORLD)
        whole = gates.judge(manifest, records, baseline)
        gone = [r for r in records if r.id != "known-corpus-1m-wanda-0.5-web-s2"]
        verdicts = gates.judge(manifest, gone, baseline)
        assert [v.id for v in verdicts] == [v.id for v in whole]
        for gate in ("null", "variance", "source", "regression", "reconstruction"):
            verdict = find(verdicts, gate)
            assert verdict.outcome == "inconclusive"
            assert "known-corpus-1m-wanda-0.5-web-s2" in verdict.reason
        assert find(verdicts, "variance", "known-corpus-1m gptq-w3g64").outcome == "pass"

    def test_no_records_at_all(self, baseline):
        manifest, _ = simulate(WORLD)
        verdicts = gates.judge(manifest, [], baseline)
        assert verdicts
        assert {v.outcome for v in verdicts} == {"inconclusive"}

    def test_a_missing_dense_record_is_named(self, baseline):
        manifest, records = simulate(WORLD)
        verdict = find(gates.judge(manifest, [r for r in records if r.case["draw"]], baseline), "regression")
        assert verdict.outcome == "inconclusive"
        assert "known-corpus-1m-dense" in verdict.reason

    def test_a_failure_that_the_family_explains_is_no_failure(self):
        weak = Verdict("variance", "a", "fail", "too much", p=0.03)
        rest = [Verdict("regression", str(k), "pass", "", p=1.0) for k in range(4)]
        verdicts = gates.correct([weak, *rest], 0.05, 5)
        assert verdicts[0].outcome == "inconclusive"
        assert verdicts[0].p_adjusted == pytest.approx(0.15)
        assert gates.correct([weak], 0.05, 1)[0].outcome == "fail"

    def test_clean_reruns_fail_no_more_often_than_the_family_error(self):
        """200 pairs of baseline and rerun, on other draws with other noise: any failure in a run counts."""
        world = World(methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "news"), seeds=3, documents=10, linears=4)
        world = dataclasses.replace(world, draw_sd=0.01, tasks=("piqa",), items=80)
        # The true SD is the limit, and the margins are next to nothing: the correction alone holds the error.
        settings = {"variance_limit": 0.01, "regression_margin": 1e-4, "reconstruction_margin": 1e-4}
        settings |= {"variance_limit_accuracy": 0.01, "regression_margin_accuracy": 1e-4}
        manifest, _ = simulate(world)
        manifest["gates"] |= settings
        failures, decided = 0, 0
        for run in range(200):
            before, after = (simulate(world, run=2 * run + k)[1] for k in range(2))
            verdicts = gates.judge(manifest, after, gates.make_baseline(manifest, before, []))
            failures += any(v.outcome == "fail" for v in verdicts)
            decided += any(v.gate == "variance" and v.p < 0.5 for v in verdicts)
        assert failures <= 0.05 * 200 + 2 * math.sqrt(200 * 0.05 * 0.95)
        assert decided > 20  # the gate was live: its p values are not all near one


class TestSettings:
    @pytest.mark.parametrize(
        ("table", "words"),
        [
            ({"alhpa": 0.05}, "did you mean 'alpha'"),
            ({"alpha": 1.5}, "between 0 and 1"),
            ({"regression_margin": 0}, "above 0"),
            ({"variance_limit": {"default": "x"}}, "above 0"),
            ({"gates": ["varianse"]}, "no gate 'varianse'"),
        ],
    )
    def test_bad_settings_are_named(self, table, words):
        with pytest.raises(gates.GateError, match=words):
            gates.Settings.read(table)

    def test_a_margin_that_is_missing_for_a_method_is_said(self, baseline):
        verdict = find(judged(baseline=baseline, settings={"regression_margin": {"gptq-w3g64": 0.02}}), "regression")
        assert verdict.outcome == "inconclusive"
        assert "no default" in verdict.reason

    def test_gates_can_be_chosen(self):
        assert {v.gate for v in judged(settings={"gates": ["null"]})} == {"null"}
