"""A user's files are held against the grid before the first case, once for the same files."""

from __future__ import annotations

import pytest

from benchmarks.axes import GridError
from benchmarks.own_text import check_own_text
from fixtures.records import Case, DrawSpec, EvaluationSpec
from tests.helpers_data import documents, tokenizer, write_jsonl


@pytest.fixture
def cases(cache, tmp_path):
    """Makes the cases of a grid over two files: one short, one four times as long."""
    tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").touch()
    files = [write_jsonl(tmp_path / f"{n}.jsonl", documents(n, seed=n)) for n in (60, 240)]

    def make(sequences, slices=10, seeds=2, documents=0):
        spec = EvaluationSpec(domains=(files[0],) if documents else (), documents=documents)
        draws = [DrawSpec(file, seed, sequences, 32, slices=slices) for file in files for seed in range(seeds)]
        return [Case(str(tmp_path / "model"), "wanda-0.5", draw, spec) for draw in draws]

    return make


def test_what_is_too_short_is_named_with_options_that_fit(cases):
    with pytest.raises(GridError) as error:
        check_own_text(cases(60))
    lines = str(error.value).splitlines()
    assert "nothing was run" in lines[0]
    assert "60.jsonl#text: " in lines[1]
    assert "60 asked for" in lines[1]
    words = lines[-1].partition(": ")[2].split()
    chosen = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    check_own_text(cases(chosen["--sequences"], chosen.get("--slices", 10)))
    with pytest.raises(GridError):
        check_own_text(cases(chosen["--sequences"] + 60, chosen.get("--slices", 10)))


def test_too_few_documents_to_score_on_are_named(cases):
    with pytest.raises(GridError, match=r"--domains: .* held-out documents, 500 asked for.*--documents asks for fewer"):
        check_own_text(cases(2, documents=500))


def test_what_fits_is_counted_once_until_a_file_changes(cases, tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr("benchmarks.own_text._least", lambda *_: counted.append(1) or 99)
    check_own_text(cases(4))
    first = len(counted)
    check_own_text(cases(4))
    assert first == len(counted) == 2
    write_jsonl(tmp_path / "60.jsonl", documents(61))
    check_own_text(cases(4))
    assert len(counted) == 2 * first
    check_own_text(cases(5))
    assert len(counted) == 3 * first


def test_a_file_that_cannot_be_read_is_an_error_of_the_grid(cases, tmp_path):
    made = cases(2)
    (tmp_path / "60.jsonl").write_text('{"body": "no such field"}\n')
    with pytest.raises(GridError, match="line 1: no text field 'text'; its text fields: body"):
        check_own_text(made)
