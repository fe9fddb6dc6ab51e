"""Advice on sources: what is said to be sure is sure, what cannot be told apart is said, and it finds known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fixtures
from benchmarks import advise
from benchmarks.advice import accuracy, judge, rank
from tests.helpers_data import documents, tokenizer, write_jsonl


def test_equal_sources_are_rarely_told_apart():
    """Five sources of one distribution: at most 5 % of advice may call the first sure (here: its sampling error)."""
    generator = np.random.default_rng(0)
    wrong = sum(rank(dict(enumerate_names(generator.normal(size=(5, 4))))).sure for _ in range(2000))
    assert wrong / 2000 < 0.05


def enumerate_names(rows):
    return {f"s{number}": list(row) for number, row in enumerate(rows)}


def test_a_better_source_is_named_and_the_tied_one_listed():
    generator = np.random.default_rng(1)
    values = {
        "far": list(3 + generator.normal(size=6) * 0.1),
        "close": list(1.02 + generator.normal(size=6) * 0.1),
        "best": list(1 + generator.normal(size=6) * 0.1),
    }
    found = rank(values)
    assert set(found.order[:2]) == {"best", "close"}
    assert found.tied == (found.order[1],)
    assert not found.sure
    assert 0.05 < found.detectable < 0.3
    assert f"cannot be told from {found.order[1]}" in advise.verdict(found, "here")
    del values["close"]
    assert rank(values).sure
    assert "stands apart" in advise.verdict(rank(values), "here")


def test_single_draws_are_never_sure():
    found = rank({"a": [1.0], "b": [9.0]})
    assert found.first == "a"
    assert not found.sure
    assert "no saying how sure" in advise.verdict(found, "here")
    with pytest.raises(ValueError, match="nothing to rank"):
        rank({"a": [1.0], "b": []})
    with pytest.raises(ValueError, match="source 'b': a value is not finite"):
        rank({"a": [1.0], "b": [float("nan")]})


def test_regret_is_a_share_of_the_least_damage():
    damage = {"a": [0.10, 0.10], "b": [0.12, 0.12], "c": [0.2, 0.2]}
    hit = judge("m x d", {"a": [3, 3], "b": [1, 1.1], "c": [2, 2]}, damage)
    assert (hit.advised, hit.best, hit.first, hit.within) == ("b", "a", False, False)
    assert hit.share == pytest.approx(0.2)
    assert hit.random_share == pytest.approx(0.4)
    right = judge("m x e", {"a": [0, 0], "b": [1, 1.1], "c": [2, 2]}, damage)
    found = accuracy([hit, right])
    assert (found["cells"], found["first"], found["within"]) == (2, 0.5, 0.5)
    assert found["regret"] == pytest.approx(0.1)
    assert (found["sure"], found["within_when_sure"]) == (1, 0.5)
    assert found["random_within"] == pytest.approx(1 / 3)
    assert "within_when_sure" not in accuracy([judge("m x e", {"a": [0], "b": [1]}, damage)])
    with pytest.raises(ValueError, match="no cell to judge"):
        accuracy([])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model trained on two made-up vocabularies, so that text of either is text it knows."""
    import torch

    from fixtures.known_corpus import Recipe, new_model, stream_windows
    from fixtures.training import optimise

    recipe = Recipe("mini", ("a",), 32, 2, 2, 64, 400, 32, tokens=80_000, batch=8, learning_rate=1e-2)
    made = new_model(recipe, tokenizer())
    texts = documents(150) + [text.upper() for text in documents(150, 3)]
    optimise(made, torch.from_numpy(stream_windows(tokenizer(), texts, 32)), recipe, None)
    folder = tmp_path_factory.mktemp("model")
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def sources(cache, tmp_path):
    lower = write_jsonl(tmp_path / "lower.jsonl", documents(200, 11, shortest=60))
    upper = write_jsonl(tmp_path / "upper.jsonl", [text.upper() for text in documents(200, 12, shortest=60)])
    target = write_jsonl(tmp_path / "target.jsonl", documents(200, 13, shortest=60))
    return lower, upper, target


def run(sources, model, tmp_path, *more):
    lower, upper, target = sources
    command = ["--model", model, "--method", "wanda-2of4", "--sources", f"{upper},{lower}", "--target", target]
    command += ["--sequences", "8", "--length", "32", "--documents", "8", "--slices", "4"]
    return advise.main([*command, "--store", str(tmp_path / "store"), "--json", str(tmp_path / "found.json"), *more])


def test_text_like_the_target_is_advised_and_the_pilot_agrees(sources, model, tmp_path, capsys):
    assert run(sources, model, tmp_path, "--pilot") == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    lower = sources[0]
    assert found["before"]["order"][0] == found["after"]["order"][0] == lower
    assert f"{lower} comes first by likeness to the target, and stands apart" in said
    assert found["before"]["tied"] == []
    records = list(fixtures.Store(tmp_path / "store").records())
    assert len(records) == 1 + 2 * 3
    (dense,) = (r for r in records if r.case["method"] == "dense")
    scores = next(r for r in records if (r.case["draw"] or {}).get("source") == lower and r.case["draw"]["seed"] == 0)
    loss = [sum(r.nll[sources[2]].nll) / sum(r.nll[sources[2]].tokens) for r in (scores, dense)]
    assert found["damage"][lower][0] == pytest.approx(loss[0] - loss[1])


def test_wrong_options_are_answered(sources, model, tmp_path, capsys):
    assert advise.main(["--sources", "web", "--target", "news"]) == 2
    assert advise.main(["--sources", "web,news"]) == 2
    assert capsys.readouterr().err.count("at least two --sources and a --target") == 2
    assert run(sources, "no-such-model", tmp_path) == 2
    assert "unknown model 'no-such-model'" in capsys.readouterr().err
    assert run(sources, model, tmp_path, "--sequences", "100000") == 2
    assert "asked for" in capsys.readouterr().err
    assert advise.main(["--accuracy", str(tmp_path / "empty")]) == 2
    assert "no cell to judge" in capsys.readouterr().err


def test_accuracy_reads_records_and_leaves_the_targets_own_source_out(monkeypatch, tmp_path, capsys):
    """Likeness is given here; what is asked is which records make which cells."""
    from benchmarks import advice_accuracy
    from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record

    store = fixtures.Store(tmp_path / "store")
    losses = {"web": {"web": 4.1, "news": 4.3}, "news": {"web": 4.2, "news": 4.1}, "code": {"web": 4.3, "news": 4.25}}
    domains = ("web", "news")

    def save(key, case, nll):
        scores = {domain: DomainScores(["a"], [10 * nll[domain]], [10]) for domain in nll}
        where = {"processor": "a processor", "versions": {"torch": "2.0"}}
        record = Record(
            case=case.to_dict(), keys={"record": key}, nll=scores, environment=where, created="2026-01-02T03"
        )
        store.save(key, record)

    evaluation = EvaluationSpec(domains=domains, documents=1)
    save("dense", Case("known-corpus-1m", "dense", None, evaluation), {"web": 4.0, "news": 4.0})
    for source, nll in losses.items():
        for seed in range(2):
            case = Case("known-corpus-1m", "wanda-0.5", DrawSpec(source, seed, 2, 8), evaluation)
            save(f"{source}-{seed}", case, nll)
    given = {"web": 1.0, "news": 2.0, "code": 3.0}
    monkeypatch.setattr(advice_accuracy, "_Likeness", lambda measure: lambda model, domain, spec: given[spec["source"]])
    assert advise.main(["--accuracy", str(store.root), "--json", str(tmp_path / "advice.json")]) == 0
    said = capsys.readouterr().out
    assert (
        "On known-corpus-1m (records made 2026-01-02 on a processor), such advice named the best source in 50 %" in said
    )
    records = {"models": ["known-corpus-1m"], "made": ["2026-01-02"], "devices": ["a processor"], "torch": ["2.0"]}
    assert json.loads((tmp_path / "advice.json").read_text())["records"] == records
    hits = {hit.cell.rsplit(" ", 1)[1]: hit for hit in advice_accuracy.found_hits([str(store.root)], "jaccard-3")}
    assert set(hits) == set(domains)
    assert (hits["web"].advised, hits["web"].best) == ("news", "news")
    assert (hits["news"].advised, hits["news"].best) == ("web", "code")
    assert hits["news"].regret == pytest.approx(0.05)
