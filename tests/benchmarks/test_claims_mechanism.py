"""Claims from traces of draws, and from mixtures: what is so in a simulation is found, and chance is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from benchmarks.claims.dispersion import area_under_curve
from benchmarks.claims.judge import judge, load
from benchmarks.claims.mixed import parts, slope, spread_of_one
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES, decide
from benchmarks.claims.world import World
from fixtures.records import Case, DrawSpec, EvaluationSpec, Record, TaskScores
from fixtures.trace import packed
from reports.statistics.mantel import mantel
from tests.helpers_claims import Truth, records

SOURCES = ("web", "news", "code")
SPEC = EvaluationSpec(domains=("alpaca",), documents=2, trace=400)


def verdict(name, *worlds):
    claim = next(row for row in load() if row.id == name)
    return judge([claim], World([record for held in worlds for record in held]))[0]


def traced(rng, model="smollm2-135m", method="wanda-2of4", ties=0.3, cause=1.0, effect=1.0, tie_effect=True, draws=6):
    """Records of three sources: norms differ by source and draw, masks follow |w| x norm up to ``cause``, outputs
    follow the masks up to ``effect``.
    """
    groups = 400
    weights = np.abs(rng.normal(size=(groups, 4))) + 0.1
    tied = rng.random(groups) < ties
    weights[tied, 1] = weights[tied, 2] = weights[tied].mean(axis=1)
    weights[tied, 0], weights[tied, 3] = 3 * weights[tied, 1], 0.2 * weights[tied, 1]
    common = rng.normal(size=(3, groups, 4))
    mixing = rng.normal(size=(groups * 4, 16)) / 20
    found = []
    for s, source in enumerate(SOURCES):
        for seed in range(draws):
            own = rng.normal(size=(groups, 4))
            norms = np.exp(0.1 * common[s] + 0.004 * (1 + seed) ** 2 * own)
            told = norms if cause else np.exp(0.2 * rng.normal(size=(groups, 4)))
            if not tie_effect:
                told = told * (1 + 1e-3 * np.arange(4))  # which of the tied is kept is not the draw's
                told[tied] = 1 + 1e-3 * np.arange(4)
            score = weights * told
            kept = score >= np.sort(score, axis=1)[:, 2:3]
            shift = (kept - 0.5).ravel() @ mixing if effect else rng.normal(size=16)
            logs = np.tile(shift, (20, 1)) + 0.01 * rng.normal(size=(20, 16))
            logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
            arrays = {"norms": norms, "weights": weights * kept, "tied": tied.astype(float), "outputs": logs}
            case = Case(model, method, DrawSpec(source, seed, 44, 512), SPEC)
            keys = {"record": f"{case.id}", "weights_hash": case.id}
            checks = {"trace": {name: packed(value) for name, value in arrays.items()}}
            found.append(Record(case=case.to_dict(), keys=keys, checks=checks))
    return found


def test_the_chain_from_norms_to_outputs_is_found():
    result = verdict("A11", traced(np.random.default_rng(1), draws=12))
    assert result.verdict == REPLICATES, [(cell.name, cell.evidence) for cell, _ in result.cells]
    assert len(result.cells) == 4


@pytest.mark.parametrize("broken", ["cause", "effect"])
def test_a_broken_link_does_not_replicate(broken):
    result = verdict("A11", traced(np.random.default_rng(2), **{broken: 0.0}))
    assert result.verdict != REPLICATES
    link = {"cause": "norms to weights", "effect": "weights to outputs"}[broken]
    assert {v for cell, v in result.cells if link in cell.name} != {REPLICATES}


def test_a_chain_of_chance_is_hardly_ever_found():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(150):
        points = rng.normal(size=(2, 15, 6))
        first, second = (np.linalg.norm(held[:, None] - held[None], axis=2) for held in points)
        found.append(mantel(first, second, rng, rounds=99))
    assert sum(one.low > 0 for one in found) <= binom.ppf(0.999, 150, 0.05)
    assert sum(one.p < 0.05 for one in found) <= binom.ppf(0.999, 150, 0.05)


def test_pairs_of_one_source_alone_are_no_difference_between_sources():
    """Distances that only the source makes: all pairs are associated, pairs within sources are not."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(3), 6)
    centre = 5 * rng.normal(size=(3, 4))
    first, second = (centre[groups] + rng.normal(size=(18, 4)) for _ in range(2))
    matrices = [np.linalg.norm(held[:, None] - held[None], axis=2) for held in (first, second)]
    assert mantel(*matrices, rng).p < 0.01
    assert mantel(*matrices, rng, groups).low < 0


def test_ties_that_the_draw_decides_are_seen():
    result = verdict(
        "M6", traced(np.random.default_rng(5)), traced(np.random.default_rng(6), "known-corpus-1m", ties=0.0)
    )
    assert result.verdict == REPLICATES
    assert len(result.cells) == 1  # the model without ties stands in the detail
    assert "known-corpus-1m" in result.headline.detail


def of_weights(found, name):
    for record in found:
        record.keys["model_hash"] = name
    return found


def test_traces_are_read_of_one_set_of_weights_that_has_them():
    """Such as the same model converted on another machine, where the main table was made without traces."""
    rng = np.random.default_rng(3)
    table = of_weights(records(Truth(seeds=3)), "table")
    assert verdict("M6", table).verdict == NOT_RUN
    apart = of_weights(traced(rng), "apart")
    assert verdict("M6", table, apart).verdict == REPLICATES
    without = of_weights(traced(rng, tie_effect=False), "table")
    both = verdict("M6", table, apart, without)
    assert [cell for cell, _ in both.cells] == [cell for cell, _ in verdict("M6", table, without).cells]


def test_ties_that_no_draw_decides_do_not():
    result = verdict("M6", traced(np.random.default_rng(7), tie_effect=False))
    assert result.verdict == DOES_NOT


def test_without_ties_nothing_is_said():
    assert verdict("M6", traced(np.random.default_rng(8), ties=0.0)).verdict == NOT_RUN


def test_ties_like_any_group_are_hardly_ever_called_worse():
    """Groups are called tied at random: the rates are the same."""
    rng = np.random.default_rng(9)
    found = []
    for _ in range(40):
        made = traced(rng, ties=0.0, draws=4)
        some = packed((rng.random(400) < 0.3).astype(float))
        for record in made:
            record.checks["trace"]["tied"] = some
        found.append(verdict("M6", made).verdict)
    assert found.count(REPLICATES) <= binom.ppf(0.999, 40, 0.05)


# Mixtures.

MIXTURE = "0.25*news+0.25*dialogue+0.25*encyclopedia+0.25*code"
SINGLES = parts(MIXTURE)


def mixed(single, mixture, **more):
    """Worlds in which the SD over draws is ``single`` within a source and ``mixture`` for the mixture."""
    kind = {"model": "known-corpus-1m", "methods": ("wanda-0.5",), "tasks": (), "domains": ("alpaca", "wikitext2-test")}
    kind |= {"sequences": 128, "length": 256, **more}
    one = records(Truth(sources=SINGLES, draw_sd=single, **kind))
    both = records(Truth(sources=(MIXTURE,), draw_sd=mixture, **kind))[1:]
    return [*one, *both]


def test_mixing_that_removes_what_a_draw_changes():
    effects = {source: 0.2 * k for k, source in enumerate(SINGLES)}
    assert verdict("A14", mixed(0.02, 0.004, source=effects)).verdict == REPLICATES
    assert verdict("A14", mixed(0.004, 0.06)).verdict == DOES_NOT
    assert verdict("A14", mixed(0.02, 0.02)[:-10]).verdict == NOT_RUN
    result = verdict("A14", mixed(0.02, 0.004, source=effects), mixed(0.02, 0.004, sequences=32, tag="n32"))
    assert {cell.name.split()[1]: cell.shown_only for cell, _ in result.cells} == {"32": True, "128": False}
    assert "left with the mixture" in result.headline.detail


def test_mixtures_no_steadier_than_one_source_are_hardly_ever_called_so():
    rng = np.random.default_rng(10)
    found = [
        decide("D", spread_of_one([rng.normal(size=10) for _ in range(4)], rng.normal(size=10), rng, 800)[0])
        for _ in range(200)
    ]
    assert found.count(REPLICATES) <= binom.ppf(0.999, 200, 0.05)


def diverse(gain, spread=0.002):
    sources = ("web", "news", "code", "dialogue", "0.5*web+0.5*news", "0.5*code+0.5*dialogue")
    sources += ("0.25*web+0.25*news+0.25*code+0.25*dialogue",)
    rng = np.random.default_rng(11)
    level = {s: -gain * np.log2(len(parts(s))) + spread * rng.normal() for s in sources}
    kind = {"model": "known-corpus-1m", "methods": ("wanda-0.5",), "tasks": (), "domains": ("alpaca", "web")}
    return records(Truth(sources=sources, source=level, draw_sd=0.001, seeds=5, **kind))


def test_diversity_that_helps_the_worst_domain():
    result = verdict("A19", diverse(0.05))
    assert result.verdict == REPLICATES
    assert "by number of sources 1:" in result.headline.detail
    assert verdict("A19", diverse(-0.05)).verdict == DOES_NOT
    assert verdict("A19", diverse(0.0, 0.05)).verdict == CANNOT_TELL


def test_a_slope_of_chance():
    rng = np.random.default_rng(12)
    x = np.array([0, 0, 0, 0, 1, 1, 2, 3.0])
    low = [slope(x, rng.normal(size=8)).low > 0 for _ in range(400)]
    assert sum(low) <= binom.ppf(0.999, 400, 0.025)


# Reconstruction by amount.


def amounts(gain):
    """Held-out error of the last block: ``gain`` is minus its slope on log n."""
    found = []
    for n in (8, 16, 32, 64):
        truth = Truth(model="known-corpus-1m", methods=("wanda-0.6+br",), sources=("selfgen(news,t=2)",), seeds=5)
        made = records(replace(truth, sequences=n, length=256, tasks=(), tag=f"n{n}"))
        for record in made[1:]:
            luck = np.random.default_rng([record.case["draw"]["seed"], n]).normal()
            error = float(np.exp(-gain * np.log(n) + 0.02 * luck))
            record.compression = {"details": {"reconstruction": [{"reconstructed": {"held_out": error}}]}}
        found += made
    return found


def test_more_text_that_lowers_the_error_held_out():
    assert verdict("B25", amounts(0.3)).verdict == REPLICATES
    assert verdict("B25", amounts(-0.3)).verdict == DOES_NOT
    assert verdict("B25", amounts(0.0)).verdict == CANNOT_TELL
    assert verdict("B25", amounts(0.3)[:-10]).verdict == NOT_RUN


# Rows of tasks as calibration text.


def downstream(own, others, run=0):
    """Bits a byte that rows of arc_easy save on arc_easy and elsewhere, against c4."""
    rows = ("examples(arc_easy)", "examples(arc_easy,shots=5)")
    gains = {(task, source): -own if task == "arc_easy" else -others for source in rows for task in TASKS}
    truth = Truth(methods=("wanda-2of4",), sources=("c4", *rows), task_source=gains, seeds=4, draw_sd=0.004, run=run)
    return records(replace(truth, sequences=7, damage={"wanda-2of4": 0.3}, tasks=TASKS))


TASKS = ("arc_easy", "hellaswag", "piqa")


def test_rows_of_a_task_that_are_better_anywhere_or_nowhere():
    assert verdict("B26", downstream(0.1, -0.1)).verdict == REPLICATES  # some is enough
    assert verdict("B26", downstream(-0.1, -0.1)).verdict == DOES_NOT
    result = verdict("B26", downstream(0.0, 0.0))
    assert result.verdict == CANNOT_TELL
    beside = [cell for cell, _ in result.cells if cell.shown_only]
    assert all("examples(arc_easy) minus examples(arc_easy,shots=5)" in cell.name for cell in beside)
    assert len(beside) == 2
    assert "within 2 % of the damage" in result.headline.detail
    assert verdict("B26", records(Truth(seeds=3))).verdict == NOT_RUN


def test_rows_of_tasks_no_better_are_hardly_ever_called_so():
    found = [verdict("B26", downstream(0.0, 0.0, run)).verdict for run in range(40)]
    assert found.count(REPLICATES) <= binom.ppf(0.999, 40, 0.05)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 1)), min_size=2, max_size=30), st.integers(-9, 9))
def test_the_area_under_the_curve_knows_no_bias(items, bias):
    targets = [right for _, right in items]
    scores = TaskScores("acc", [], [], targets, None, [[0.0, x] for x, _ in items], [], targets, 0.5, 0.5)
    if len(set(targets)) < 2:
        assert np.isnan(area_under_curve(scores))
        return
    pairs = [(a > b) + 0.5 * (a == b) for a, r in items for b, q in items if r > q]
    assert area_under_curve(scores) == pytest.approx(np.mean(pairs))
    biased = replace(scores, loglikelihoods=[[0.0, x + bias] for x, _ in items])
    assert area_under_curve(biased) == area_under_curve(scores)
    assert np.isnan(area_under_curve(replace(scores, loglikelihoods=[[0.0, 1.0, 2.0]] * len(items))))
