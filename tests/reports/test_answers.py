"""The answer says what its gates say, why there is none, and mixes neither amounts nor evaluations."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from benchmarks import gates
from fixtures.records import Case, EvaluationSpec, Record
from reports.answer import answers
from reports.context import gather
from reports.headline import headlines
from reports.tables import cell, make_tables
from tests.simulate import World, simulate

WORLD = World(source_effect={"code": 0.03, "news": 0.015}, documents=12)


def judged(world=WORLD, **change):
    """Manifest, records and verdicts, those of the source gate changed."""
    manifest, records = simulate(world)
    verdicts = gates.judge(manifest, records)
    return manifest, records, [dataclasses.replace(v, **change) if v.gate == "source" else v for v in verdicts]


def first(manifest, records, verdicts):
    tables = make_tables(manifest, records, verdicts)[1]
    return headlines(tables)[0], answers(tables)


class TestGates:
    def test_a_refused_gate_confirms_no_source(self):
        line, rows = first(*judged(outcome="refused", reason="another batch size alone moves it by 0.05"))
        assert line.lead == "known-corpus-1m: web measured best, but no gate confirms it."
        assert "every source gate is refused: another batch size alone moves it by 0.05." in line.rest
        assert {(row.sure, row.gate) for row in rows} == {("refused", "refused")}
        assert all(row.words.endswith("its gate is refused") for row in rows)

    def test_an_inconclusive_gate_says_that_more_draws_decide(self):
        line, rows = first(*judged(outcome="inconclusive"))
        assert "Every source gate is inconclusive: more draws decide." in line.rest
        assert all("more draws decide" in row.words for row in rows)

    def test_a_pass_has_no_reservation(self):
        line, rows = first(*judged(outcome="pass"))
        assert line.lead == "known-corpus-1m: calibrate on web."
        assert "refused" not in line.rest
        assert "inconclusive" not in line.rest
        assert {row.sure for row in rows} == {"yes"}

    def test_one_refused_of_two_is_counted(self):
        manifest, records, verdicts = judged(outcome="pass")
        k = next(k for k, v in enumerate(verdicts) if v.gate == "source")
        verdicts[k] = dataclasses.replace(verdicts[k], outcome="refused", reason="noise")
        line, _ = first(manifest, records, verdicts)
        assert line.lead == "known-corpus-1m: calibrate on web."
        assert "1 of 2 source gates are refused: noise." in line.rest

    def test_the_price_is_of_sources_that_are_told_apart(self):
        line, _ = first(*judged(dataclasses.replace(WORLD, source_effect={}, draw_sd=0.01)))
        assert "The sources lie" in line.rest
        assert "The wrong source costs" not in line.rest


class TestNoAnswer:
    def test_missing_records_are_the_reason_and_not_the_draws(self):
        manifest, records = simulate(WORLD)
        some = [r for r in records if r.case["draw"] is None or r.case["draw"]["seed"] < 4]
        line, rows = first(manifest, some, gates.judge(manifest, some))
        assert line.lead == "These records do not say which source to use."
        assert "too few records to name a source. Its source gates lack 6 of 32 planned records." in line.rest
        assert "Lowest mean so far, not judged: web, for 2 of 2 methods." in line.rest
        assert rows[0].words.startswith("3 of 16 records are missing; lowest mean so far: web (")

    def test_records_that_no_gate_judged_are_not_short_of_draws(self):
        manifest, records = simulate(WORLD)
        line, rows = first(manifest, records, [])
        assert "no source gate was judged" in line.rest
        assert "two draws" not in line.rest
        assert rows[0].words.startswith("no gate compared the sources")

    def test_too_few_draws_are_said(self):
        manifest, records = simulate(dataclasses.replace(WORLD, seeds=1))
        line, rows = first(manifest, records, gates.judge(manifest, records))
        assert "That takes two sources with two draws each, better five" in line.rest
        assert "not judged" not in line.rest  # one draw ranks nothing
        assert rows[0].words.startswith("too few draws")
        assert rows[0].draws == "unknown: one draw a source"

    def test_one_source_is_not_short_of_draws(self):
        manifest, records = simulate(dataclasses.replace(WORLD, sources=("web",)))
        line, rows = first(manifest, records, gates.judge(manifest, records))
        assert line.rest.startswith("known-corpus-1m: one source, nothing to compare it with.")
        assert rows[0].words == "one source: there is nothing to compare it with"
        assert rows[0].draws.startswith("±")

    def test_without_a_record_there_is_no_answer_yet(self):
        manifest, _ = simulate(WORLD)
        assert headlines(make_tables(manifest, [], [])[1])[0].lead == "No answer yet."


def again(manifest, records, change, damage=1.0):
    """The same cases once more, with another tag, draw or evaluation."""
    for record in [r for r in records if r.case["draw"] or "evaluation" in change]:
        case = dataclasses.replace(Case.from_dict(record.case), **change)
        made = Record.from_dict({**copy.deepcopy(record.to_dict()), "case": case.to_dict()})
        for scores in made.nll.values():
            scores.nll = [x + damage * t for x, t in zip(scores.nll, scores.tokens, strict=True)]
        manifest["cases"].append(made.case)
        records.append(made)


class TestSettings:
    def test_another_amount_has_its_own_rows_and_does_not_touch_the_answer(self):
        manifest, records = simulate(WORLD)
        line, alone = first(manifest, records, gates.judge(manifest, records))
        again(manifest, records, {"tag": "n72"})
        both, rows = first(manifest, records, gates.judge(manifest, records))
        assert both == line
        assert [row.setting for row in rows] == ["", "", "n72", "n72"]
        assert [dataclasses.replace(row, method="") for row in rows[:2]] == [
            dataclasses.replace(row, method="") for row in alone
        ]
        section = gather(manifest, records, gates.judge(manifest, records)).sections[0]
        assert [setting for setting, *_ in section.blocks] == ["", "n72"]
        assert section.blocks[1][2] == "calibrate on web."
        assert "n72" not in section.heat[1].caption

    def test_other_items_are_another_table_with_its_own_dense_model(self):
        world = dataclasses.replace(WORLD, tasks=("piqa",))
        manifest, records = simulate(world)
        other = EvaluationSpec(("piqa",), None, 0, tuple(WORLD.domains), WORLD.documents)
        again(manifest, records, {"tag": "all-items", "evaluation": other}, damage=1.0)
        groups, tables = make_tables(manifest, records, gates.judge(manifest, records))
        assert {t.model for t in tables} == {"known-corpus-1m", "known-corpus-1m all-items"}
        names = [d.name for d in gather(manifest, records, []).dispersion]
        assert names == ["known-corpus-1m-tasks-every-draw", "known-corpus-1m all-items-tasks-every-draw"]
        dense = {t.model: t.dense for t in tables if t.outcome == "loss"}
        assert dense["known-corpus-1m all-items"] == pytest.approx(dense["known-corpus-1m"] + 1)
        assert {g.method_name for g in groups} == {"rtn-w3g64", "wanda-0.5", "gptq-w3g64"}
        assert groups[-1].label == "known-corpus-1m gptq-w3g64 all-items"  # gates and baselines know it by that

    def test_an_evaluation_without_a_word_of_its_own_is_named_by_what_differs(self):
        manifest, records = simulate(WORLD)
        again(manifest, records, {"evaluation": EvaluationSpec((), 7, 0, tuple(WORLD.domains), WORLD.documents)})
        for k, record in enumerate(records):
            record.case["id"] = manifest["cases"][k]["id"] = f"case-{k}"
        assert {t.model for t in make_tables(manifest, records, [])[1]} == {
            "known-corpus-1m", "known-corpus-1m 7-items",
        }  # fmt: skip

    @pytest.mark.parametrize("answered", ["plain", "other"])
    def test_a_model_without_an_answer_says_so_although_its_other_items_have_one(self, answered):
        manifest, records = simulate(WORLD)
        other = EvaluationSpec((), None, 0, tuple(WORLD.domains), WORLD.documents)
        again(manifest, records, {"tag": "all-items", "evaluation": other})
        held = [r for r in records if r.case["method"] in ("dense", "wanda-0.5")]
        silent = "all-items" if answered == "plain" else ""
        left = [r for r in held if not (r.case["draw"] and r.case["tag"] == silent and r.case["draw"]["seed"] == 0)]
        lines = [line.lead for line in headlines(make_tables(manifest, left, gates.judge(manifest, left))[1])]
        if answered == "plain":
            assert lines == ["known-corpus-1m: calibrate on web."]
        else:
            assert lines == [
                "known-corpus-1m all-items: calibrate on web.", "known-corpus-1m: too few records to name a source.",
            ]  # fmt: skip

    def test_a_verdict_on_other_items_is_not_taken_for_this_one(self):
        manifest, records = simulate(WORLD)
        again(manifest, records, {"evaluation": EvaluationSpec((), 7, 0, tuple(WORLD.domains), WORLD.documents)})
        later = records[len(records) // 2 :]
        for k, record in enumerate(records):
            record.case["id"] = manifest["cases"][k]["id"] = f"case-{k}"
        for record in later:  # there, code is by far the best
            if record.case["draw"] and record.case["draw"]["source"] == "code" and record.case["method"] != "rtn-w3g64":
                for scores in record.nll.values():
                    scores.nll = [x - t for x, t in zip(scores.nll, scores.tokens, strict=True)]
        verdicts = gates.judge(manifest, records)
        assert len({v.id for v in verdicts}) == len(verdicts)
        groups, tables = make_tables(manifest, records, verdicts)
        assert {t.model: {row.best for row in t.rows} - {None} for t in tables} == {
            "known-corpus-1m": {"web"}, "known-corpus-1m 7-items": {"code"},
        }  # fmt: skip
        assert [g.label for g in groups][:2] == ["known-corpus-1m rtn-w3g64", "known-corpus-1m wanda-0.5"]

    def test_the_usual_amount_is_no_setting_even_where_a_label_has_it(self):
        manifest, records = simulate(WORLD)
        held = [r for r in records if r.case["method"] == "wanda-0.5"][:1]
        draw = dataclasses.replace(Case.from_dict(held[0].case).draw, n_sequences=4)
        case = dataclasses.replace(Case.from_dict(held[0].case), draw=draw)
        made = Record.from_dict({**copy.deepcopy(held[0].to_dict()), "case": {**case.to_dict(), "id": "small"}})
        manifest["cases"].append(made.case)
        groups, [table] = make_tables(manifest, [*records, made], [])
        assert [g.label.split(" ", 1)[1] for g in groups] == [
            "rtn-w3g64", "wanda-0.5 16x256", "gptq-w3g64", "wanda-0.5 4x256",
        ]  # fmt: skip
        assert [row.group.method_name for row in table.held] == [
            "rtn-w3g64", "wanda-0.5", "gptq-w3g64", "wanda-0.5 4x256",
        ]  # fmt: skip

    def test_what_all_cases_share_is_said_once(self):
        manifest, records = simulate(WORLD)
        for case, record in zip(manifest["cases"], records, strict=True):
            case |= {"dtype": "bfloat16", "device": "cuda"}
            record.case = case
        context = gather(manifest, records, gates.judge(manifest, records))
        assert context.common == ("bfloat16", "cuda")
        assert context.sections[0].table.rows[0].group.method_name == "rtn-w3g64"
        assert context.groups[0].label == "known-corpus-1m rtn-w3g64 bfloat16 cuda"
        assert context.short("known-corpus-1m wanda-0.5 bfloat16 cuda accuracy") == "known-corpus-1m wanda-0.5 accuracy"

    def test_the_domain_map_compares_the_same_methods_for_every_source(self):
        world = dataclasses.replace(WORLD, methods=("wanda-0.5", "gptq-w3g64"), damage={"gptq-w3g64": 5.0})
        manifest, records = simulate(world)
        gone = {r.id for r in records if r.case["method"] == "gptq-w3g64" and r.case["draw"]["source"] == "web"}
        manifest["cases"] = [c for c in manifest["cases"] if c["id"] not in gone]
        section = gather(manifest, [r for r in records if r.id not in gone], []).sections[0]
        shown = section.heat[1]
        assert "wanda-0.5" in shown.caption
        assert "gptq" not in shown.caption
        assert max(abs(float(q.title)) for _, squares in shown.rows for q in squares) < 0.1


def test_equal_draws_have_one_mean_however_many_they_are():
    cells = [cell("web", np.full((1, draws), 0.1045)) for draws in range(1, 12)]  # 10.45 points: half way between two
    assert {(one.mean, one.sd) for one in cells[1:]} == {(0.1045, 0.0)}
    assert cells[0].mean == 0.1045
