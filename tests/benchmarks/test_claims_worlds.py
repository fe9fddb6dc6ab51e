"""Verdicts on amounts, sparsity, inputs, training text, other models and the machine, in worlds of known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.claims.judge import judge
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.claims.world import World
from tests.helpers_claims import SOURCES, Truth, claim, records, verdict

NEAR = {source: 0.1 * k for k, source in enumerate(SOURCES)}


def test_amounts_saturate_and_improve():
    def later(fewer, more):
        return lambda case: fewer if case.draw.n_sequences < 40 else more

    shapes = [(11, 0.0), (36, 0.0), (144, 0.0)]
    flat = [
        Truth(methods=("gptq-w4g64", "sparsegpt-0.5"), sequences=n, length=1024, draw_sd=0.004, noise=0.001)
        for n, _ in shapes
    ]
    assert verdict("A7", *flat, settings={"steps": [[128, 512]]}).verdict == REPLICATES
    assert verdict("A8", *flat).verdict == DOES_NOT
    falling = [replace(truth, shift=later(0.2, 0.0)) for truth in flat]
    assert verdict("A7", *falling, settings={"steps": [[128, 512]]}).verdict == DOES_NOT
    assert verdict("A8", *falling).verdict == REPLICATES


def test_a_method_that_is_not_in_the_whole_sweep_is_judged_where_it_is():
    """Of five amounts, one method has all and the other has two."""
    kind = {"length": 1024, "draw_sd": 0.004, "noise": 0.001}
    made = [Truth(methods=("wanda-0.5",), sequences=n, **kind) for n in (1, 4, 11, 36, 144)]
    made += [Truth(methods=("sparsegpt-2of4",), sequences=n, **kind) for n in (36, 144)]
    result = verdict("A8", *made)
    assert {cell.name.split()[1] for cell, _ in result.cells} == {"sparsegpt-2of4"}
    assert result.verdict == DOES_NOT


@pytest.mark.parametrize(("power", "law"), [(0.5, "sampling (.5)"), (0.23, "published (.23)")])
def test_the_law_of_the_spread_is_recovered(power, law):
    truths = [
        Truth(methods=("wanda-0.5",), sequences=n, own=1.0, draw_sd=0.2 * n**-power, noise=1e-4, items=8)
        for n in (4, 16, 64, 256, 1024)
    ]
    result = verdict("A9", *truths)
    shown = [cell for cell, _ in result.cells if cell.outcome == "nll"]
    assert shown[0].evidence.estimate == pytest.approx(power, abs=0.08)
    assert law in shown[0].detail


def test_the_gap_by_sparsity_and_structure():
    targets = ("0.3", "0.4", "0.5", "0.6", "0.7", "4of8", "2of4")
    size = dict(zip(targets, (0.1, 0.2, 0.4, 0.8, 1.6, 0.8, 1.6), strict=True))
    grows = Truth(
        methods=tuple(f"wanda-{t}" for t in targets),
        damage={f"wanda-{t}": size[t] for t in targets},
        shift=lambda case: size[case.method[6:]] * NEAR[case.draw.source],
        draw_sd=0.01,
    )
    assert verdict("B6", grows).verdict == REPLICATES
    result = verdict("B5", grows)
    raw = {cell.outcome: v for cell, v in result.cells if not cell.name.endswith("share") and not cell.shown_only}
    share = {cell.outcome: v for cell, v in result.cells if cell.name.endswith("share") and not cell.shown_only}
    assert set(raw.values()) == {REPLICATES}
    assert REPLICATES not in share.values()  # the gap grows only as the damage does
    assert result.verdict == CANNOT_TELL


def test_packing_changes_the_ranking():
    turned = Truth(
        packing="document", methods=("wanda-0.5",), source=dict(zip(SOURCES, reversed(NEAR.values()), strict=True))
    )
    assert verdict("B27", Truth(methods=("wanda-0.5",), source=NEAR), turned).verdict == REPLICATES


def test_noisy_inputs_that_turn_the_ranking_are_seen_and_equal_ones_are_not():
    clean = Truth(methods=("wanda-0.5",), source=NEAR)
    turned = dict(zip(SOURCES, reversed(NEAR.values()), strict=True))
    assert verdict("A16", clean, Truth(methods=("wanda-0.5",), source=turned, inputs="noise0.2")).verdict == REPLICATES
    alike = verdict("A16", clean, Truth(methods=("wanda-0.5",), source=NEAR, inputs="noise0.2", run=1))
    assert alike.verdict != REPLICATES
    assert "clean, noise0.2" in alike.cells[0][0].name
    assert verdict("A16", clean).verdict == NOT_RUN
    # Noisy panels are no ordinary ones: they are in no other claim's way.
    assert verdict("B1", clean, Truth(methods=("wanda-0.5",), seeds=2, inputs="noise0.2")).verdict == REPLICATES


def test_training_text_that_helps_is_seen_and_chance_is_not():
    sources = ("encyclopedia", "web", "news", "dialogue")
    names = [f"known-corpus-1m({c}){s}" for c in ("encyclopedia", "web", "news") for s in ("", "@1", "@2")]

    def world(help):
        def shift(case):
            return -help * (case.draw.source in case.model) - 0.05 * (case.draw.source == "dialogue")

        kind = {"methods": ("wanda-0.5",), "sources": sources, "domains": (*sources, "alpaca"), "tasks": (), "seeds": 3}
        return [Truth(model=name, shift=shift, run=k, draw_sd=0.01, **kind) for k, name in enumerate(names)]

    assert verdict("B10", *world(0.2)).verdict == REPLICATES
    assert verdict("B13", *world(0.2)).verdict == REPLICATES
    assert verdict("B10", *world(-0.2)).verdict == DOES_NOT
    assert verdict("B10", *world(0.0)).verdict in (CANNOT_TELL, DOES_NOT)


def test_a_selection_has_its_regret_and_its_seconds_beside_it():
    """Draws of news scatter ten times as far as those chosen from it, do 0.5 nats worse, and cost less."""
    found = []
    for source, spread, level in (("news", 0.2, 0.5), ("zipcal(news)", 0.02, 0.0)):
        truth = Truth(methods=("wanda-0.5",), sources=(source,), seeds=12, draw_sd=spread, source={source: level})
        found += records(truth)[bool(found) :]
    for record in found[1:]:
        record.seconds["draw"] = 2.0 if "zipcal" in record.case["draw"]["source"] else 0.25
    result = judge([claim("A18")], World(found))[0]
    assert result.verdict == REPLICATES
    (detail,) = {cell.detail for cell, *_ in result.cells}
    domains, tasks = detail.removeprefix("worst-domain regret: ").split(". Worst-task regret: ")
    bits = dict(word.split(" ", 1) for word in tasks.split("; "))
    assert bits["zipcal(news)"] == "0 bits a byte"
    assert float(bits["news"].removesuffix(" bits a byte")) == pytest.approx(0.5, abs=0.2)
    words = dict(word.split(" ", 1) for word in domains.split("; "))
    assert words["zipcal(news)"] == "0 nats, 2 s a draw"
    regret, _, rest = words["news"].partition(" ")
    assert float(regret) == pytest.approx(0.5, abs=0.2)
    assert rest == "nats, 0.25 s a draw"


def test_other_architectures_and_other_seeds_are_not_the_same():
    kind = {"methods": ("wanda-0.5", "gptq-w3g64"), "source": {s: 0.3 * k for k, s in enumerate(SOURCES)}, "tasks": ()}
    three = [Truth(model=f"known-corpus-1m{name}", run=k, **kind) for k, name in enumerate(("", "(neox)", "(opt)"))]
    result = verdict("A15", *three)
    assert result.verdict == REPLICATES
    assert "shares of the damage differ between cells: p = " in result.headline.detail
    seeds = [Truth(model=f"known-corpus-1m{name}", run=k, **kind) for k, name in enumerate(("", "@1", "@2", "(web)"))]
    assert verdict("A15", *seeds).verdict == NOT_RUN


def test_pages_judged_good_or_bad_stand_beside_the_crossover():
    sources = ("encyclopedia", "web", "news")
    names = [f"known-corpus-1m({c}){s}" for c in ("encyclopedia", "web") for s in ("", "@1", "@2")]
    kind = {"methods": ("wanda-0.5",), "domains": (*sources, "alpaca"), "tasks": (), "draw_sd": 0.01}

    def shift(case):
        return -0.2 * (case.draw.source in case.model)

    trained = [Truth(model=n, shift=shift, run=k, sources=sources, seeds=3, **kind) for k, n in enumerate(names)]
    labels = ("dclm[quality_label=0]", "dclm[quality_label=1]")
    judged = Truth(model="known-corpus-1m", sources=labels, noise=0.001, **{**kind, "draw_sd": 0.001})
    assert "(replicates)" in verdict("B13", *trained, judged).headline.detail
    worse = replace(judged, source={labels[0]: 0.3})
    assert "(does not)" in verdict("B13", *trained, worse).headline.detail
    assert "no records" in verdict("B13", *trained).headline.detail


def test_published_orders():
    rng = np.random.default_rng(0)
    same = {"one": {s: 60 + rng.normal(size=80) for s in "abc"}}
    apart = {"one": {s: 60 + 9 * k + rng.normal(size=20) for k, s in enumerate("abc")}}
    assert judge([claim("M4")], World([], same))[0].verdict == REPLICATES
    assert judge([claim("M4")], World([], apart))[0].verdict == DOES_NOT


def test_a_draw_made_again_otherwise_is_seen():
    made = records(Truth(seeds=2))
    made[5].draw["windows"] = [[0, 1]]
    assert judge([claim("A24")], World(made))[0].verdict == DOES_NOT
    overlap = records(Truth(seeds=2, methods=("wanda-0.5",)))
    overlap[1].draw["document_ids"] = overlap[2].draw["document_ids"]
    assert judge([claim("M5")], World(overlap))[0].verdict == DOES_NOT


def test_a_calibration_free_method_that_varies_is_seen():
    made = records(Truth(seeds=2))
    next(record for record in made if record.case["method"] == "rtn-w4g64").keys["weights_hash"] = "other"
    assert judge([claim("M2")], World(made))[0].verdict == DOES_NOT


def test_batch_size_twins():
    made = records(Truth(seeds=2, methods=("wanda-0.5",)))
    twin = made[1]
    for change, expected in ((0.0, REPLICATES), (0.05, DOES_NOT)):
        case = {**twin.case, "batch_size": 4, "control": "batch4", "id": f"{twin.id}-batch4"}
        nll = {n: replace(s, nll=[v + 100 * change for v in s.nll]) for n, s in twin.nll.items()}
        tasks = {
            n: replace(s, loglikelihoods=[[v - 10 * change for v in r] for r in s.loglikelihoods])
            for n, s in twin.tasks.items()
        }
        again = replace(twin, case=case, nll=nll, tasks=tasks)
        assert judge([claim("M3")], World([*made, again]))[0].verdict == expected


def test_batch_sizes_that_move_cases_either_way_do_move_them():
    made = records(Truth(seeds=2, methods=("wanda-0.5",)))
    again = []
    for sign, twin in zip((1, -1), [r for r in made if r.case["method"] == "wanda-0.5"][:2], strict=True):
        case = {**twin.case, "batch_size": 4, "control": "batch4", "id": f"{twin.id}-batch4"}
        nll = {n: replace(s, nll=[v + 5 * sign for v in s.nll]) for n, s in twin.nll.items()}
        again.append(replace(twin, case=case, nll=nll, tasks=twin.tasks))
    world = World([*made, *again])
    assert judge([claim("M3")], world)[0].verdict != REPLICATES
    cells = judge([claim("A1")], world)[0].cells
    low = [cell.evidence.low for cell, _ in cells if cell.outcome == "nll" and "another batch size" in cell.detail]
    before = [cell.evidence.low for cell, _ in judge([claim("A1")], World(made))[0].cells if cell.outcome == "nll"]
    assert low
    assert max(low) < min(before)
