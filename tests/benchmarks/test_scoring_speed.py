"""The comparison with lm-eval's ``hf`` model: its rule, and that it runs from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.scoring_speed import Run, agreement, largest_difference, main
from tests.helpers_evaluation import tiny_model, tiny_tokenizer, write_mirror


def run(*values):
    return Run("x", {"piqa": np.array(values)}, {}, 1.0, 1.0)


def test_the_bound_is_a_constant_or_twice_what_hf_differs_from_itself():
    theirs = [run(-1.0, -2.0), run(-1.0, -2.0001)]
    found = agreement(run(-1.0, -2.00025), theirs)
    assert found["bound"] == pytest.approx(2e-4)
    assert found["shared_to_hf"] == pytest.approx([2.5e-4, 1.5e-4])
    assert not found["within"]
    calm = [run(-1.0, -2.0), run(-1.0, -2.00001)]
    found = agreement(run(-1.0, -2.00008), calm)
    assert found["bound"] == 1e-4
    assert found["hf_to_hf"] == pytest.approx(1e-5)
    assert found["within"]


def test_the_largest_difference_is_over_all_tasks():
    a = Run("a", {"piqa": np.array([1.0, 2.0]), "rte": np.array([1.0])}, {}, 1.0, 1.0)
    b = Run("b", {"piqa": np.array([1.0, 2.1]), "rte": np.array([1.5])}, {}, 1.0, 1.0)
    assert largest_difference(a, b) == pytest.approx(0.5)


@pytest.mark.parametrize("bos", [False, True])
def test_both_run_and_agree(tmp_path, monkeypatch, capsys, bos):
    monkeypatch.setenv("CALIBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("CALIBENCH_CACHE", str(tmp_path / "cache"))
    write_mirror(tmp_path)
    tiny_model().save_pretrained(tmp_path / "model")
    tiny_tokenizer(bos=bos).save_pretrained(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--tasks", "piqa,boolq", "--json", str(tmp_path / "found.json")]
    assert main([*arguments, "--hf-batch-sizes", "1,3", "--agree"]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["name"] for one in found["runs"]] == ["shared", "shared", "hf, batch 1", "hf, batch 3"]
    assert len({json.dumps(one["acc"]) for one in found["runs"]}) == 1
    assert found["agreement"]["within"]
    assert "x as fast as hf, batch" in capsys.readouterr().out


def test_agreement_needs_two_batch_sizes(capsys):
    with pytest.raises(SystemExit):
        main(["--agree", "--hf-batch-sizes", "4"])
    assert "needs two or more" in capsys.readouterr().err
