"""From records to the numbers of a report: each by hand on a few records whose figures are round."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record, TaskScores, Verdict
from reports.accuracy import AccuracyRow, mean_accuracy
from reports.amounts import _lines
from reports.answer import _told
from reports.comparing import _group
from reports.components import Components, of_row
from reports.groups import Group, accuracy_outcome, chosen, is_informative, loss_outcome, make_groups
from reports.likeness import correlations
from reports.perplexities import _sd
from reports.tables import Row, Table, cell, make_tables

SPEC = EvaluationSpec(tasks=("piqa",), domains=("alpaca",), documents=2)


def scores(correct, metric="acc", norm=None, chance=0.5, majority=0.5):
    n = len(correct)
    rows = [f"{k}" for k in range(n)]
    return TaskScores(metric, rows, rows, correct, norm, [[0.0, 0.0]] * n, [[0.5, 0.5]] * n, [0] * n, chance, majority)


def made(case, nll=(10.0, 40.0), tokens=(10, 20), correct=(1,) * 20, **keys):
    return Record(
        case=case.to_dict(),
        keys={"model_hash": "m", "record": case.id, **keys},
        nll={"alpaca": DomainScores(["a", "b"], list(nll), list(tokens))},
        tasks={"piqa": scores(list(correct))},
    )


def run(draws, dense=None, method="wanda-0.5"):
    """The group of some (source, seed, record settings), as it is planned."""
    plan = [Case("m", "dense", None, SPEC), *(Case("m", method, DrawSpec(s, k, 4, 8), SPEC) for s, k, _ in draws)]
    records = [
        made(plan[0], **(dense or {})),
        *(made(c, **how) for c, (_, _, how) in zip(plan[1:], draws, strict=True)),
    ]
    return {"cases": [case.to_dict() for case in plan], "profile": "x"}, records


def group(draws, **options) -> Group:
    (found,) = make_groups(*run(draws, **options))
    return found


class TestGroup:
    def test_loss_is_nats_a_token_of_each_document_above_the_dense_models(self):
        found = group([("web", 0, {"nll": (15.0, 42.0)})])
        assert found.dense_loss.tolist() == [1.0, 2.0]
        np.testing.assert_allclose(loss_outcome(found).values["web"], [[0.5], [0.1]])

    def test_draws_come_in_the_order_of_their_seeds_whatever_the_plan_says(self):
        found = group([("web", seed, {"nll": (10.0 * seed, 40.0)}) for seed in (2, 0, 1)])
        assert found.loss("web")[0].tolist() == [0.0, 1.0, 2.0]

    @pytest.mark.parametrize("other", [{"model_hash": "n"}, {"tokens": (10, 21)}])
    def test_a_draw_of_other_files_or_tokens_has_no_damage(self, other):
        with pytest.raises(ValueError, match=r"different files|different tokens"):
            loss_outcome(group([("web", 0, {}), ("web", 1, other)]))

    def test_a_domain_is_judged_up_to_two_nats_above_the_best(self):
        case = Case("m", "dense", None, SPEC)
        for nats, judged in ((2.0, True), (2.25, False)):
            dense = dataclasses.replace(made(case), nll={
                "alpaca": DomainScores(["a"], [8.0], [8]), "code": DomainScores(["c"], [8.0 + 8 * nats], [8]),
            })  # fmt: skip
            found = Group("m wanda-0.5", "m", "wanda-0.5", [], {}, dense)
            assert ("code" not in found.far_domains) == judged

    def test_a_batch_size_has_its_own_dense_model_and_a_bos_its_own_group(self):
        """Slices are how a source was dealt, not how a draw is used: they make no group."""
        cases = [Case("m", "dense", None, SPEC, batch_size=size) for size in (16, 4)]
        draw = DrawSpec("web", 0, 4, 8)
        cases += [Case("m", "wanda-0.5", draw, SPEC, batch_size=size) for size in (16, 4)]
        cases += [Case("m", "wanda-0.5", dataclasses.replace(draw, bos=True), SPEC)]
        cases += [Case("m", "wanda-0.5", dataclasses.replace(draw, seed=1, slices=20), SPEC)]
        plan = [{**case.to_dict(), "id": f"c{k}"} for k, case in enumerate(cases)]
        found = make_groups({"cases": plan}, [])
        assert [(len(one.cases), one.dense_id) for one in found] == [(2, "c0"), (1, "c1"), (1, "c0")]


class TestAnswers:
    @pytest.mark.parametrize(
        ("right", "chance", "majority", "expected"),
        [(16, 0.5, 0.5, True), (13, 0.5, 0.5, False), (16, 0.5, 0.6, False), (16, 0.6, 0.5, False)],
    )
    def test_informative_is_surely_above_chance_and_the_most_frequent_answer(self, right, chance, majority, expected):
        """Wilson's lower bound of 16 of 20 is .584, of 13 it is .433."""
        dense = dataclasses.replace(made(Case("m", "dense", None, SPEC)))
        dense.tasks["piqa"] = scores([1] * right + [0] * (20 - right), chance=chance, majority=majority)
        assert is_informative(dense, "piqa") is expected

    def test_the_accuracy_that_counts_is_the_one_that_the_task_names(self):
        both = {"correct": [1, 0], "norm": [0, 1]}
        assert chosen(scores(**both)) == [1, 0]
        assert chosen(scores(**both, metric="acc_norm")) == [0, 1]
        assert chosen(scores([1, 0], metric="acc_norm")) == [1, 0]

    def test_lost_answers_are_above_zero_and_come_first_in_flips(self):
        right, dense = [1] * 20, [1] * 19 + [0]
        found = group([("web", 0, {"correct": [0, 0, *right[2:]]})], dense={"correct": dense})
        outcome = accuracy_outcome(found)
        assert outcome.values["web"][:, 0].tolist() == [1, 1, *[0] * 17, -1]
        assert outcome.flips() == (2, 1)

    def test_a_dense_model_that_was_asked_otherwise_is_no_reference(self):
        found = group([("web", 0, {})])
        found.dense.tasks["piqa"].prompt_hash = ["other", *found.dense.tasks["piqa"].prompt_hash[1:]]
        with pytest.raises(ValueError, match="same items and prompts"):
            accuracy_outcome(found)

    def test_every_task_has_the_same_weight(self):
        record = made(Case("m", "dense", None, SPEC))
        record.tasks = {"piqa": scores([1] * 8), "rte": scores([0, 0])}
        assert mean_accuracy(record, ["piqa", "rte"]) == 0.5

    def test_the_row_of_the_papers_table(self):
        row = AccuracyRow(
            "wanda", {"web": np.array([0.5, 0.6]), "code": np.array([0.8, 0.84]), "ellipsis": np.array([0.1])}, True
        )
        assert row.range == pytest.approx(0.1)  # of two draws of one source, not of two sources
        assert row.ends == ("code", "web")
        assert row.sd == pytest.approx(math.sqrt((0.005 + 0.0008) / 2))


class TestTable:
    def test_a_cell_has_the_mean_and_the_sd_of_its_draws(self):
        found = cell("web", np.array([[1.0, 2.0, 6.0], [1.0, 4.0, 4.0]]))
        assert (found.values, found.mean) == ((1.0, 3.0, 5.0), 3.0)
        assert found.sd == pytest.approx(2.0)

    def test_the_sd_of_draws_is_pooled_by_degrees_of_freedom(self):
        cells = {"web": cell("web", np.array([[0.0, 2.0]])), "code": cell("code", np.array([[1.0, 2.0, 3.0]]))}
        row = Row(group([("web", 0, {})]), None, cells)
        assert row.draw_sd == pytest.approx(math.sqrt((2 * 1 + 1 * 2) / 3))

    def test_the_dense_level_is_that_of_what_is_judged_and_accuracies_are_points(self):
        """One task cannot be told from guessing: it is in no level."""
        manifest, records = run([("web", seed, {}) for seed in range(2)])
        for record in records:
            record.tasks["rte"] = scores([1, 0] * 10)
        _, tables = make_tables(manifest, records, [])
        by_outcome = {table.outcome: table for table in tables}
        assert (by_outcome["accuracy"].dense, by_outcome["accuracy"].scale) == (1.0, 100.0)
        assert (by_outcome["loss"].dense, by_outcome["loss"].scale) == (1.5, 1.0)


class TestComponents:
    """Two documents; two draws of each of two sources, and a control far away."""

    LOSSES = (
        ("web", (11.0, 42.0), (13.0, 42.0)),
        ("code", (12.0, 48.0), (12.0, 52.0)),
        ("ellipsis", (90.0, 90.0), (95.0, 99.0)),
    )

    def row(self):
        draws = [(s, k, {"nll": nll}) for s, *each in self.LOSSES for k, nll in enumerate(each)]
        found = group(draws)
        outcome = loss_outcome(found)
        return Row(found, outcome, {s: cell(s, m) for s, m in outcome.values.items()})

    def test_each_cause_by_the_analysis_of_variance(self):
        """Damage of web is [[.1, .3], [.1, .1]], of code [[.2, .2], [.4, .6]]: draws have one mean square in both."""
        found = of_row(self.row())
        draws = residual = 0.01
        items = [(0.2 - 0.1) ** 2, (0.5 - 0.2) ** 2]  # 2 draws x half the squared difference of two means
        assert found.residual == pytest.approx(math.sqrt(residual / 2))
        assert found.draw == pytest.approx(0, abs=1e-9)
        assert found.items == pytest.approx(math.sqrt(np.mean([max(0, i - residual) / 2 for i in items]) / 2))
        between = (
            np.var([0.15, 0.35], ddof=1) - (draws / 2) / 2
        )  # less what the means of two draws spread by themselves
        assert found.source == pytest.approx(math.sqrt(between))

    def test_shares_are_of_the_variance(self):
        part = Components("wanda", 3.0, 4.0, 0.0, 9.0, 12.0, 0.0, 2, 2)
        assert part.share("draw") == pytest.approx(16 / 169)

    def test_controls_make_no_correlation(self):
        row = self.row()
        for source, records in row.group.draws.items():
            for k, record in enumerate(records):
                likeness = {"web": 4.0, "code": 3.0, "ellipsis": 50.0}[source] - k
                record.draw = {"source": source, "seed": k, "similarity": {"js-1": likeness}}
        (found,) = correlations(Table("m", "loss", "nats a token", 1.0, [row]))
        # Likeness 4, 3, 3, 2 against damage .1, .2, .3, .4; of two sources there is nothing to rank.
        assert (found.draws, found.sources, found.rho_sources) == (4, 2, None)
        assert found.rho == pytest.approx(-0.9486833)


class TestWords:
    @pytest.mark.parametrize(("tied", "sure"), [([], "yes"), (["code"], "partly"), (["code", "news"], "no")])
    def test_an_answer_is_as_sure_as_its_ties_leave_it(self, tied, sure):
        details = {"best": "web", "tied": tied, "order": ["web", "code", "news"]}
        verdict = Verdict("source", "m", "pass", "", detectable=0.1, details=details)
        row = Row(group([("web", 0, {})]), None, source=verdict)
        assert _told(Table("m", "loss", "nats a token", 1.0, [row]), row, verdict)[0] == sure

    def test_the_sd_of_an_amount_is_pooled_by_degrees_of_freedom(self):
        cells = {"web": cell("web", np.array([[0.0, 2.0]])), "code": cell("code", np.array([[1.0, 2.0, 3.0]]))}
        row = Row(group([("web", 0, {})]), None, cells)
        (line,) = _lines(Table("m", "loss", "nats a token", 1.0, [row]), ("wanda", [(32.0, row)]))
        assert line[-2:] == ("1.5000", f"{math.sqrt((2 * 1 + 1 * 2) / 3):.4f}")

    def test_a_change_over_sources_counts_every_draw_the_same(self):
        found = _group("m", "loss", [np.array([[0.0], [0.0]]), np.array([[3.0, 6.0], [3.0, 6.0]])])
        assert (found.interval.estimate, found.draws) == (pytest.approx(3.0), 3)

    def test_perplexities_spread_over_draws(self):
        assert _sd(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2))
        assert _sd(np.array([1.0])) is None
        assert _sd(np.array([1.0, math.inf])) is None
