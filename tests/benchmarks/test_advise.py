"""Advice on sources: what is said to be sure is sure, what cannot be told apart is said, and it finds known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fixtures
from benchmarks import advice_text as text
from benchmarks import advise
from benchmarks.advice import accuracy, judge, rank, summary
from tests.helpers_data import documents, tokenizer, write_jsonl


def test_equal_sources_are_rarely_told_apart():
    """Five sources of one distribution: at most 5 % of advice may call the first sure (here: its sampling error)."""
    generator = np.random.default_rng(0)
    wrong = sum(rank(dict(enumerate_names(generator.normal(size=(5, 4))))).sure for _ in range(2000))
    assert wrong / 2000 < 0.05


def test_the_best_source_is_hardly_ever_left_out():
    """Of equal sources each may be the best: one in twenty is neither first nor listed as tied, at most."""
    generator = np.random.default_rng(4)
    found = [rank(dict(enumerate_names(generator.normal(size=(6, 4))))) for _ in range(2000)]
    left_out = sum("s0" not in (ranking.first, *ranking.tied) for ranking in found)
    assert 0 < left_out / 2000 < 0.05


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
    assert f"cannot be told from {found.order[1]}" in text.verdict(found, "here")
    del values["close"]
    assert rank(values).sure
    assert "stands apart" in text.verdict(rank(values), "here")


def test_the_draws_that_would_tell_do_tell():
    """Of pairs with the difference seen, at the draws named, four in five are told apart (one-sided, both known)."""
    generator = np.random.default_rng(2)
    found = rank({"a": [0.0, 1.0, 2.0], "b": [0.5, 1.5, 2.5]})
    assert found.deviation == pytest.approx(1)
    assert found.tied == ("b",)
    assert f"takes about {found.needed} draws each" in text.verdict(found, "here")
    told = sum(
        rank({"a": generator.normal(0, 1, found.needed), "b": generator.normal(0.5, 1, found.needed)}).sure
        for _ in range(500)
    )
    assert 0.73 < told / 500 < 0.87  # four standard errors about .8
    assert rank({"a": [1.0, 2.0], "b": [1.0, 2.0]}).needed is None
    assert "takes about" not in text.verdict(rank({"a": [1.0, 2.0], "b": [1.0, 2.0]}), "here")


def test_the_stakes_name_the_worst_and_what_is_worse_than_no_data():
    found = rank({"a": [0.1, 0.1], "b": [0.2, 0.2], "c": [0.12, 0.12]})
    said = text.stakes(found, ("magnitude-0.5", 0.15))
    assert "worst choice, b, costs 0.1 nats a token more than the first, 100 % of its damage" in said
    assert "b: on average worse than magnitude-0.5" in said
    assert "worse than" not in text.stakes(found, ("magnitude-0.5", 0.3))
    for least in (-0.1, 0.001):
        assert text.stakes(rank({"a": [least], "b": [0.1]}), None).endswith("more than the first.")


@pytest.mark.parametrize(
    ("method", "plain"),
    [
        ("sparsegpt-2of4", "magnitude-2of4"),
        ("owl(wanda)-0.7:m=5", "magnitude-0.7"),
        ("gptq-w3g64:actorder=true", "rtn-w3g64"),
        ("sparsegpt-0.5-w4g64", None),
    ],
)
def test_what_needs_no_data_aims_at_the_same(method, plain):
    import compressors

    assert advise.without_data(method) == plain
    assert plain is None or not compressors.parse(plain).calibrated


def test_single_draws_are_never_sure():
    found = rank({"a": [1.0], "b": [9.0]})
    assert found.first == "a"
    assert not found.sure
    assert "no saying how sure" in text.verdict(found, "here")
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
    assert summary([hit, right]) == {**found, "methods": {}}
    named = [judge("m x d", {"a": [1], "b": [2]}, damage, "x"), judge("m y d", {"a": [2], "b": [1]}, damage, "y")]
    by_method = summary(named)["methods"]
    assert {name: part["first"] for name, part in by_method.items()} == {"x": 1, "y": 0}
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
    assert len(records) == 1 + 2 * 3 + 1
    (dense,) = (r for r in records if r.case["method"] == "dense")
    scores = next(r for r in records if (r.case["draw"] or {}).get("source") == lower and r.case["draw"]["seed"] == 0)
    loss = [sum(r.nll[sources[2]].nll) / sum(r.nll[sources[2]].tokens) for r in (scores, dense)]
    assert found["damage"][lower][0] == pytest.approx(loss[0] - loss[1])
    (plain,) = (r for r in records if r.case["method"] == "magnitude-2of4")
    loss = [sum(r.nll[sources[2]].nll) / sum(r.nll[sources[2]].tokens) for r in (plain, dense)]
    assert found["without data"] == ["magnitude-2of4", pytest.approx(loss[0] - loss[1])]
    assert f"| no calibration data (magnitude-2of4) | {loss[0] - loss[1]:.4f} |" in said


def test_of_two_targets_the_mean_counts(sources, model, tmp_path):
    lower, upper, target = sources
    values, damage = {}, {}
    for name in (target, upper, f"{target},{upper}"):
        assert run(sources, model, tmp_path, "--pilot", "--seeds", "2", "--target", name) == 0
        found = json.loads((tmp_path / "found.json").read_text())
        values[name] = found["measures"][lower][1]["activation-distance"]
        damage[name] = found["damage"][lower][1]
    for by in (values, damage):
        assert by[f"{target},{upper}"] == pytest.approx((by[target] + by[upper]) / 2)
    assert values[upper] > 2 * values[target]  # what is compared with is the target


def test_the_target_is_text_that_nothing_else_uses(sources, tmp_path):
    from fixtures.known_corpus import stream_windows

    found = advise.target_reference(sources[2], tokenizer(), 10 * 32, 32)
    held = stream_windows(tokenizer(), fixtures.get_source(sources[2]).split("held-out")["text"][:], 32)
    assert found.name == sources[2]
    assert np.array_equal(found.token_ids, held[:10])
    many = write_jsonl(tmp_path / "many.jsonl", documents(2000, 5, shortest=1, longest=4))  # 400 are held out
    held = stream_windows(tokenizer(), fixtures.get_source(many).split("held-out")["text"][:], 32)
    for wanted in (1, len(held) // 2, len(held), len(held) + 50):
        assert np.array_equal(advise.target_reference(many, tokenizer(), wanted * 32, 32).token_ids, held[:wanted])


def test_a_domain_that_the_dense_model_does_not_model_is_no_target(tmp_path):
    from benchmarks.advice_accuracy import _records, gather

    for number, (far, domains) in enumerate([(1.9, {"web", "news"}), (2.1, {"web"})]):
        store = fixtures.Store(tmp_path / str(number))
        filled(store, LOSSES, dense=4.0, far=far)
        damages, _ = gather(_records([str(store.root)]))
        assert {cell.domain for cell in damages} == domains


def test_a_short_target_is_compared_at_its_own_amount(sources, model, tmp_path, capsys):
    short = write_jsonl(tmp_path / "short.jsonl", documents(24, 3))
    assert run(sources, model, tmp_path, "--target", short, "--sequences", "30") == 0
    held = fixtures.get_source(short).split("held-out")["text"]
    tokens = len(tokenizer()("".join(held))["input_ids"])
    said = capsys.readouterr().out.split(f"{short} has only ")[1]
    assert tokens - 40 < int(said.split(" ")[0]) < tokens + 40
    assert "not at the 960 of a draw" in said


def test_wrong_options_are_answered(sources, model, tmp_path, capsys):
    assert advise.main(["--sources", "web", "--target", "news"]) == 2
    assert advise.main(["--sources", "web,news"]) == 2
    assert capsys.readouterr().err.count("at least two --sources and a --target") == 2
    assert run(sources, "no-such-model", tmp_path) == 2
    assert "unknown model 'no-such-model'" in capsys.readouterr().err
    assert run(sources, model, tmp_path, "--sequences", "100000") == 2
    assert "asked for" in capsys.readouterr().err
    lower, upper, target = sources
    for more, said in [
        (["--method", "rtn-w4g16"], "rtn-w4g16 looks at no calibration data: every source gives the same weights"),
        (["--method", "dense"], "dense looks at no calibration data"),
        (["--sources", f"{lower},{upper},{lower}"], f"--sources names '{lower}' twice"),
        (["--documents", "0"], "--documents 0: expected 1 or more"),
        (["--documents", "4000", "--pilot"], "documents, 4000 asked for; ask for fewer (--documents)"),
        (["--seeds", "5"], "--seeds 5: a source is dealt into 4 draws (see --slices)"),
        (["--target", "random-tokens"], "--target random-tokens: it has no documents"),
        (["--target", target, "--length", "100000"], f"--target {target}: "),
        (["--sources", f"{lower},wbe"], "did you mean 'web'?"),
        (["--json", str(tmp_path / "none" / "x.json")], "no such folder"),
    ]:
        assert run(sources, model, tmp_path, *more) == 2
        out, err = capsys.readouterr()
        assert said in err
        assert not out  # said before anything is measured
    assert advise.main(["--accuracy", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no store of records" in capsys.readouterr().err
    (tmp_path / "empty" / "records").mkdir(parents=True)
    assert advise.main(["--accuracy", str(tmp_path / "empty")]) == 2
    assert "no cell to judge" in capsys.readouterr().err


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
