"""Claims by hand, continued: what chooses is not what is read, which way is positive, and what pairs cost."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.claims import contrasts, dispersion, distilled_ratios, mechanism, methodwise, repair
from benchmarks.claims.world import World
from reports import choice_confidence
from tests.helpers_claims import Truth, records
from tests.helpers_known_truth import KNOWN

LEVEL = {"wanda-0.6": 0.2, "ria-0.6": 0.8, "magnitude-0.6": 1.0}


class TestHeldApart:
    """What chooses must not be what is read."""

    def world(self):
        """Sources lie .3 nats apart on even draws, and nowhere on odd ones."""
        sources = ("a", "b", "c")

        def shift(case):
            return 0.0 if case.draw.seed % 2 else 0.3 * sources.index(case.draw.source)

        kind = {**KNOWN, "draw_sd": 0.0, "noise": 1e-6, "sources": sources, "seeds": 6}
        return World(records(Truth(**kind, methods=tuple(LEVEL), damage=LEVEL, shift=shift)))

    def test_the_best_method_on_its_worst_source_is_chosen_on_other_draws(self):
        (cell,) = methodwise.bad_data_cancels(self.world(), {"outcomes": ["nll"]})
        assert cell.detail == "wanda-0.6 on c minus ria-0.6 on a"
        assert cell.evidence.estimate == pytest.approx(0.2 - 0.8, abs=1e-3)

    def test_the_worst_source_against_magnitude_is_chosen_on_other_draws(self):
        (cell,) = methodwise.worse_than_magnitude(self.world(), {"targets": ["0.6"]})
        assert "wanda-0.6 on c" in cell.detail
        assert cell.evidence.estimate == pytest.approx(0.2 - 1.0, abs=1e-3)

    def test_no_tasks_own_items_choose_its_temperature_or_its_mask(self, monkeypatch):
        seen = []

        def asked(record, tasks):
            seen.append(tuple(tasks))
            return 1.0

        tasks = ["arc_easy", "hellaswag", "piqa"]
        record = records(Truth(seeds=1, methods=("wanda-0.5",), tasks=tasks))[1]
        monkeypatch.setattr(repair, "fit_temperature", asked)
        monkeypatch.setattr(choice_confidence, "fit_temperature", asked)
        repair.ece_honest(record, tasks, {"mask0.3": record})
        choice_confidence.across_tasks(record, tasks)
        others = [("hellaswag", "piqa"), ("arc_easy", "piqa"), ("arc_easy", "hellaswag")]
        assert seen == [pair for pair in others for _ in range(2)] + others

    def test_a_mask_is_chosen_by_the_error_on_the_other_tasks(self, monkeypatch):
        """A hot temperature is best on two tasks and a cold one on the third, which gets what the two want."""
        tasks = ["a", "b", "c"]
        records_ = {heat: SimpleNamespace(heat=heat, tasks=dict.fromkeys(tasks)) for heat in (1.0, 9.0)}
        for name in tasks:
            records_[1.0].tasks[name] = name
        monkeypatch.setattr(repair, "fit_temperature", lambda record, tasks: record.heat)
        errors = {("a", 9.0): 0.1, ("b", 9.0): 0.1, ("c", 9.0): 0.6, ("a", 1.0): 0.2, ("b", 1.0): 0.2, ("c", 1.0): 0.0}
        monkeypatch.setattr(repair, "at_temperature", lambda task, t: {"ece": errors[task, t]})
        # On b and c together the cold one is less, and so on a and c; on a and b the hot one.
        expected = 100 * np.mean([0.2, 0.2, 0.6])
        assert repair.ece_honest(records_[1.0], tasks, {"mask0.3": records_[9.0]}) == pytest.approx(expected)

    def test_a_sets_own_best_ratio_is_that_of_the_other_sets(self, monkeypatch):
        """Of errors (0, 1), (0, 1), (5, 0) each set's others prefer the second, the second and the first ratio."""

        def named(found, unit, margin, detail, name):
            return name, found

        tables = {1: [[0.0, 1.0]] * 3, 10: [[0.0, 1.0], [0.0, 1.0], [5.0, 0.0]]}
        cells = []
        for ipc, table in tables.items():
            first = {"mdt": 0, "model": "m", "ipc": ipc}
            cells.append(SimpleNamespace(first=first, name=f"ipc{ipc}", cut=False, table=np.array(table), cell=named))
        monkeypatch.setattr(distilled_ratios, "distilled", lambda world: cells)
        monkeypatch.setattr(distilled_ratios, "_ratios", lambda sets: sets.table)
        monkeypatch.setattr(distilled_ratios, "decided", list)
        found = dict(distilled_ratios.one_ratio(None, {}))
        assert found["ratio of m ipc1 used on ipc10"].estimate == pytest.approx(np.mean([0 - 1, 0 - 1, 5 - 5]))


class TestDirections:
    def test_text_that_is_more_alike_and_does_less_damage_is_in_the_expected_direction(self):
        sources = tuple(f"s{k}" for k in range(6))
        every = records(Truth(**KNOWN, methods=("wanda-0.5",), sources=sources, seeds=2, source=_rising(sources)))
        for record in every:
            if record.case["draw"]:
                record.draw["similarity"] = {"jaccard-3": -float(record.case["draw"]["source"][1:])}
        (cell,) = contrasts.similarity_order(World(every), {"measures": ["jaccard-3"], "outcomes": ["nll"]})
        assert cell.evidence.estimate == pytest.approx(1)

    def test_masks_that_tie_with_the_jackknife_over_draws(self):
        """Three draws: each left out leaves one pair, so that the three differences are those of the pairs."""
        pairs = {(0, 1): [1, 1, 0, 0, 1], (0, 2): [1, 0, 0, 0, 0], (1, 2): [1, 1, 0, 1, 0]}
        differ, tied = np.zeros((3, 3, 5), bool), np.array([True, True, False, False, False])
        for (i, j), row in pairs.items():
            differ[i, j] = differ[j, i] = row
        gaps = [np.mean(row[:2]) - np.mean(row[2:]) for row in pairs.values()]
        each = np.mean(list(pairs.values()), axis=0)
        found = mechanism._tied_minus_untied(differ, tied)
        of_draws = 2 / 3 * sum((gap - np.mean(gaps)) ** 2 for gap in gaps)
        of_groups = np.var(each[:2], ddof=1) / 2 + np.var(each[2:], ddof=1) / 3
        assert found.estimate == pytest.approx(np.mean(gaps))
        assert found.error**2 == pytest.approx(of_draws + of_groups)

    def test_sources_cost_a_correlation_within_them_their_degrees_of_freedom(self):
        """Four draws of each of three sources are nine units."""
        truth = Truth(methods=("wanda-0.5",), tasks=("piqa",), sources=("a", "b", "c"), seeds=4, draw_sd=0.2)
        (cell,) = dispersion.hidden_by_perplexity(World(records(truth)), {})
        assert cell.evidence.found.units == 12 - 3


def _rising(sources):
    return {source: 0.1 * k for k, source in enumerate(sources)}
