"""A method that does not fit a user's model is said before the first case, with sizes that fit all of its linears."""

from __future__ import annotations

import pytest

from benchmarks.axes import GridError
from benchmarks.fitting import check_fit, misfit, widths
from compressors import parse
from fixtures.records import Case, DrawSpec, EvaluationSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The configuration of a Llama of width 64 and 176; its weights are never looked at."""
    from transformers import LlamaConfig

    path = tmp_path_factory.mktemp("models") / "tiny"
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaConfig(hidden_size=64, intermediate_size=176, num_hidden_layers=2, **heads).save_pretrained(path)
    (path / "model.safetensors").touch()
    return path


def cases(folder, *methods):
    return [Case(str(folder), method, DrawSpec("web", 0, 2, 8), EvaluationSpec()) for method in methods]


def test_every_method_that_does_not_fit_is_named_with_sizes_that_fit_all_linears(cache, folder):
    with pytest.raises(GridError) as error:
        check_fit(cases(folder, "gptq-w4g64", "wanda-0.5", "rtn-w3g128", "wanda-2of4"))
    head, first, second = str(error.value).splitlines()
    assert "nothing was run" in head
    assert f"gptq-w4g64 on {folder}: group size 64 does not divide the 176 columns" in first
    assert "mlp.down_proj; group sizes that fit all linears: 8, 16 or -1 (one group a row)" in first
    assert "rtn-w3g128" in second
    check_fit(cases(folder, "gptq-w4g16", "rtn-w3g8", "gptq-w4g-1", "wanda-0.5", "wanda-2of4", "dense"))


def test_widths_are_those_that_the_walker_sees_and_are_kept(cache, folder, monkeypatch):
    assert {width: name.rpartition(".")[2] for width, name in widths(folder).items()} == {
        64: "q_proj",
        176: "down_proj",
    }
    monkeypatch.setattr("benchmarks.fitting._built", lambda _: pytest.fail("built twice"))
    assert sorted(widths(folder)) == [64, 176]


@pytest.mark.parametrize("changed", ["benchmarks.fitting.version", "compressors.code_hash"])
def test_other_versions_of_what_decides_the_widths_do_not_read_what_was_kept(cache, folder, monkeypatch, changed):
    widths(folder)
    monkeypatch.setattr(changed, lambda _: "another")
    monkeypatch.setattr("benchmarks.fitting._built", lambda _: {8: "new"})
    assert widths(folder) == {8: "new"}


def test_a_model_that_cannot_be_built_is_left_to_its_case(cache, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    assert widths(tmp_path) == {}
    check_fit(cases(tmp_path, "gptq-w4g64"))


def test_a_pattern_needs_its_columns_and_odd_widths_leave_a_row():
    assert "66 columns, which 4 does not divide" in misfit(parse("wanda-2of4").target, {64: "a", 66: "b"})
    said = misfit(parse("gptq-w4g64").target, {64: "a", 66: "b"})
    assert said.endswith("only -1 (one group a row)")
    assert misfit(parse("sparsegpt-0.5-w4g16").target, {64: "a", 72: "b"}).startswith("group size 16 does not divide")
