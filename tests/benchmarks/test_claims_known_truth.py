"""Families A and B: where it is known what is so, each claim is called that way, and its opposite the other way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from tests.helpers_claims import SOURCES, Truth, rng
from tests.helpers_known_truth import KNOWN, NEAR, PRUNERS, REAL, moved, verdict


@pytest.mark.parametrize(("sd", "expected"), [(0.25, REPLICATES), (0.0, DOES_NOT)])
def test_a_task_that_draws_move_more_than_the_others(sd, expected):
    """A5: answers of BoolQ and RTE turn with the draw, or those of all tasks but these do."""
    tasks = ("arc_easy", "boolq", "hellaswag", "piqa", "rte")
    truth = Truth(methods=("sparsegpt-2of4", "sparsegpt-0.5"), tasks=tasks, items=100, damage={}, draw_sd=0.001)

    def change(record):
        draw = record.case["draw"]
        for name, scores in record.tasks.items():
            spread = sd if name in ("boolq", "rte") else 0.25 * (sd == 0)
            # As many right as this draw has luck; which ones is the same in all, so that items make no spread.
            chance = 0.6 + spread * rng(name, draw["source"], draw["seed"], record.case["method"]).normal()
            order = rng(name).permutation(truth.items)
            scores.correct = [int(place < chance * truth.items) for place in order]

    assert verdict("A5", truth, change=change).verdict == expected


@pytest.mark.parametrize(("power", "expected"), [(-1.0, REPLICATES), (1.0, DOES_NOT), (0.0, CANNOT_TELL)])
def test_larger_models_are_more_robust_or_less(power, expected):
    """A6: four sizes, three training seeds each; the SD of a draw goes with the number of parameters."""
    widths = {"1m": 32, "2m": 48, "4m": 64, "8m": 96}  # sequences of 256 for 64 tokens a column
    kind = {**KNOWN, "methods": ("wanda-0.5",), "sources": ("news", "dialogue")}
    truths = [
        Truth(
            **{**kind, "model": f"known-corpus-{size}{seed}", "sequences": n, "draw_sd": 0.05 * int(size[0]) ** power},
            run=k,
        )
        for k, (size, n) in enumerate(widths.items())
        for seed in ("", "@1", "@2")
    ]
    result = verdict("A6", *truths)
    assert result.verdict == expected
    assert result.headline.evidence.estimate == pytest.approx(-power, abs=0.3)


@pytest.mark.parametrize(("own", "expected"), [(0.5, REPLICATES), (0.0, DOES_NOT)])
def test_loss_that_hides_what_tasks_do(own, expected):
    """A10: tasks move by luck of their own, so much that the loss says little of them; or with the loss alone."""
    truth = Truth(methods=("wanda-0.5",), tasks=("arc_easy", "piqa"), seeds=20, noise=0.001, draw_sd=0.05)

    def change(record):
        draw = record.case["draw"]
        for name, scores in record.tasks.items():
            luck = own * rng("own", name, draw["source"], draw["seed"]).normal()
            scores.loglikelihoods = [[value - 7 * luck for value in row] for row in scores.loglikelihoods]

    assert verdict("A10", truth, change=change, methods=["wanda-0.5"]).verdict == expected


@pytest.mark.parametrize(("gain", "expected"), [(0.1, REPLICATES), (-0.1, DOES_NOT)])
@pytest.mark.parametrize("name", ["A13", "A22"])
def test_text_that_serves_its_own_domain(name, gain, expected):
    """Every source is better, or worse, on its own domain than sources and domains by themselves explain."""
    languages = name == "A22"
    sources = ("encyclopedia", "encyclopedia-fr", "encyclopedia-es") if languages else REAL[:4]
    model = "known-corpus-1m(languages)" if languages else "known-corpus-1m"
    truth = Truth(
        **{**KNOWN, "model": model}, methods=("wanda-0.5",), sources=sources, domains=sources,
        source={s: 0.1 * k for k, s in enumerate(sources)},
    )  # fmt: skip

    def change(record):
        moved(record, record.case["draw"]["source"], -gain)

    result = verdict(name, truth, change=change)
    assert result.verdict == expected
    # 3 x 3 cells: the coefficient of "own domain" is the gain itself.
    assert result.headline.evidence.estimate == pytest.approx(gain, abs=0.02)


def test_lengths_packing_and_bos_at_equal_tokens():
    """A23: long sequences, and documents kept apart, do half a nat more damage; or nothing does."""

    def world(**levels):
        base = {**KNOWN, "methods": ("wanda-0.5",), "sources": SOURCES[:3], "seeds": 5}
        made = [Truth(**base)]
        for shape in ({"sequences": 64, "length": 128}, {"packing": "document"}):
            made.append(Truth(**{**base, **shape}, shift=lambda case: levels.get("level", 0.0)))
        return made

    result = verdict("A23", *world(level=0.5))
    assert result.verdict == REPLICATES
    assert {word for cell, _ in result.cells for word in ("packing", "sequence_length") if word in cell.name} == {
        "packing", "sequence_length",
    }  # fmt: skip
    assert verdict("A23", *world()).verdict == CANNOT_TELL


def test_data_against_algorithm():
    """B2, B3: sources five nats apart and methods alike; or the other way round."""
    data = Truth(**KNOWN, methods=PRUNERS, source={s: 5 * v for s, v in NEAR.items()})
    method = Truth(**KNOWN, methods=PRUNERS, source=NEAR, damage={m: 2.0 * k for k, m in enumerate(PRUNERS)})
    assert verdict("B2", data).verdict == REPLICATES
    assert verdict("B2", method).verdict == DOES_NOT
    assert verdict("B3", data).verdict == REPLICATES
    result = verdict("B3", method)
    assert result.verdict == DOES_NOT
    assert result.headline.detail == f"{PRUNERS[0]} on {SOURCES[-1]} minus {PRUNERS[-1]} on {SOURCES[0]}"
    assert result.headline.evidence.estimate == pytest.approx(0.4 - 10, abs=0.05)


def test_methods_that_rank_sources_otherwise():
    """B4: half of the methods have the order turned; and where effects only add up, nothing is called."""
    turned = Truth(
        **KNOWN, methods=PRUNERS, shift=lambda case: NEAR[case.draw.source] * (-1) ** PRUNERS.index(case.method)
    )
    assert verdict("B4", turned).verdict == REPLICATES
    adding = {"methods": PRUNERS, "source": {s: 0.01 * k for k, s in enumerate(SOURCES)}, "documents": 4}
    found = [verdict("B4", Truth(**KNOWN, **adding, run=run)).verdict for run in range(12)]
    assert found.count(REPLICATES) <= 2  # one in twenty


@pytest.mark.parametrize(("magnitude", "expected"), [(0.6, REPLICATES), (1.2, DOES_NOT), (0.9, CANNOT_TELL)])
def test_the_worst_source_against_magnitude(magnitude, expected):
    """B7: Wanda loses 0.5 to 0.9 nats, by source."""
    damage = {"wanda-0.6": 0.5, "magnitude-0.6": magnitude}
    truth = Truth(**KNOWN, methods=("wanda-0.6", "magnitude-0.6"), source=NEAR, damage=damage)
    assert verdict("B7", truth).verdict == expected
    assert verdict("B7", replace(truth, model="smollm2-135m")).verdict == NOT_RUN  # weights restored from four bits


@pytest.mark.parametrize(("drift", "expected"), [(0.0, REPLICATES), (0.2, DOES_NOT)])
@pytest.mark.parametrize("name", ["B8", "B9"])
def test_amounts_that_do_not_matter_and_that_do(name, drift, expected):
    """Matched in tokens a column, 8 to 256 sequences of 256 at a width of 128 are 32 to 1,024 of 2,048 at 4,096."""
    base = {**KNOWN, "methods": ("wanda-0.5", "wanda-2of4"), "sources": ("news", "dialogue"), "draw_sd": 0.004}
    truths = [
        Truth(**{**base, "sequences": n}, shift=lambda case: -drift * np.log(case.draw.n_sequences / 256) / np.log(8))
        for n in (16, 32, 64, 128, 256)
    ]
    assert verdict(name, *truths).verdict == expected


@pytest.mark.parametrize(("help", "expected"), [(0.2, REPLICATES), (-0.2, DOES_NOT)])
def test_training_text_at_every_sparsity(help, expected):
    """B11: as B10, for several methods at once."""
    sources = ("encyclopedia", "web", "news", "dialogue")
    kind = {
        **KNOWN,
        "methods": ("wanda-0.5", "wanda-0.7"),
        "sources": sources,
        "domains": (*sources, "alpaca"),
        "seeds": 3,
    }
    truths = [
        Truth(
            **{**kind, "model": f"known-corpus-1m({text}){seed}"},
            run=k,
            shift=lambda c: -help * (c.draw.source in c.model),
        )
        for k, text in enumerate(sources[:3])
        for seed in ("", "@1", "@2")
    ]
    result = verdict("B11", *truths)
    assert result.verdict == expected
    assert result.headline.evidence.estimate == pytest.approx(help, abs=0.05)
    assert {cell.name.partition(",")[0] for cell, _ in result.cells} == set(kind["methods"])


@pytest.mark.parametrize(("good", "expected"), [("perplexity", REPLICATES), ("jaccard-3", DOES_NOT)])
def test_the_measure_that_orders_the_sources(good, expected):
    """B15: one measure is the damage itself, the other is chance."""
    sources = tuple(f"s{k}" for k in range(16))
    truth = Truth(
        **KNOWN, methods=("wanda-0.5",), sources=sources, seeds=3, source={s: 0.1 * k for k, s in enumerate(sources)}
    )
    chance = rng("chance").permutation(len(sources))

    def change(record):
        place = sources.index(record.case["draw"]["source"])
        values = {"perplexity": float(chance[place]), "jaccard-3": float(chance[place])}
        record.draw["similarity"] = {**values, good: float(place)}

    assert verdict("B15", truth, change=change).verdict == expected


SELF = {"B16": ("selfgen(web,t=2)", REAL), "B17": ("selfgen(web,t=2)", ("corpus", "train(encyclopedia)"))}
SELF |= {"B20": SELF["B16"], "B22": ("selfgen-bos", ("web", "news", "encyclopedia"))}


@pytest.mark.parametrize(("level", "expected"), [(-0.2, REPLICATES), (0.2, DOES_NOT)])
@pytest.mark.parametrize("name", SELF)
def test_text_of_its_own_is_better_than_each_or_worse_than_each(name, level, expected):
    written, real = SELF[name]
    levels = {written: level, **dict.fromkeys(real, 0.0)}
    truth = Truth(**KNOWN, methods=("wanda-0.5", "wanda-2of4"), sources=tuple(levels), source=levels, seeds=5)
    assert verdict(name, truth).verdict == expected


def test_text_of_its_own_that_one_source_beats_does_not_beat_every_source():
    """B16, B22: better than all but one, which is far better."""
    for name in ("B16", "B22"):
        written, real = SELF[name]
        levels = {written: 0.0, **dict.fromkeys(real, 0.2), real[0]: -0.2}
        truth = Truth(**KNOWN, methods=("wanda-0.5",), sources=tuple(levels), source=levels, seeds=5)
        assert verdict(name, truth).verdict == CANNOT_TELL


@pytest.mark.parametrize(("first", "expected"), [(0.03, REPLICATES), (0.01, DOES_NOT)])
def test_prefixes_closer_to_the_training_text_than_bos(first, expected):
    """B21: the index of the draws themselves, whatever they do to the model."""
    truth = Truth(**KNOWN, methods=("wanda-0.5",), sources=("selfgen(web,t=2)", "selfgen-bos"), seeds=5)

    def change(record):
        draw = record.case["draw"]
        level = first if "t=2" in draw["source"] else 0.02
        record.draw["similarity"] = {"jaccard-3": level + 0.0005 * rng(draw["source"], draw["seed"]).normal()}

    assert verdict("B21", truth, change=change).verdict == expected


STEPS = ("wanda-0.6", "wanda-0.6+br", "wanda-0.6+br+gp", "wanda-0.6+br+gp+cr")


def rebuilt(record, calibration, held_out):
    """The error of the last block before and after the steps that the method has, by text."""
    done = record.case["method"].count("+")
    if done:
        luck = 1 + 0.01 * rng("error", record.case["draw"]["seed"], record.case["method"]).normal()
        texts = {"calibration": calibration, "held_out": held_out}
        stages = {
            stage: {text: luck * float(np.prod(kept[:n])) for text, kept in texts.items()}
            for stage, n in (("pruned", 1), ("reconstructed", done + 1))
        }
        record.compression["details"] = {"reconstruction": [stages]}


@pytest.mark.parametrize(("last", "expected"), [(1.2, REPLICATES), (0.8, DOES_NOT)])
def test_reconstruction_that_overfits_and_that_does_not(last, expected):
    """B23: CR lowers the error on the calibration text, and raises or lowers that on held-out text."""
    truth = Truth(**KNOWN, methods=STEPS, sources=("news", "dialogue"), seeds=5)
    result = verdict("B23", truth, change=lambda r: rebuilt(r, (5, 0.4, 0.3, 0.7), (6, 0.5, 0.5, last)))
    assert result.verdict == expected
    assert result.headline.evidence.estimate == pytest.approx(np.log(last), abs=0.05)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [((5, 0.4, 0.3, 0.7), REPLICATES), ((5, 0.6, 0.5, 0.9), DOES_NOT), ((5, 0.4, 0.5, 0.7), CANNOT_TELL)],
)
def test_reductions_against_their_bounds(kept, expected):
    """B24: BR by half, GP by .6 and CR by .2 at least; none reaches its bound; all but GP do."""
    truth = Truth(**KNOWN, methods=STEPS, sources=("news", "dialogue"), seeds=5)
    assert verdict("B24", truth, change=lambda r: rebuilt(r, kept, kept)).verdict == expected


def test_a_step_that_was_run_on_fewer_draws_is_compared_on_those():
    """B24: BR of ten draws, GP and CR of three of them."""
    long, short = (
        Truth(**KNOWN, methods=methods, sources=("news", "dialogue"), seeds=seeds)
        for methods, seeds in ((STEPS[:2], 10), (STEPS[2:], 3))
    )
    result = verdict("B24", long, short, change=lambda r: rebuilt(r, (5, 0.4, 0.3, 0.7), (5, 0.4, 0.3, 0.7)))
    assert [cell.name.rpartition("+")[2] for cell, _ in result.cells] == ["br", "gp", "cr"]
    assert result.verdict == REPLICATES
