"""Draws made again from the manifests of records: equal ones count, others are seen, and nothing is trained for it."""

from __future__ import annotations

import pytest

import fixtures
from benchmarks.claims.replays import replayed
from fixtures.records import Case, DrawSpec, EvaluationSpec, Record
from tests.miniature import write_model, write_text


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replays")
    text = write_text(folder / "one.txt", 1)
    model = str(write_model(folder / "tiny", [text]))
    records = []
    for seed in (0, 1):
        spec = DrawSpec(f"text:{text}", seed, 2, 32, slices=2)
        drawn = fixtures.draw_calibration_set(
            spec.source, fixtures.load_tokenizer(model), seed, spec.n_sequences, spec.sequence_length, slices=2
        )
        case = Case(model, "wanda-0.5", spec, EvaluationSpec())
        records.append(Record(case=case.to_dict(), keys={}, draw=drawn.manifest()))
    return model, records


def test_equal_draws_are_counted_and_another_offset_is_seen(made):
    model, records = made
    assert replayed(records, 5) == ({model: (2, 0)}, [])
    assert replayed(records, 1)[0] == {model: (1, 0)}
    changed = Record(case=records[0].case, keys={}, draw={**records[0].draw, "windows": [[0, 1], [0, 33]]})
    assert replayed([changed], 5)[0] == {model: (1, 1)}
    other = Record(case=records[0].case, keys={}, draw={**records[0].draw, "sha256": "0" * 64})
    assert replayed([other], 5)[0] == {model: (1, 1)}


def test_a_model_that_was_not_trained_here_is_said_and_not_trained(made, monkeypatch, tmp_path):
    _, records = made
    monkeypatch.setenv("CALIBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(fixtures, "load_tokenizer", lambda name: pytest.fail("it would be trained"))
    case = {**records[0].case, "model": "known-corpus-1m(neox)"}
    found, problems = replayed([Record(case=case, keys={}, draw=records[0].draw)], 5)
    assert found == {}
    assert "not trained on this machine" in problems[0]


@pytest.mark.parametrize(
    "source", ["selfgen(web,t=2)", "0.5*selfgen-bos+0.5*web", "covercal(news)", "lowppl(0.5*web+0.5*code)"]
)
def test_what_a_model_writes_or_chooses_is_not_made_again(made, source):
    record = made[1][0]
    assert replayed([Record(case=record.case, keys={}, draw={**record.draw, "source": source})], 5) == ({}, [])
