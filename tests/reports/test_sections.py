"""Parts of the report that need certain records: they appear when the records are there, and say what is true."""

from __future__ import annotations

import base64
import copy
import csv
import dataclasses
import gzip
import io
import math
import re

import numpy as np
import pytest
from scipy import stats

import reports
from benchmarks import gates
from benchmarks.controls import with_controls
from fixtures.records import Case, EvaluationSpec, Record
from reports import components, curves, likeness, statistics, task_strips
from reports.context import gather
from reports.costs import costs
from reports.groups import make_groups
from reports.tables import make_tables
from tests.simulate import World, _record, digest, simulate

WORLD = World(methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "code", "news"), documents=12)


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def table(world=WORLD, change=None):
    manifest, records = simulate(world)
    for record in records:
        if change and record.case["draw"]:
            change(record)
    return make_tables(manifest, records, [])[1][0]


class TestComponents:
    def test_each_cause_is_found_again(self):
        truth = {"draw_sd": 0.02, "noise": 0.1, "source_effect": {"web": -0.05, "code": 0.05}}
        world = dataclasses.replace(WORLD, methods=("wanda-0.5",), seeds=60, documents=60, **truth)
        part = components.components(table(world))[0]
        assert part.draw == pytest.approx(0.02, rel=0.15)
        assert part.draw_low < 0.02 < part.draw_high
        assert part.residual == pytest.approx(0.1 / math.sqrt(120), rel=0.05)
        assert part.items == pytest.approx(
            0.03 / math.sqrt(120), rel=0.2
        )  # the simulation's SD of a method's documents
        assert part.source == pytest.approx(0.05, rel=0.1)
        assert sum(part.share(name) for name in ("source", "draw", "items", "residual")) == pytest.approx(1)

    def test_one_draw_has_none(self):
        assert components.components(table(dataclasses.replace(WORLD, seeds=1))) == []

    def test_the_figure_has_its_numbers(self):
        drawing = components.variance_components(table())
        assert [row["method"] for row in rows(drawing.data)] == ["wanda-0.5"]
        assert float(rows(drawing.data)[0]["residual_sd"]) > 0


class TestCurves:
    SPARSITIES = dataclasses.replace(
        WORLD, methods=("rtn-w3g64", "wanda-0.3", "wanda-0.5", "wanda-0.6", "sparsegpt-0.5")
    )

    def test_three_sparsities_of_one_algorithm_make_a_curve(self):
        drawing = curves.sparsity_curves(table(self.SPARSITIES))
        found = rows(drawing.data)
        assert {row["method"] for row in found} == {"wanda"}
        assert sorted({float(row["sparsity"]) for row in found}) == [0.3, 0.5, 0.6]
        assert len(found) == 9

    def test_two_make_none(self):
        world = dataclasses.replace(WORLD, methods=("wanda-0.3", "wanda-0.5"))
        assert curves.sparsity_curves(table(world)) is None

    def test_settings_keep_curves_apart(self):
        methods = tuple(f"wanda-{s}{more}" for s in (0.3, 0.4, 0.5) for more in ("", "+br"))
        found = rows(curves.sparsity_curves(table(dataclasses.replace(WORLD, methods=methods))).data)
        assert {row["method"] for row in found} == {"wanda", "wanda+br"}

    @pytest.mark.parametrize("tagged", [False, True])
    def test_three_amounts_of_one_method_make_a_curve(self, tagged):
        manifest, records = simulate(WORLD)
        evaluation = EvaluationSpec((), WORLD.items, 0, tuple(WORLD.domains), WORLD.documents)
        for n, damage in ((4, 0.4), (64, 0.1)):
            world = dataclasses.replace(WORLD, damage={"wanda-0.5": damage})
            for source in WORLD.sources:
                case = Case(
                    "known-corpus-1m",
                    "wanda-0.5",
                    dataclasses.replace(_draw(records), source=source, n_sequences=n),
                    evaluation,
                    tag=f"n{n}" if tagged else "",  # profiles that sweep amounts tag them
                )
                record = _record(world, case, 0, 0)
                record.case["id"] += "" if tagged else f"-{n}"
                manifest["cases"].append(record.case)
                records.append(record)
        made = make_tables(manifest, records, [])[1][0]
        found = rows(curves.amount_curves(made).data)
        assert {row["method"] for row in found} == {"wanda-0.5"}
        web = {int(float(row["amount"])): float(row["mean"]) for row in found if row["source"] == "web"}
        assert sorted(web) == [1024, 4096, 16384]
        assert web[1024] > web[4096] > web[16384]
        assert curves.amount_curves(table()) is None

    def test_other_lengths_of_as_many_tokens_are_no_amounts(self):
        manifest, records = simulate(WORLD)
        for n in (8, 32, 64):
            draw = dataclasses.replace(_draw(records), n_sequences=n, sequence_length=16 * 256 // n)
            case = Case(
                "known-corpus-1m", "wanda-0.5", draw, Case.from_dict(records[0].case).evaluation, tag=f"{n}x{4096 // n}"
            )
            records.append(_record(WORLD, case, 0, 0))
            manifest["cases"].append(records[-1].case)
        assert curves.amount_curves(make_tables(manifest, records, [])[1][0]) is None


def _draw(records):
    return Case.from_dict(next(r for r in records if r.case["draw"]).case).draw


class TestSimilarity:
    @staticmethod
    def alike(record):
        effect = {"web": 0.9, "news": 0.6, "code": 0.2}[record.case["draw"]["source"]]
        record.draw["similarity"] = {"jaccard": effect, "noise": float(len(record.id) % 3)}

    def test_the_section_appears_with_the_measure_and_its_direction(self):
        world = dataclasses.replace(WORLD, source_effect={"code": 0.1, "news": 0.05})
        made = table(world, self.alike)
        found = {c.measure: c for c in likeness.correlations(made)}
        assert found["jaccard"].rho < -0.8
        assert found["jaccard"].p < 0.01
        assert (found["jaccard"].draws, found["jaccard"].sources, found["jaccard"].rho_sources) == (15, 3, -1)
        drawing = likeness.drawing(made)
        assert len(rows(drawing.data)) == 30
        assert {row["method"] for row in rows(drawing.data)} == {"wanda-0.5"}

    def test_controls_are_in_the_data_and_in_no_correlation(self):
        def alike(record):
            source = record.case["draw"]["source"]
            record.draw["similarity"] = {
                "x": {"random-tokens": 900.0, "web": 1.0, "code": 2.0}[source] + len(record.id) % 5
            }

        world = dataclasses.replace(
            WORLD, sources=("web", "code", "random-tokens"), source_effect={"random-tokens": 1.0}
        )
        made = table(world, alike)
        [found] = likeness.correlations(made)
        assert (found.draws, found.sources) == (10, 2)
        drawing = likeness.drawing(made)
        assert "Controls that are no text are in the data only." in drawing.caption
        assert sum(row["source"] == "random-tokens" for row in rows(drawing.data)) == 5

    def test_without_measures_there_is_none(self):
        assert likeness.drawing(table()) is None
        assert likeness.correlations(table()) == []

    def test_a_measure_that_is_no_number_is_left_out(self):
        made = table(change=lambda r: r.draw.update(similarity={"x": None, "y": math.nan}))
        assert likeness.correlations(made) == []

    @pytest.mark.parametrize("n", [5, 7, 12, 40])
    def test_rank_correlation_is_spearmans(self, n):
        rng = np.random.default_rng(n)
        x, y = rng.normal(size=n), rng.integers(0, 5, n)
        rho, p = statistics.rank_correlation(list(x), list(y))
        assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
        theirs = stats.permutation_test(
            (x,), lambda v: stats.spearmanr(v, y).statistic, permutation_type="pairings", n_resamples=5000,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        assert p == pytest.approx(theirs.pvalue, abs=0.03)

    def test_nothing_to_rank(self):
        assert statistics.rank_correlation([1, 2], [1, 2]) == (None, None)
        assert statistics.rank_correlation([1, 1, 1], [1, 2, 3]) == (None, None)


class TestTasks:
    def test_every_draw_of_every_task_is_there(self):
        manifest, records = simulate(dataclasses.replace(WORLD, tasks=("piqa", "arc_easy")))
        found = rows(task_strips.every_draw(make_groups(manifest, records)).data)
        assert len(found) == 2 * 15
        first = next(r for r in records if r.id == "known-corpus-1m-wanda-0.5-web-s0")
        accuracy = np.mean(first.tasks["piqa"].correct)
        key = {"task": "piqa", "source": "web", "draw": "0", "method": "wanda-0.5"}
        assert [float(r["accuracy"]) for r in found if key.items() <= r.items()] == [pytest.approx(accuracy)]

    def test_none_without_tasks_or_with_one_draw(self):
        assert task_strips.every_draw(make_groups(*simulate(WORLD))) is None
        one = dataclasses.replace(WORLD, tasks=("piqa",), seeds=1)
        assert task_strips.every_draw(make_groups(*simulate(one))) is None


class TestPage:
    def test_time_and_memory_stand_beside_their_floors(self):
        manifest, records = simulate(WORLD)
        for record in records:
            record.compression["seconds"] = {"forward": 0.5}
            record.peak_memory = 100 if record.case["draw"] is None else 250
        # One case that waited for others, in a process that had grown before: neither is the method's.
        late = next(record for record in records if record.case["method"] == "wanda-0.5")
        late.compression["seconds"], late.seconds, late.peak_memory = {"forward": 60.0}, {"compress": 90.0}, 999
        found = {cost.label: cost for cost in costs(make_groups(manifest, records))}
        cost = found["known-corpus-1m wanda-0.5"]
        assert (cost.compress, cost.forward, cost.times, cost.memory, cost.dense_memory) == (1.5, 0.5, 3.0, 250, 100)

    def test_what_was_decided_comes_first(self):
        manifest, records = simulate(
            dataclasses.replace(WORLD, models=("open", "sure"), source_effect={"code": 0.1, "news": 0.1})
        )
        for record in records:
            if record.case["model"] == "open" and record.case["draw"]:
                for k, scores in enumerate(record.nll.values()):
                    noise = np.random.default_rng([k, int(digest(record.id)[:8], 16)])
                    scores.nll = [x + t * noise.normal() for x, t in zip(scores.nll, scores.tokens, strict=True)]
        context = gather(manifest, records, gates.judge(manifest, records))
        assert [section.table.model for section in context.sections] == ["sure", "open"]
        assert context.headlines[0].lead.startswith("sure: calibrate on web")

    def test_cases_made_again_are_shown_apart_and_counted_in_no_mean(self, tmp_path):
        manifest, records = simulate(WORLD)
        control = {"methods": ["wanda-0.5"], "source": "web", "repeat": True, "batch_sizes": [4]}
        cases = with_controls({"control": [control]}, [Case.from_dict(c) for c in manifest["cases"]], False)
        manifest["cases"] = [case.to_dict() for case in cases]
        twin = next(r for r in records if r.id == "known-corpus-1m-wanda-0.5-web-s0")
        again = [Record.from_dict({**copy.deepcopy(twin.to_dict()), "case": c.to_dict()}) for c in cases if c.control]
        verdicts = gates.judge(manifest, records + again)
        text = reports.write(manifest, records + again, verdicts, tmp_path).read_text()
        assert "What the machine itself does" in text
        assert "made twice, the same bits" in text
        _, tables = make_tables(manifest, records + again, verdicts)
        assert {len(cell.values) for row in tables[0].rows for cell in row.cells.values()} == {5}

    def test_much_data_is_still_one_click_away(self, tmp_path):
        world = dataclasses.replace(
            WORLD, sources=tuple(f"a-source-with-a-long-name-{k}" for k in range(120)), seeds=12, documents=2
        )
        manifest, records = simulate(world)
        text = reports.write(manifest, records, [], tmp_path).read_text()
        packed = re.findall(r'download="([^"]+\.csv\.gz)" href="data:application/gzip;base64,([^"]+)"', text)
        assert packed
        _, data = next(p for p in packed if "every-draw" in p[0])
        assert len(rows(gzip.decompress(base64.b64decode(data)).decode())) == 2 * 120 * 12
        assert len(text) < 2_000_000

    def test_documents_passed_over_are_said(self):
        manifest, records = simulate(WORLD)
        records[9].draw["skipped_documents"] = 3
        text = reports.summary(manifest, records, [])
        assert "3 documents shorter than a window were passed over, in 1 draws" in " ".join(text.split())
