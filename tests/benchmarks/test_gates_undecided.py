"""No gate passes on what it could not have seen: open sources, few items, draws that disagree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import gates, gates_change, judging
from fixtures.records import Verdict
from reports import statistics
from tests.simulate import World, simulate

SUBJECT = "known-corpus-1m wanda-0.5"
ONE = World(methods=("wanda-0.5",), sources=("web", "code"))
TASKS = World(methods=("wanda-0.5",), sources=("web",), tasks=("piqa", "arc_easy"), items=300, domains=())


def judged(world, settings=None, baseline=None, change=None, **options):
    manifest, records = simulate(world, **options)
    manifest["gates"] |= settings or {}
    for record in records:
        if change:
            change(record)
    return {(v.gate, v.subject): v for v in gates.judge(manifest, records, baseline)}


class TestSource:
    def test_it_passes_if_and_only_if_every_pair_with_the_lowest_is_decided(self):
        world, margin = dataclasses.replace(ONE, draw_sd=0.006, source_effect={"code": 0.011}), 0.02
        outcomes, open_though_seen = set(), 0
        for run in range(40):
            verdict = judged(world, {"source_margin": margin}, run=run)["source", SUBJECT]
            (pair,) = verdict.details["pairs"]
            apart = pair["p_adjusted"] < 0.05
            same = max(abs(pair["low"]), abs(pair["high"])) <= margin
            assert verdict.outcome == ("pass" if apart or same else "inconclusive")
            assert ("more draws decide" in verdict.reason) == (verdict.outcome == "inconclusive")
            outcomes.add(verdict.outcome)
            open_though_seen += verdict.outcome == "inconclusive" and verdict.detectable <= margin
        assert outcomes == {"pass", "inconclusive"}
        assert open_though_seen  # a detectable difference under the margin alone must not pass

    def test_without_a_margin_equals_stay_open(self):
        settings = {"source_margin": {"gptq-w3g64": 0.02}}
        verdict = judged(dataclasses.replace(ONE, draw_sd=0.02), settings)["source", SUBJECT]
        assert verdict.outcome == "inconclusive"
        assert "no margin is set" in verdict.reason


class TestRegressionOfAnswers:
    def test_a_loss_on_one_draw_of_five_is_not_yet_a_regression(self):
        """The items alone are sure of it; another five draws might not show it."""
        manifest, records = simulate(TASKS)
        baseline = gates.make_baseline(manifest, records, [])

        def forget(record, draws):
            if record.case["draw"] and record.case["draw"]["seed"] in draws:
                for scores in record.tasks.values():
                    scores.correct[::4] = [0] * len(scores.correct[::4])

        wide = {"regression_margin_accuracy": 0.02}
        key = "regression", f"{SUBJECT} accuracy"
        # Runs that agree on nearly every item, so that the gate is not refused at this margin.
        baseline["groups"][SUBJECT]["accuracy"]["disagreement"] = 0.001
        one = judged(TASKS, wide, baseline, lambda record: forget(record, [2]))[key]
        assert one.estimate > 0.02
        assert one.outcome == "inconclusive"
        assert one.p > 0.05
        every = judged(TASKS, wide, baseline, lambda record: forget(record, range(5)))[key]
        assert every.outcome == "fail"

    def test_false_alarms_stay_under_alpha_where_draws_move_by_themselves(self):
        """Draws shift up and down about no mean change; an exact test over items alone is fooled by them."""
        rng = np.random.default_rng(4)
        alarms, fooled = 0, 0
        for _ in range(400):
            effect = rng.normal(0, 0.03, size=5)
            worse = rng.random((300, 5)) < 0.03 + np.maximum(effect, 0)
            better = rng.random((300, 5)) < 0.03 + np.maximum(-effect, 0)
            lost = worse.astype(int) - better.astype(int)
            exact = statistics.sign_flip(lost > 0, lost < 0).p
            interval = gates_change._paired_answers(lost, [5], 0.95)
            alarms += max(exact, interval.p_greater()) < 0.05
            fooled += exact < 0.05
        assert alarms <= 20 + 2 * (400 * 0.05 * 0.95) ** 0.5
        assert fooled > 40


def test_every_statistical_gate_reports_its_figures_and_flips_each_way():
    world = World(methods=("wanda-0.5",), sources=("web", "code"), tasks=("piqa", "arc_easy"), items=300)
    manifest, records = simulate(world)
    baseline = gates.make_baseline(manifest, records, [])
    settings = {"release_margin": 0.5, "release_margin_accuracy": 0.5}
    found = judged(world, settings, baseline, run=1)
    judged_gates = {gate for gate, _ in found} - {"null"}
    assert judged_gates == {"variance", "source", "regression", "release", "reconstruction"}
    for (gate, subject), verdict in found.items():
        if gate == "null":
            continue
        figures = ("estimate", "low", "high", "p", "detectable")
        assert [name for name in figures if getattr(verdict, name) is None] == [], verdict.id
        assert (verdict.flips is not None) == subject.endswith("accuracy"), verdict.id
    dense, rest = records[0], [r for r in simulate(world, run=1)[1] if r.case["draw"]]
    changes = np.array([np.subtract(dense.tasks[t].correct, r.tasks[t].correct) for r in rest for t in world.tasks])
    assert found["variance", f"{SUBJECT} accuracy"].flips == ((changes > 0).sum(), (changes < 0).sum())


class TestRelease:
    def test_a_margin_below_what_it_can_see_is_refused_with_what_it_takes(self):
        key = "release", f"{SUBJECT} accuracy"
        steady = dataclasses.replace(TASKS, flip=0.02, draw_sd=0.0, damage={"wanda-0.5": 0.0})
        verdict = judged(steady, {"release_margin_accuracy": 0.002})[key]
        assert verdict.outcome == "refused"
        assert verdict.detectable > 0.002
        assert "items instead of 600, or more draws" in verdict.reason

    @pytest.mark.parametrize(("items", "outcome"), [(40, "refused"), (130, "pass")])
    def test_a_few_answers_without_a_change_release_nothing(self, items, outcome):
        same = dataclasses.replace(TASKS, items=items, accuracy=0.9, flip=0.0, draw_sd=0.0, damage={"wanda-0.5": 0.0})
        verdict = judged(same, {"release_margin_accuracy": 0.02})["release", f"{SUBJECT} accuracy"]
        assert (verdict.estimate, verdict.flips) == (0.0, (0, 0))
        assert verdict.outcome == outcome
        assert outcome == "pass" or "about 250 items" in verdict.reason

    def test_damage_beyond_the_margin_still_fails(self):
        loss = dataclasses.replace(ONE, damage={"wanda-0.5": 0.2})
        assert judged(loss, {"release_margin": 0.0001})["release", SUBJECT].outcome == "fail"


@pytest.mark.parametrize(
    ("previous", "judge_only", "outcomes", "plain", "strict"),
    [
        (0, False, ["pass"], 0, 0),
        (0, False, ["pass", "fail"], 1, 1),
        (0, False, ["pass", "inconclusive"], 0, 6),
        (0, False, ["pass", "refused"], 0, 6),
        (0, False, ["fail", "refused"], 1, 1),
        (1, False, ["refused"], 1, 1),
        (2, False, ["fail"], 2, 2),  # what pytest itself says of its end goes first
        (5, False, ["pass"], 5, 5),
        (5, True, ["pass"], 0, 0),  # no case ran, and none was to
        (5, True, ["fail"], 1, 1),
    ],
)
def test_the_exit_status_of_what_was_decided(previous, judge_only, outcomes, plain, strict):
    verdicts = [Verdict("variance", "m", outcome, "") for outcome in outcomes]
    found = [judging.exit_status(previous, judge_only, verdicts, strict=how) for how in (False, True)]
    assert found == [plain, strict]
