"""The command that advises on sources: it finds known answers, and says what it cannot use."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import fixtures
from benchmarks import advise
from fixtures.records import DomainScores
from tests.helpers_data import documents, tokenizer, write_jsonl


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


def test_a_pilot_is_nats_a_token_above_the_dense_model_draw_by_draw(monkeypatch, tmp_path):
    """Two documents of 10 and 30 tokens: 40 nats dense, 8 and twice 8 more on draws 0 and 1, and 80 more by code."""

    class Runner:
        def __init__(self, store):
            pass

        def run(self, case):
            more = 0 if case.draw is None else 8 * (1 + case.draw.seed) + 80 * (case.draw.source == "code")
            return SimpleNamespace(nll={"news": DomainScores(["a", "b"], [10.0, 30.0 + more], [10, 30])}), False

    monkeypatch.setattr("fixtures.runner.Runner", Runner)
    options = SimpleNamespace(
        model="known-corpus-1m", method="sparsegpt-0.5-w4g64", sources=("web", "code"), target=("news",), seeds=2,
        sequences=4, length=8, documents=2, slices=10, store=str(tmp_path), device="cpu",
    )  # fmt: skip
    damage, free = advise.pilot(options)
    assert damage == {"web": pytest.approx([0.2, 0.4]), "code": pytest.approx([2.2, 2.4])}
    assert free is None
