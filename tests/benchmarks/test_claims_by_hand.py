"""What claims are computed from, by hand: outcomes item by item, views, resampling, and the figures of small tables."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.claims import bridge, common, contrasts, dispersion, mechanism, methodwise, mixed, outcomes
from benchmarks.claims.amounts import matched, mean_constant
from benchmarks.claims.evidence import Effect, Order, Pivots
from benchmarks.claims.selfmade import _over_the_range
from benchmarks.claims.sourcewise import interaction_of, methods_differ, own_domain
from benchmarks.claims.sweeps import _line, _slope
from benchmarks.claims.world import World, ordinary
from fixtures.records import TaskScores
from reports.statistics import Interval
from tests.helpers_claims import Truth, records
from tests.helpers_known_truth import KNOWN

FEW = Truth(methods=("wanda-0.5", "gptq-w4g64"), sources=("c4", "dclm"), seeds=3)


def task(correct, logs=None, norm=None, size=None, metric="acc"):
    n = len(correct)
    rows = [[value, -9.0] for value in (logs or [-1.0] * n)]
    names = [str(k) for k in range(n)]
    found = TaskScores(metric, names, names, correct, norm, rows, [[0.9, 0.1]] * n, [0] * n, 0.0, 0.0)
    return dataclasses.replace(found, answer_bytes=size)


class TestOutcomes:
    def record(self, **tasks):
        return dataclasses.replace(records(FEW)[0], tasks=tasks)

    def test_bits_a_byte_are_all_bits_over_all_bytes(self):
        """Two answers of two nats each, one and three bytes long: four nats for four bytes."""
        held = self.record(a=task([1] * 2, [-2.0, -2.0], size=[1, 3]))
        assert outcomes.vector(held, held, "bpb:a", ()).mean() == pytest.approx(1 / math.log(2))

    def test_tasks_of_any_size_weigh_the_same(self):
        held = self.record(a=task([1] * 8), b=task([0] * 2))
        assert outcomes.vector(held, held, "acc9", ()).mean() == pytest.approx(-50)

    def test_accuracy_is_the_one_that_the_task_names(self):
        held = self.record(a=task([1, 1, 1, 1], norm=[1, 0, 0, 0], metric="acc_norm"))
        assert outcomes.vector(held, held, "acc:a", ()).mean() == pytest.approx(-25)

    def test_as_many_documents_of_other_files_are_others(self):
        first, second = (dataclasses.replace(r, nll=dict(r.nll)) for r in records(FEW)[:2])
        assert outcomes.same_items(first, second)
        name = next(iter(second.nll))
        hashes = ["other", *second.nll[name].document_hash[1:]]
        second.nll[name] = dataclasses.replace(second.nll[name], document_hash=hashes)
        assert not outcomes.same_items(first, second)


class TestPanels:
    def test_draws_are_matched_by_seed_where_one_method_began_later(self):
        every = records(FEW)
        kept = [
            r for r in every if not r.case["draw"] or (r.case["method"], r.case["draw"]["seed"]) != ("wanda-0.5", 0)
        ]
        (panel,) = World(kept).panels
        table = panel.view("nll").table(["wanda-0.5", "gptq-w4g64"], ["c4"])
        for k, method in enumerate(("wanda-0.5", "gptq-w4g64")):
            own = dict(zip(panel.view("nll").seeds(method, "c4"), panel.view("nll").means(method, "c4"), strict=True))
            assert table[k, 0].tolist() == [own[1], own[2]]

    def test_the_noise_of_one_result_is_half_the_variance_of_a_difference(self):
        """Made again in another batch size, every document .03 nats a token higher: SD .03 / sqrt(2)."""
        every = records(dataclasses.replace(FEW, tasks=()))
        twin = next(r for r in every if r.case["method"] == "wanda-0.5")
        again = dataclasses.replace(twin, case={**twin.case, "control": "batch4", "id": f"{twin.id}-batch4"}, nll={
            name: dataclasses.replace(s, nll=[v + 0.03 * t for v, t in zip(s.nll, s.tokens, strict=True)])
            for name, s in twin.nll.items()
        })  # fmt: skip
        world = World([*every, again])
        noise = common.machine_noise(world, world.panels[0].view("nll"), "wanda-0.5")
        assert noise == pytest.approx(0.03 / math.sqrt(2))

    def test_a_later_record_of_a_case_takes_the_place_of_an_earlier_one(self):
        first = records(FEW)
        second = [dataclasses.replace(r, created="2026-02-01") for r in first]
        for given in (first + second, second + first):
            assert {r.created for r in World(given).records} == {"2026-02-01"}

    @pytest.mark.parametrize("other", [{"packing": "document"}, {"bos": True}, {"loader": "gptq"}])
    def test_draws_made_otherwise_are_not_ordinary(self, other):
        case = records(FEW)[1].case
        assert ordinary(case)
        assert not ordinary({**case, "draw": {**case["draw"], **other}})

    def test_a_domain_that_the_model_does_not_model_is_neutral_for_nothing(self):
        every = records(FEW)
        for record in every:
            scores = record.nll["wikitext2-test"]
            record.nll["wikitext2-test"] = dataclasses.replace(scores, nll=[v + 500 for v in scores.nll])
        assert World(every).neutral("smollm2-135m") == ("alpaca",)


class TestResampling:
    def test_a_draw_is_one_for_all_methods(self):
        """Two methods that lose the same on every draw differ by nothing, however draws are picked."""
        one = np.random.default_rng(0).normal(size=(2, 5))
        found = common.resampled(
            np.stack([one, one + 3]), lambda t: float((t[1] - t[0]).mean()), np.random.default_rng(1), 50
        )
        assert (found.estimate, found.interval.error) == (pytest.approx(3), pytest.approx(0, abs=1e-12))

    def test_few_units_make_the_samples_too_narrow(self):
        samples = np.array([0.0, 2.0, 4.0])  # SD 2
        assert common.of_samples(1.0, samples, 4, 6).interval.error == pytest.approx(2 * math.sqrt(4 / 3))

    def test_the_variance_of_means_less_what_draws_give_them(self):
        assert common.component_of(np.array([[0.0, 2.0], [4.0, 6.0]])) == pytest.approx(8 - 2 / 2)


class TestTables:
    def test_an_interaction_of_columns_that_saw_the_same_draws_has_no_error(self):
        draws = np.random.default_rng(0).normal(size=(3, 4))
        cross = np.array([[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]])
        found = interaction_of(draws[None] + cross[:, :, None])
        # Mean square 4 x 4 / 2, error 0: the component is the square of it by draws.
        assert found.estimate == pytest.approx(math.sqrt(2.0))
        assert found.p == pytest.approx(0, abs=1e-12)

    def test_an_own_domain_effect_is_what_the_diagonal_lacks(self):
        additive = np.arange(3.0)[:, None] + 10 * np.arange(3.0)
        table = np.stack([additive - 0.5 * np.eye(3)] * 2, axis=2)
        assert own_domain(table).estimate == pytest.approx(0.5)

    def test_the_share_of_a_method_is_of_its_own_damage(self):
        """Sources that add a tenth to each method's damage, of .2 and of 2 nats: shares do not cross."""
        levels = {"wanda-0.5": 0.2, "wanda-0.6": 2.0, "wanda-0.7": 0.5}
        place = {s: 1 + 0.1 * k for k, s in enumerate(("a", "b", "c", "d"))}
        truth = Truth(
            **{**KNOWN, "draw_sd": 0.0, "noise": 1e-6}, methods=tuple(levels), sources=tuple(place), seeds=3,
            damage=dict.fromkeys(levels, 0.0), shift=lambda c: levels[c.method] * place[c.draw.source],
        )  # fmt: skip
        raw, share = (cell.evidence.estimate for cell in methods_differ(World(records(truth)), {"outcomes": ["nll"]}))
        assert raw > 0.05
        assert share < 1e-3

    def test_the_change_over_a_range_of_lengths(self):
        """Damage rises by one a doubling: by three from 1 to 8."""
        assert np.dot(_over_the_range([1.0, 2.0, 8.0]), [0.0, 1.0, 3.0]) == pytest.approx(3)

    def test_lines_by_least_squares_with_their_sign_turned(self):
        x, y = np.array([0.0, 1, 2, 4, 5]), np.array([5.0, 4.5, 2.0, 1.0, -1.0])
        known = stats.linregress(x, y)
        for found in (_line(x, y).interval, mixed.slope(x, y)):
            assert (found.estimate, found.error) == pytest.approx((-known.slope, known.stderr))

    def test_a_gap_by_sparsity_as_a_share_is_of_each_sparsitys_damage(self):
        """SDs between two sources of 1 and 3 at damages of 2 and 6: the share stays as it is."""
        table = np.array([[[1.0, 1.0], [3.0, 3.0]], [[3.0, 3.0], [9.0, 9.0]]])
        weights = np.array([-1.0, 1.0])
        assert _slope(table, weights, share=False) == pytest.approx(2 * math.sqrt(2))
        assert _slope(table, weights, share=True) == pytest.approx(0)

    def test_the_spread_of_a_random_source_is_both_its_own_and_its_draws(self):
        singles, mixture = [np.array([0.0, 2.0]), np.array([4.0, 6.0])], np.array([0.0, 2.0, 1.0])
        found, left = mixed.spread_of_one(singles, mixture, np.random.default_rng(0))
        assert found.estimate == pytest.approx(0.5 * math.log((7 + 2) / 1))
        assert left[0] == pytest.approx(1)

    def test_sds_are_compared_and_not_variances(self):
        """Between sources 4, within 1: where neither were in doubt, 2 less 1."""
        rng = np.random.default_rng(0)
        table = 2 * stats.zscore(rng.normal(size=300), ddof=1)[:, None] + rng.normal(size=(300, 300))
        assert np.median(dispersion.pivots(table, rng).samples) == pytest.approx(1, abs=0.1)


class TestSmall:
    def test_tokens_are_matched_by_the_width_of_the_model(self):
        """128 sequences of 2,048 at a width of 4,096 are 64 tokens a column."""
        assert matched("known-corpus-1m", 128) == 64 * 128

    @pytest.mark.parametrize("drift", [0.2, -0.2])
    def test_the_largest_deviation_counts_whichever_way_it_goes(self, drift):
        kind = {**KNOWN, "methods": ("wanda-0.5",), "sources": ("news", "dialogue"), "draw_sd": 0.004}
        truths = [
            Truth(**{**kind, "sequences": n}, shift=lambda c: -drift * math.log(c.draw.n_sequences / 256, 8))
            for n in (32, 64, 128, 256)
        ]
        world = World([record for truth in truths for record in records(truth)])
        (cell,) = (c for c in mean_constant(world, {"range": [128, 1024]}) if c.outcome == "nll")
        assert "32 x 256 minus 256 x 256" in cell.name
        assert cell.evidence.estimate == pytest.approx(drift, abs=0.02)

    def test_confidence_of_one_record(self):
        """Two items at .9, one right: ECE 40 points; Brier .01 x 2 and .81 x 2; the answer's log-probability."""
        held = dataclasses.replace(records(FEW)[0], tasks={"a": dataclasses.replace(task([1, 0]), target=[0, 1])})
        found = bridge._measure(held, ["a"])
        assert found["ece"] == pytest.approx(40)
        assert found["brier"] == pytest.approx((0.02 + 1.62) / 2)
        assert found["nll"] == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2)
        assert found["accuracy"] == pytest.approx(50)

    def test_measures_are_compared_by_the_size_of_their_correlation(self):
        """One falls with the damage and one hardly goes with it: the first orders better, whatever its sign."""
        y = np.arange(8.0)
        b = np.array([3.0, 0, 5, 2, 7, 1, 6, 4])
        found = contrasts._difference(-y, b, y, np.random.default_rng(0))
        assert found.estimate == pytest.approx(1 - abs(stats.spearmanr(b, y).statistic))

    def test_norms_that_differ_by_a_factor_choose_alike(self):
        norms = {"norms": np.array([0.1, 2.0, 3.0])}
        assert mechanism.norm_distance(norms, {"norms": 5 * norms["norms"]}) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize(
        ("method", "bits"),
        [("wanda-2of4", 8.75), ("wanda-0.5", 9.0), ("gptq-w4g64", 4.25)],
    )
    def test_bits_a_weight_with_masks_and_scales(self, method, bits):
        assert methodwise.bits(method) == pytest.approx(bits)

    def test_the_least_sure_pair_of_an_order_speaks_for_it(self):
        """A pair the wrong way round has a p value of 1, however sure it is."""
        sure, wrong = (Effect(Interval.of_t(sign, 0.1, 20)) for sign in (1.0, -1.0))
        assert Order([sure, sure]).p == sure.p < 1e-6
        assert Order([sure, wrong]).p == 1.0

    def test_pivots_have_two_sides(self):
        found = Pivots(1.0, np.array([-1.0, *[1.0] * 98]))
        assert found.p == pytest.approx(2 * 2 / 100)
        assert found.p_within(2.0) == pytest.approx(1 / 100)

    def test_equivalence_is_the_surer_side_at_ninety_percent(self):
        effect = Effect(Interval.of_t(0.5, 1.0, 9))
        assert effect.inner() == pytest.approx((0.5 - stats.t.isf(0.05, 9), 0.5 + stats.t.isf(0.05, 9)))
        assert effect.p_within(2.0) == pytest.approx(stats.t.sf(1.5, 9))
