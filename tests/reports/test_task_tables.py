"""Accuracy, flips, confidence and perplexity: recomputed here from the records alone, item by item."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest

import reports
from benchmarks import gates
from fixtures.perplexity import PerplexityScores
from reports import markdown
from reports.accuracy import accuracy_table
from reports.confidence import confidence_tables
from reports.groups import make_groups
from reports.perplexities import perplexity_tables
from reports.reliability import PANELS, reliability_drawings
from tests.simulate import World, simulate

WORLD = World(methods=("rtn-w3g64", "wanda-0.5"), tasks=("arc_easy", "piqa"), items=150, seeds=3, documents=4)


def made(world=WORLD, change=None):
    manifest, records = simulate(world)
    for record in records:
        if change:
            change(record)
    return manifest, records, make_groups(manifest, records)


def draws_of(records, method, source=None):
    return [
        r
        for r in records
        if r.case["method"] == method and r.case["draw"] and source in (None, r.case["draw"]["source"])
    ]


def by_hand(scores, dense):
    """Every figure with plain loops."""
    bins = [[] for _ in range(10)]
    lost = gained = brier = nll = 0
    for right, known, p, target in zip(scores.correct, dense.correct, scores.probabilities, scores.target, strict=True):
        top = max(p)
        bins[min(9, max(0, math.ceil(top * 10) - 1))].append((top, right))
        lost += known > right
        gained += known < right
        brier += sum((q - (k == target)) ** 2 for k, q in enumerate(p))
        nll -= math.log(p[target])
    n = len(scores.correct)
    ece = sum(abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in bins) / n
    gap = sum(c - r for b in bins for c, r in b) / n
    return {"accuracy": sum(scores.correct) / n, "worse": lost / n, "better": gained / n, "ece": ece, "gap": gap,
            "brier": brier / n, "nll": nll / n}  # fmt: skip


class TestConfidence:
    def test_each_figure_is_the_mean_over_draws_of_loops_over_items(self):
        _, records, groups = made()
        dense = next(r for r in records if r.case["draw"] is None)
        [table] = confidence_tables(groups)
        held = draws_of(records, "wanda-0.5")
        for task in ("arc_easy", "piqa"):
            row = next(r for r in table.rows if (r.method, r.task) == ("wanda-0.5", task))
            figures = [by_hand(r.tasks[task], dense.tasks[task]) for r in held]
            for name in figures[0]:
                assert getattr(row, name) == pytest.approx(np.mean([f[name] for f in figures])), name
            assert row.ece_sd == pytest.approx(np.std([f["ece"] for f in figures], ddof=1))
        overall = next(r for r in table.overall if r.method == "wanda-0.5")
        each = [[by_hand(r.tasks[t], dense.tasks[t])["brier"] for t in ("arc_easy", "piqa")] for r in held]
        assert overall.brier == pytest.approx(np.mean(each))
        assert overall.brier_sd == pytest.approx(np.std(np.mean(each, axis=1), ddof=1))
        assert (overall.n, overall.draws) == (300, 9)

    def test_a_method_without_calibration_has_exactly_no_spread_and_the_dense_model_no_flips(self):
        [table] = confidence_tables(made()[2])
        rows = {r.method: r for r in table.overall}
        assert (rows["rtn-w3g64"].ece_sd, rows["rtn-w3g64"].nll_sd) == (0.0, 0.0)
        assert (rows["dense"].worse, rows["dense"].better, rows["dense"].ece_sd) == (None, None, None)

    def test_a_task_without_a_choice_has_a_loss_but_no_calibration_error(self):
        def last_word(record):
            scores = record.tasks["piqa"]
            scores.probabilities = [[row[t]] for row, t in zip(scores.probabilities, scores.target, strict=True)]
            scores.target = [0] * len(scores.target)

        _, _, groups = made(change=last_word)
        [table] = confidence_tables(groups)
        assert table.words == ["piqa"]
        rows = {(r.method, r.task): r for r in table.rows}
        word, other = rows["wanda-0.5", "piqa"], rows["wanda-0.5", "arc_easy"]
        assert (word.ece, word.brier, word.gap, word.confidence) == (None, None, None, None)
        assert word.nll > 0
        overall = next(r for r in table.overall if r.method == "wanda-0.5")
        assert overall.ece == other.ece
        assert overall.gap == other.gap
        assert overall.accuracy == pytest.approx((word.accuracy + other.accuracy) / 2)
        assert "over arc_easy, draws pooled" in reliability_drawings(groups)[0].caption

    def test_flips_are_of_the_same_items_or_none(self):
        def others(record):
            if record.case["draw"] is None:
                record.tasks["piqa"].prompt_hash = ["x", *record.tasks["piqa"].prompt_hash[1:]]

        rows = {(r.method, r.task): r for r in confidence_tables(made(change=others)[2])[0].rows}
        assert rows["wanda-0.5", "piqa"].worse is None
        assert rows["wanda-0.5", "arc_easy"].worse > 0

    def test_without_a_dense_record_nothing_is_called_uninformative(self):
        manifest, records = simulate(WORLD)
        [table] = confidence_tables(make_groups(manifest, records[1:]))
        assert (table.compared, table.uninformative) == (False, [])

    def test_every_method_has_its_panel(self):
        methods = tuple(f"wanda-{k / 100:g}" for k in range(20, 20 + PANELS + 3))
        world = dataclasses.replace(WORLD, methods=methods, seeds=1, sources=("web",), documents=2)
        drawings = reliability_drawings(made(world)[2])
        assert [d.more for d in drawings] == [False, True]
        for drawing in drawings:
            found = list(csv.DictReader(io.StringIO(drawing.data)))
            assert list(dict.fromkeys(r["method"] for r in found)) == ["dense", *methods]
            assert sum(int(r["items"]) for r in found if r["method"] == "dense") == 300
        shown = [m for d in drawings for m in methods if f">{m}</text>" in d.svg or f">{m}<" in d.svg]
        assert shown == list(methods)


class TestAccuracy:
    def test_mean_sd_range_and_ends(self):
        _, records, groups = made()
        table = accuracy_table(groups)
        row = table.rows[1]
        truth = {
            s: [np.mean([np.mean(t.correct) for t in r.tasks.values()]) for r in draws_of(records, "wanda-0.5", s)]
            for s in WORLD.sources
        }
        for source, values in truth.items():
            assert row.draws[source].tolist() == pytest.approx(values)
            assert row.sd_of(source) == pytest.approx(np.std(values, ddof=1))
        assert row.sd == pytest.approx(math.sqrt(np.mean([np.var(v, ddof=1) for v in truth.values()])))
        assert row.range == pytest.approx(max(max(v) - min(v) for v in truth.values()))
        means = {s: np.mean(v) for s, v in truth.items()}
        assert row.ends == (max(means, key=means.get), min(means, key=means.get))
        assert (table.rows[0].ends, table.rows[0].sd) == (None, 0.0)
        assert table.items == 300

    def test_tasks_have_equal_weight_however_long(self):
        def shorter(record):
            scores = record.tasks["piqa"]
            for name in ("correct", "target", "probabilities", "loglikelihoods", "document_hash", "prompt_hash"):
                setattr(scores, name, getattr(scores, name)[:10])

        _, records, groups = made(change=shorter)
        dense = records[0]
        expected = (np.mean(dense.tasks["arc_easy"].correct) + np.mean(dense.tasks["piqa"].correct)) / 2
        assert accuracy_table(groups).dense == pytest.approx(expected)

    def test_none_without_tasks(self):
        assert accuracy_table(made(dataclasses.replace(WORLD, tasks=()))[2]) is None


def with_perplexity(infinite=False):
    def change(record):
        n = np.random.default_rng(len(record.id)).integers(20, 60, 5)
        nll = [float(3 * k + len(record.case["method"]) % 7) for k in n]
        nll = [1e6 * x for x in nll] if infinite else nll
        record.perplexity = {
            "wikitext": PerplexityScores(list("abcde"), nll, n.tolist(), (n // 2).tolist(), (4 * n).tolist())
        }

    return change


class TestPerplexity:
    def test_each_of_the_numbers_by_hand(self):
        _, records, groups = made(change=with_perplexity())
        [table] = perplexity_tables(groups)
        row = next(r for r in table.rows if (r.method, r.source) == ("wanda-0.5", "code"))
        found = []
        for record in draws_of(records, "wanda-0.5", "code"):
            s = record.perplexity["wikitext"]
            texts = [math.exp(a / b) for a, b in zip(s.nll, s.tokens, strict=True)]
            found.append([math.exp(sum(s.nll) / sum(s.words)), math.exp(sum(s.nll) / sum(s.bytes)),
                          math.exp(sum(s.nll) / sum(s.tokens)), sum(texts) / 5])  # fmt: skip
        assert list(row.mean.values()) == pytest.approx(np.mean(found, axis=0).tolist())
        assert list(row.sd.values()) == pytest.approx(np.std(found, axis=0, ddof=1).tolist())
        assert list(row.mean) == ["word_perplexity", "byte_perplexity", "perplexity", "mean_perplexity"]
        assert [(r.method, r.source) for r in table.rows] == [
            ("dense", ""), ("rtn-w3g64", ""), ("wanda-0.5", "web"), ("wanda-0.5", "code"), ("wanda-0.5", "news"),
        ]  # fmt: skip

    @pytest.mark.parametrize("infinite", [False, True])
    def test_the_page_the_markdown_and_the_json_have_them(self, tmp_path, infinite):
        manifest, records, groups = made(change=with_perplexity(infinite))
        page = reports.write(manifest, records, gates.judge(manifest, records), tmp_path).read_text()
        assert "known-corpus-1m on wikitext" in page
        assert "arithmetic mean over texts" in page
        assert ("infinite" in page) == infinite
        text = (tmp_path / "report.md").read_text()
        assert "## known-corpus-1m on wikitext: perplexity" in text
        assert "## known-corpus-1m: mean accuracy of 2 tasks, %" in text
        assert "## known-corpus-1m: changed answers and confidence" in text
        held = json.loads((tmp_path / "report.json").read_text())["perplexities"]
        assert len(held) == len(perplexity_tables(groups)[0].rows)
        assert (held[0]["mean"]["perplexity"] is None) == infinite

    def test_none_without_a_text(self):
        assert perplexity_tables(made()[2]) == []


def test_the_markdown_has_the_figures_of_the_tables():
    _, _, groups = made()
    accuracy, [confidence] = accuracy_table(groups), confidence_tables(groups)
    lines = markdown.accuracy_markdown(accuracy).splitlines()
    row = next(line for line in lines if line.startswith("| wanda-0.5"))
    web = accuracy.rows[1].draws["web"]
    assert row.split(" | ")[1] == f"{100 * web.mean():.1f} ±{100 * web.std(ddof=1):.2f}"
    row = next(line for line in markdown.confidence_markdown(confidence).splitlines() if line.startswith("| wanda-0.5"))
    overall = next(r for r in confidence.overall if r.method == "wanda-0.5")
    assert row.split(" | ")[6] == f"{100 * overall.ece:.1f} ±{100 * overall.ece_sd:.1f}"
