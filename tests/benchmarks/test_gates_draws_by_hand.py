"""The figures of gates about draws, sources and the machine's noise, computed again from the records."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize, stats

from benchmarks import gates, gates_controls
from benchmarks.gates_settings import Settings
from fixtures.records import Verdict
from reports.groups import make_groups
from tests.helpers_gates import TASKS, WORLD, damage, find, judged
from tests.simulate import simulate

SUBJECT = "known-corpus-1m wanda-0.5"
POWER = stats.norm.isf(0.2)  # power .8


class TestVariance:
    WIDE = dataclasses.replace(WORLD, draw_sd=0.02)

    def verdict(self, **settings):
        return find(judged(self.WIDE, settings=settings), "variance")

    def test_the_interval_decides_and_not_the_estimate(self):
        found = self.verdict()
        low, sd, high = found.low, found.estimate, found.high
        for limit, outcome in (
            (0.9 * low, "fail"),
            ((low + sd) / 2, "inconclusive"),
            ((sd + high) / 2, "inconclusive"),
            (1.1 * high, "pass"),
        ):
            assert self.verdict(variance_limit=limit).outcome == outcome

    def test_a_limit_just_inside_the_interval_is_no_failure_of_a_gate_that_stands_alone(self):
        world, settings = dataclasses.replace(self.WIDE, methods=("wanda-0.5",)), {"gates": ["variance"]}
        low = find(judged(world, settings=settings), "variance").low
        found = find(judged(world, settings={**settings, "variance_limit": 1.01 * low}), "variance")
        assert found.p_adjusted < 0.05
        assert found.outcome == "inconclusive"

    def test_what_is_detectable_is_found_with_power(self):
        """The spread over draws is then a multiple of chi-square, about its floor of items."""
        found = self.verdict()
        df, ratio = found.details["df"], 1 + (found.detectable / found.details["item_floor"]) ** 2
        critical = stats.f.isf(0.05, df, df * (found.details["items"] - 1))
        assert stats.chi2.sf(df * critical / ratio, df) == pytest.approx(0.8)

    def test_answers_have_a_limit_of_their_own(self):
        settings = {"variance_limit": 0.5, "variance_limit_accuracy": 0.3}
        assert find(judged(TASKS, settings=settings), "variance", f"{SUBJECT} accuracy").margin == 0.3


class TestSource:
    def test_a_pair_is_told_apart_after_its_correction_alone(self):
        world, between = dataclasses.replace(WORLD, source_effect={"code": 0.012, "news": 0.006}, draw_sd=0.006), 0
        for run in range(12):
            verdict = find(judged(world, run=run), "source")
            best, *others = verdict.details["order"]
            pairs = {frozenset((p["a"], p["b"])): p for p in verdict.details["pairs"]}
            open_ = [s for s in others if pairs[frozenset((best, s))]["p_adjusted"] >= 0.05]
            assert verdict.details["tied"] == open_
            between += any(pairs[frozenset((best, s))]["p"] < 0.05 for s in open_)
        assert between  # some pair is sure by itself, and not among three

    def test_the_gap_is_that_of_the_ends_and_above_zero_whichever_is_named_first(self):
        for effects in ({"code": 0.05}, {"news": 0.05}, {"web": 0.05}):
            manifest, records = simulate(dataclasses.replace(WORLD, source_effect=effects))
            sources, means = damage(records)
            level = {s: means[[name == s for name in sources]].mean() for s in set(sources)}
            verdict = find(gates.judge(manifest, records), "source")
            assert verdict.details["order"] == sorted(level, key=level.__getitem__)
            assert verdict.estimate == pytest.approx(max(level.values()) - min(level.values()))
            assert 0 < verdict.low < verdict.estimate < verdict.high

    def test_every_pair_could_see_what_a_two_sided_test_sees_at_its_share(self):
        """Three pairs. The error of each: that with which the interval and the p value have one t distribution."""
        effects = {"code": 0.004, "news": 0.008}
        verdict = find(judged(dataclasses.replace(WORLD, source_effect=effects, draw_sd=0.01)), "source")
        for pair in verdict.details["pairs"]:
            half, gap, p = (pair["high"] - pair["low"]) / 2, abs(pair["estimate"]), pair["p"]

            def off(df, half=half, gap=gap, p=p):
                return 2 * stats.t.sf(gap / half * stats.t.isf(0.025, df), df) - p

            error = half / stats.t.isf(0.025, optimize.brentq(off, 2, 500))
            assert pair["detectable"] == pytest.approx((stats.norm.isf(0.05 / 3 / 2) + POWER) * error, rel=1e-4)

    def test_the_draws_that_it_needs_grow_with_the_square(self):
        verdict = find(judged(settings={"source_margin": 0.0005}), "source")
        assert verdict.outcome == "refused"
        assert f"it needs about {math.ceil(5 * (verdict.detectable / 0.0005) ** 2)}" in verdict.reason


class TestNoise:
    def test_a_margin_of_twice_the_noise_holds_and_less_is_refused_unless_it_fails_beyond_it(self):
        def verdict(outcome, margin, estimate):
            return Verdict("regression", "m", outcome, "", estimate=estimate, margin=margin)

        against = gates_controls.against_floor
        assert against(verdict("pass", 0.06, 0.0), 0.03).outcome == "pass"
        assert against(verdict("pass", 0.05, 0.0), 0.03).outcome == "refused"
        assert against(verdict("fail", 0.04, 0.05), 0.03).outcome == "refused"
        assert against(verdict("fail", 0.04, 0.08), 0.03).outcome == "fail"

    def test_the_floor_is_the_far_end_of_the_interval_and_the_largest_of_a_model(self):
        """Documents that another batch size moves by .004 and .002 in turn."""
        manifest, records = simulate(WORLD)
        group = make_groups(manifest, records)[1]
        twin = next(iter(group.records.values()))
        settings, base = Settings.read(None), {"gate": "noise_floor", "subject": "x", "records": ()}
        floors = []
        for size in (1, 2):
            moved = {}
            for name, s in twin.nll.items():
                each = size * np.resize([0.002, 0.004], len(s.nll))
                moved[name] = dataclasses.replace(s, nll=list(np.add(s.nll, each * s.tokens)))
            found = gates_controls._noise_floor(
                base, group, twin, dataclasses.replace(twin, nll=moved), "loss", settings
            )
            n = len(group.documents)
            error = size * np.std([0.002, 0.004] * (n // 2), ddof=1) / math.sqrt(n)
            assert found.estimate == pytest.approx(0.003 * size)
            assert found.margin == pytest.approx(0.01)  # half the smallest
            assert found.details["floor"] == pytest.approx(0.003 * size + stats.t.isf(0.05, n - 1) * error)
            assert found.p == pytest.approx(stats.t.sf((0.01 - 0.003 * size) / error, n - 1), abs=1e-12)
            floors.append(found)
        control = SimpleNamespace(subject="x", group=group)
        for order in (floors, floors[::-1]):
            top = gates_controls.floors(order, [control])
            assert top == {(group.name, "nats a token"): floors[1].details["floor"]}

    def test_answers_lost_in_another_batch_size_are_above_zero(self):
        manifest, records = simulate(TASKS)
        (group,) = make_groups(manifest, records)
        twin = next(r for r in group.records.values() if 1 in r.tasks["piqa"].correct)
        lost = list(twin.tasks["piqa"].correct)
        lost[lost.index(1)] = 0
        again = dataclasses.replace(
            twin, tasks={**twin.tasks, "piqa": dataclasses.replace(twin.tasks["piqa"], correct=lost)}
        )
        assert gates_controls._differences(group, twin, again, "accuracy").sum() == 1
