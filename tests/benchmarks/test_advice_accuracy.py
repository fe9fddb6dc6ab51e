"""How good the advice is: which records make which cells, and what is said of it."""

from __future__ import annotations

import json

import pytest

import fixtures
from benchmarks import advice_text as text
from benchmarks import advise

LOSSES = {"web": {"web": 4.1, "news": 4.3}, "news": {"web": 4.2, "news": 4.1}, "code": {"web": 4.3, "news": 4.25}}


def filled(store, losses, seeds=2, shift=lambda source, seed: 0.0, dense=4.0, sequences=2, far=0.0, **asked):
    """Records of a dense model (loss 4) and of one compressed on ``seeds`` draws of every source."""
    from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record

    domains = ("web", "news")

    def save(key, case, nll):
        scores = {domain: DomainScores(["a"], [10 * nll[domain]], [10]) for domain in nll}
        where = {"processor": "a processor", "versions": {"torch": "2.0"}}
        record = Record(
            case=case.to_dict(), keys={"record": key}, nll=scores, environment=where, created="2026-01-02T03"
        )
        store.save(key, record)

    evaluation = EvaluationSpec(domains=domains, **{"documents": 1, **asked})
    more = "".join(f"-{value}" for value in [sequences, *asked.values()])
    save("dense" + more, Case("known-corpus-1m", "dense", None, evaluation), {"web": dense, "news": dense + far})
    for source, nll in losses.items():
        for seed in range(seeds):
            case = Case("known-corpus-1m", "wanda-0.5", DrawSpec(source, seed, sequences, 8), evaluation)
            key = "".join(c if c.isalnum() else "." for c in f"{source}-{seed}{more}")
            save(key, case, {name: value + shift(source, seed) for name, value in nll.items()})
    return str(store.root)


def test_a_pilot_is_judged_by_the_draws_that_it_did_not_see(tmp_path):
    from benchmarks.advice_accuracy import pilot_hits

    def lucky(source, seed):  # the first two draws of code mislead
        return -1.0 if source == "code" and seed < 2 else 0.01 * seed

    stores = [filled(fixtures.Store(tmp_path / "store"), LOSSES, 5, lucky)]
    hits = {hit.cell.rsplit(" ", 1)[1]: hit for hit in pilot_hits(stores, 2)}
    assert {name: (hit.advised, hit.best) for name, hit in hits.items()} == {
        "web": ("code", "news"),
        "news": ("code", "code"),
    }
    assert hits["web"].regret == pytest.approx(0.1)
    assert not hits["web"].within
    assert {hit.method for hit in hits.values()} == {"wanda-0.5"}
    assert pilot_hits(stores, 4) == []  # two draws must be left


def test_evaluations_and_amounts_are_not_mixed_and_the_targets_text_is_no_candidate(tmp_path):
    from benchmarks.advice_accuracy import _records, gather

    store = fixtures.Store(tmp_path / "store")
    filled(store, LOSSES)
    filled(store, LOSSES, dense=1.0, documents=2)
    filled(store, LOSSES, sequences=4, shift=lambda source, seed: 1.0)
    filled(store, LOSSES, dense=0.0, inputs="noise0.05")
    filled(store, LOSSES, dense=0.0, trace=64)
    same = ("train(web)", "web~shuffle", "0.5*news+0.5*web", "selfgen(web,t=2)", "corpus")
    filled(store, {name: {"web": 0.0, "news": 5.0} for name in same})
    damages, _ = gather(_records([str(store.root)]))
    found = sorted((cell.name, sorted(by), round(by["code"][1], 6)) for cell, by in damages.items())
    plain, held = ["code", "news"], ["code", "corpus", "selfgen(web,t=2)", "train(web)", "web", "web~shuffle"]
    name = "known-corpus-1m wanda-0.5"
    assert found == [
        (f"{name} 2x8 news", held, 0.25),
        (f"{name} 2x8 news", ["code", "web"], 3.25),
        (f"{name} 2x8 web", plain, 0.3),
        (f"{name} 2x8 web", plain, 3.3),
        (f"{name} 4x8 news", ["code", "web"], 1.25),
        (f"{name} 4x8 web", plain, 1.3),
    ]


def test_a_domain_that_the_dense_model_does_not_model_is_no_target(tmp_path):
    from benchmarks.advice_accuracy import _records, gather

    for number, (far, domains) in enumerate([(1.9, {"web", "news"}), (2.1, {"web"})]):
        store = fixtures.Store(tmp_path / str(number))
        filled(store, LOSSES, dense=4.0, far=far)
        damages, _ = gather(_records([str(store.root)]))
        assert {cell.domain for cell in damages} == domains


def test_advice_on_weights_that_are_not_here_is_not_judged(monkeypatch, tmp_path, capsys):
    """Likeness would be that of another model. A pilot needs no model, and two trainings are never mixed."""
    from benchmarks import advice_accuracy

    store = fixtures.Store(tmp_path / "store")
    filled(store, {"selfgen(code,t=2)": {"web": 0.0, "news": 0.0}, "selfgen-bos": {"web": 0.0, "news": 0.0}})
    filled(store, LOSSES, seeds=5)
    for record in list(store.records()):
        record.keys["model_hash"] = "here"
        store.save(record.keys["record"], record)
        record.keys |= {"model_hash": "elsewhere", "record": record.keys["record"] + ".other"}
        for scores in record.nll.values():
            scores.nll = [value + 5 for value in scores.nll]  # 0.5 a token, in the dense model too
        store.save(record.keys["record"], record)
    monkeypatch.setattr(advice_accuracy, "weights_here", lambda model: "here")
    monkeypatch.setattr(advice_accuracy, "_Likeness", lambda measure: lambda model, domain, spec: 1.0)
    hits, lost = advice_accuracy.found_hits([str(store.root)], "jaccard-3")
    assert {hit.best for hit in hits} == {"news", "code"}
    assert sorted(lost) == [
        "text that known-corpus-1m writes or chooses: another machine's is another",
        "the weights of known-corpus-1m that its records are of are not here",
    ]
    pilots = advice_accuracy.pilot_hits([str(store.root)], 3)
    assert len(pilots) == 4
    assert {(hit.best, round(hit.regret, 9)) for hit in pilots} == {("news", 0.0), ("code", 0.0)}
    assert advice_accuracy.provenance([str(store.root)], [])["models"] == []


def test_accuracy_reads_records_and_leaves_the_targets_own_source_out(monkeypatch, tmp_path, capsys):
    """Likeness is given here; what is asked is which records make which cells."""
    from benchmarks import advice_accuracy

    store, domains = fixtures.Store(tmp_path / "store"), ("web", "news")
    filled(store, LOSSES)
    given = {"web": 1.0, "news": 2.0, "code": 3.0}
    monkeypatch.setattr(advice_accuracy, "_Likeness", lambda measure: lambda model, domain, spec: given[spec["source"]])
    assert advise.main(["--accuracy", str(store.root), "--json", str(tmp_path / "advice.json")]) == 0
    said = capsys.readouterr().out
    assert (
        "On known-corpus-1m (records made 2026-01-02 on a processor), such advice named the best source in 50 %" in said
    )
    assert json.loads((tmp_path / "advice.json").read_text())["accuracy"]["methods"]["wanda-0.5"]["first"] == 0.5
    records = {"models": ["known-corpus-1m"], "made": ["2026-01-02"], "devices": ["a processor"], "torch": ["2.0"]}
    assert json.loads((tmp_path / "advice.json").read_text())["records"] == records
    hits = {hit.cell.rsplit(" ", 1)[1]: hit for hit in advice_accuracy.found_hits([str(store.root)], "jaccard-3")[0]}
    assert set(hits) == set(domains)
    assert (hits["web"].advised, hits["web"].best) == ("news", "news")
    assert (hits["news"].advised, hits["news"].best) == ("web", "code")
    assert hits["news"].regret == pytest.approx(0.05)


def test_experience_of_the_method_itself_and_of_pilots_is_said(monkeypatch, tmp_path):
    part = {"cells": 4, "first": 0.5, "within": 0.75, "random_within": 0.4, "sure": 0}
    part |= {"regret": 0.1, "random_regret": 0.3}
    records = {"models": ["known-corpus-1m"], "made": ["2026-01-02"], "devices": ["a processor"]}
    file = tmp_path / "advice.json"
    monkeypatch.setattr(text, "REFERENCE", file)
    assert "has not been measured" in text.experience("wanda-0.5")
    known = {"accuracy": {**part, "methods": {"wanda-0.5": {**part, "first": 1.0}}}, "records": records}
    file.write_text(json.dumps(known))
    own = "With wanda-0.5 itself: the best in 100 %, one not told from it in 75 % of 4 cells"
    assert own in text.experience("wanda-0.5")
    assert "itself" not in text.experience("gptq-w3g64")
    assert text.experience("wanda-0.5", "pilot") == ""
    file.write_text(json.dumps({**known, "pilot": {**part, "draws": 3}}))
    assert "a pilot of 3 draws each, judged by other draws, named the best" in text.experience("wanda-0.5", "pilot")


def test_a_draw_that_comes_out_as_another_is_left_out_and_said(monkeypatch, tmp_path, capsys):
    from benchmarks import advice_accuracy
    from fixtures.packing import DrawError

    def measured(model, domain, spec):
        if spec["source"] == "web":
            raise DrawError("its text changed since")
        return {"news": 1.0, "code": 2.0}[spec["source"]]

    stores = filled(fixtures.Store(tmp_path / "store"), LOSSES)
    monkeypatch.setattr(advice_accuracy, "_Likeness", lambda measure: measured)
    assert advise.main(["--accuracy", stores]) == 0
    out, err = capsys.readouterr()
    assert "cannot be made again: known-corpus-1m, web: its text changed since" in err
    assert "| known-corpus-1m wanda-0.5 2x8 web | news | news | yes |" in out
    assert "2x8 news |" not in out  # one candidate is left
