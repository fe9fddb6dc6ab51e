"""Whole texts beside lm-eval's ``hf`` model, as a command."""

from __future__ import annotations

import pytest
import torch

import fixtures
from benchmarks.perplexity_agreement import BOUND, SHOWN, agreement, main
from tests.helpers_evaluation import tiny_model, tiny_tokenizer, write_mirror


@pytest.fixture(autouse=True)
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("CALIBENCH_DATA", str(tmp_path))
    return write_mirror(tmp_path)


@pytest.mark.parametrize("bos", [False, True])
def test_the_same_texts_have_the_same_loss(bos):
    found = agreement(tiny_model(positions=20), tiny_tokenizer(bos=bos), "wikitext", items=3)
    assert found.texts == 3
    assert found.tokens > 3 * 20  # several windows a text
    assert found.largest < BOUND
    for name in SHOWN:
        assert found.ours[name] == pytest.approx(found.theirs[name], rel=1e-6)
    assert f"word_perplexity {found.ours['word_perplexity']:.7f} and" in str(found)


def test_another_model_would_be_seen(monkeypatch):
    """The model that hf scores is changed after ours was scored: the exit status says so."""
    model, scored = tiny_model(), fixtures.evaluate

    def and_change(*arguments, **options):
        result = scored(*arguments, **options)
        with torch.no_grad():
            model.model.norm.weight.mul_(1.01)
        return result

    monkeypatch.setattr(fixtures, "evaluate", and_change)
    monkeypatch.setattr(fixtures, "load_model", lambda *_, **__: (model, tiny_tokenizer()))
    assert main(["--tasks", "alpaca", "--items", "4"]) == 1
    assert main(["--tasks", "alpaca", "--items", "4", "--dtype", "bfloat16"]) == 0  # only shown
    monkeypatch.setattr(fixtures, "evaluate", scored)
    assert main(["--tasks", "alpaca", "--items", "4"]) == 0


def test_a_task_with_choices_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--model", "known-corpus-9m"])
    assert "known-corpus-9m" in capsys.readouterr().err
    with pytest.raises(fixtures.TaskError, match=r"'piqa' is scored by acc: benchmarks\.scoring_speed"):
        agreement(None, None, "piqa")
