"""Which records a claim is read from: sources, neutral text and panels, beside records that it must not see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.claims.judge import judge
from benchmarks.claims.rules import DOES_NOT
from benchmarks.claims.world import World
from tests.helpers_claims import Truth, records
from tests.helpers_known_truth import KNOWN, NEAR, PRUNERS, REAL, ROWS, moved, verdict


@pytest.mark.parametrize("name", ["A3", "A4", "A12", "B1", "B12"])
def test_text_made_of_sources_is_no_source(name):
    """Chosen, written, mixed and corrupted text beside ten draws of real sources, five draws each: nothing changes."""
    made = ("0.5*c4+0.5*wikipedia", "c4~noise0.2", "selfgen(c4,t=4)", "selfgen-bos(pool=60)", "cola(c4)", "corpus")
    levels = {source: 2.0 + 0.3 * k for k, source in enumerate(made)}
    real = Truth(methods=("wanda-0.5", "wanda-2of4", "sparsegpt-0.5", "gptq-w3g64"), source=NEAR, seeds=10)
    beside = replace(real, methods=("wanda-0.5", "wanda-2of4"), sources=made, source=levels, seeds=5)
    alone, among = verdict(name, real), verdict(name, real, beside)
    assert [cell.name for cell, _ in among.cells] == [cell.name for cell, _ in alone.cells]
    assert [cell.evidence.estimate for cell, _ in among.cells] == [cell.evidence.estimate for cell, _ in alone.cells]
    assert [cell.damage for cell, _ in among.cells] == [cell.damage for cell, _ in alone.cells]
    assert among.verdict == alone.verdict


@pytest.mark.parametrize("name", ["A1", "A10", "B1", "B12", "M4"])
def test_a_sweep_with_more_records_takes_no_panel_from_a_claim(name):
    """The same draws swept over more targets and scored on text alone."""
    tasks = Truth(methods=("wanda-0.5", "wanda-2of4", "sparsegpt-0.5"), seeds=5, source=NEAR)
    wide = ("wanda-0.3", "wanda-0.4", "wanda-0.5", "wanda-2of4", "sparsegpt-0.5")
    swept = replace(tasks, methods=wide, seeds=10, tasks=(), documents=12)
    alone, among = verdict(name, tasks), verdict(name, tasks, swept)
    assert alone.cells
    assert among == alone


def test_methods_against_sources_are_judged_where_the_methods_are():
    """B4: two of the methods stand in a larger panel too, which was asked no tasks."""
    asked = Truth(methods=PRUNERS, seeds=3)
    swept = replace(asked, methods=PRUNERS[:2] + tuple(f"wanda-0.{k}" for k in range(1, 6)), seeds=6, tasks=())
    found = verdict("B4", asked, swept)
    assert {cell.name.split(", ")[1] for cell, _ in found.cells} == {"6 methods x 5 sources"}


def test_a_run_with_more_neutral_text_takes_no_other_away():
    """A text that only one of two runs was scored on, and that neither was calibrated on."""
    first = Truth(**KNOWN, methods=("wanda-0.5",), sources=REAL, source=dict(zip(REAL, NEAR.values(), strict=True)))
    other = replace(first, domains=("alpaca", "wikitext2-test", "cnn_dailymail"), methods=("gptq-w3g64",), run=1)
    world = World(records(first) + records(other))
    assert [panel.neutral for panel in world.panels] == [
        ("alpaca", "wikitext2-test"),
        ("alpaca", "cnn_dailymail", "wikitext2-test"),
    ]
    alone, beside = World(records(first)).panels[0].view("nll"), world.panels[0].view("nll")
    assert beside.damage("wanda-0.5") == alone.damage("wanda-0.5")


def test_models_that_are_compared_are_read_on_the_same_text():
    """What one known-corpus model was calibrated on is neutral for none of them; other models are by themselves."""
    domains = ("alpaca", "cnn_dailymail", "encyclopedia", "wikitext2-test")
    kind = {**KNOWN, "methods": ("wanda-0.5",), "domains": domains, "seeds": 2}
    models = (("known-corpus-1m", "cnn_dailymail"), ("known-corpus-2m", "news"), ("smollm2-135m", "web"))
    made = [records(Truth(**{**kind, "model": model, "sources": (source,)})) for model, source in models]
    world = World([record for found in made for record in found])
    assert world.neutral("known-corpus-1m") == world.neutral("known-corpus-2m") == ("alpaca", "wikitext2-test")
    assert world.neutral("smollm2-135m") == domains


def test_files_and_labelled_pages_are_sources():
    sources = (
        "dclm[quality_label=0]",
        "text:a (1).txt",
        "jsonl:news~old.jsonl#body",
        "selfgeneration-notes",
        "train",
        "news",
    )
    truth = Truth(**KNOWN, methods=("wanda-0.5",), sources=sources, seeds=2)
    (panel,) = World(records(truth)).panels
    assert panel.real() == list(sources)


def test_weights_trained_twice_under_one_name_are_two_models(tmp_path):
    """A new training of a model loses half a nat more, dense and compressed: its records join no older ones."""
    kind = {**KNOWN, "sources": REAL, "seeds": 5, "damage": {"wanda-0.5": 0.2, "wanda-0.6": 0.4}}
    first = records(Truth(**kind, methods=("wanda-0.5", "wanda-0.6")))
    second = records(Truth(**kind, methods=("wanda-0.5",), run=1))
    for record in second:
        record.keys["model_hash"] = "other weights"
        for domain in record.nll:
            moved(record, domain, 0.5)
        record.draw["sha256"] = f"{record.draw.get('sha256')} of the other"  # what it writes itself differs too
    for given in (first + second, second + first):
        world = World(given)
        assert [panel.name for panel in world.panels] == [
            "known-corpus-1m 32 x 256",
            "known-corpus-1m 32 x 256 (weights other )",
        ]
        assert [len(panel.cells) for panel in world.panels] == [10, 5]
        for panel in world.panels:
            assert panel.view("nll").damage("wanda-0.5") == pytest.approx(0.2, abs=0.02)
        assert judge([ROWS["A24"]], world)[0].verdict != DOES_NOT
