"""Reconstruction against a float64 reference, its masks, what it lowers, what it may not see."""

from __future__ import annotations

import copy

import pytest
import torch

import compressors
from compressors import CompressionError, reconstruction
from compressors.reconstruction import hold_out
from tests.helpers_compressors import random_model, same_weights, tiny_llama, tokens, weights_of

SUFFIXES = ("+br", "+br+gp", "+br+gp+cr")


def output_of(model, ids, index):
    """What block ``index`` of a Llama puts out when the whole model is run."""
    found = []
    handle = model.model.layers[index].register_forward_hook(lambda _, __, output: found.append(output))
    model(ids)
    handle.remove()
    return found[0][0] if isinstance(found[0], tuple) else found[0]


def adam(parameters, loss, steps, lr):
    """AdamW without decay as the paper has it, all sequences in each step, entries where ``keep`` is 0 left alone."""
    first = [torch.zeros_like(p) for p, _ in parameters]
    second = [torch.zeros_like(p) for p, _ in parameters]
    for step in range(steps):
        gradients = torch.autograd.grad(loss(), [p for p, _ in parameters])
        with torch.no_grad():
            for i, ((parameter, keep), gradient) in enumerate(zip(parameters, gradients, strict=True)):
                gradient = gradient * keep
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.95 * second[i] + 0.05 * gradient**2
                mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.95 ** (step + 1))
                parameter -= lr * (1 - step / steps) * mean / (square.sqrt() + 1e-8)


def reference(model, ids, suffix, steps, lr):
    """Magnitude 2:4 pruning and reconstruction by running whole models, block after block (arXiv 2406.15524)."""
    dense = copy.deepcopy(model)
    blocks, last = model.model.layers, len(model.model.layers) - 1
    windows = [[0], *([i, i + 1] for i in range(last)), [last]] if "cr" in suffix else [[i] for i in range(last + 1)]
    pruned = set()
    for window in windows:
        target = output_of(dense if "gp" in suffix else model, ids, window[-1]).detach()
        keeps = {}
        for index in window:
            for module in blocks[index].modules():
                if isinstance(module, torch.nn.Linear) and index not in pruned:
                    order = module.weight.abs().unflatten(1, (-1, 4)).argsort(dim=-1, stable=True).argsort(-1)
                    module.weight.data *= (order >= 2).flatten(1)
            pruned.add(index)
            for module in blocks[index].modules():
                if isinstance(module, torch.nn.Linear):
                    keeps[module.weight] = (module.weight != 0).double()
        parameters = [(p, keeps.get(p, torch.ones_like(p))) for index in window for p in blocks[index].parameters()]
        adam(
            parameters, lambda w=window, t=target: (output_of(model, ids, w[-1]) - t).square().mean(), steps, lr
        )  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equals_the_reference(suffix):
    expected, model = tiny_llama(num_hidden_layers=3), tiny_llama(num_hidden_layers=3)
    reference(expected, tokens(), suffix, steps=4, lr=1e-3)
    compressors.compress(model, tokens(), f"magnitude-2of4:epochs=4,lr=0.001,batch=6,holdout=0{suffix}", batch_size=4)
    found = weights_of(model)
    for name, weight in weights_of(expected).items():
        torch.testing.assert_close(found[name], weight, rtol=1e-6, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("base", ["wanda-0.5", "sparsegpt-2of4", "owl(wanda)-0.6", "dsnot(wanda)-0.5"])
def test_without_epochs_it_is_the_base(base, suffix):
    plain, model = tiny_llama(), tiny_llama()
    compressors.compress(plain, tokens(), base)
    spelling = f"{base}:epochs=0,holdout=0{suffix}"
    report = compressors.compress(model, tokens(), spelling)
    assert same_weights(weights_of(plain), weights_of(model))
    assert all(entry["pruned"] == entry["reconstructed"] for entry in report.details["reconstruction"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_zeros_stay_where_they_are_and_errors_fall(suffix):
    model = tiny_llama(num_hidden_layers=3)
    report = compressors.compress(model, tokens(sequences=16), f"wanda-2of4:epochs=5,lr=0.001{suffix}")
    for _, module in compressors.linears(model):
        assert ((module.weight != 0).unflatten(1, (-1, 4)).sum(-1) == 2).all()
    for entry in report.details["reconstruction"]:
        assert entry["sequences"] == [14, 2]
        for part in ("calibration", "held_out"):
            assert 0 < entry["reconstructed"][part] < entry["pruned"][part]
        assert entry["reconstructed"]["calibration"] < entry["reconstructed"]["held_out"]


def test_each_suffix_lowers_the_last_block_s_error_further():
    errors = []
    for suffix in SUFFIXES:
        model = tiny_llama(num_hidden_layers=3)
        report = compressors.compress(model, tokens(sequences=16), f"wanda-0.6:epochs=8,lr=0.001{suffix}")
        errors.append(report.details["reconstruction"][-1]["reconstructed"]["calibration"])
    assert errors[0] > errors[1] > errors[2]


def test_the_recorded_error_is_that_of_the_model():
    dense, model, ids = tiny_llama(), tiny_llama(), tokens(sequences=8)
    report = compressors.compress(model, ids, "wanda-0.6:epochs=2,lr=0.001+br+gp")
    seen, held = hold_out(8, 0.125)
    with torch.no_grad():
        for index, entry in enumerate(report.details["reconstruction"]):
            for part, numbers in (("calibration", seen), ("held_out", held)):
                wanted, found = (output_of(m, ids[numbers], index) for m in (dense, model))
                assert entry["reconstructed"][part] == pytest.approx(float((wanted - found).square().mean()))


@pytest.mark.parametrize("base", ["owl(wanda)-0.6", "prunerzero-0.6"])
def test_held_out_sequences_change_nothing_but_their_error(base):
    """Nor do they enter a pass before the first block, of which OWL's ratios or gradients come."""
    ids = tokens(sequences=8)
    other = ids.clone()
    _, held = hold_out(8, 0.25)
    other[held] = tokens(seed=9, sequences=len(held))
    results = []
    for each in (ids, other):
        model = tiny_llama()
        report = compressors.compress(model, each, f"{base}:epochs=1,holdout=0.25+br+gp+cr")
        results.append((weights_of(model), report.details["reconstruction"][-1]["reconstructed"]))
    assert same_weights(results[0][0], results[1][0])
    assert results[0][1]["calibration"] == results[1][1]["calibration"]
    assert results[0][1]["held_out"] != results[1][1]["held_out"]


@pytest.mark.parametrize(
    ("n", "share", "held"), [(8, 0.125, [4]), (8, 0.25, [2, 6]), (3, 0.01, [1]), (1, 0.5, []), (5, 0, [])]
)
def test_a_share_is_held_out_evenly(n, share, held):
    seen, found = hold_out(n, share)
    assert found == held
    assert sorted(seen + found) == list(range(n))


def trained(seed=0, batch_size=8, model=None, suffix="+br+gp+cr"):
    model = tiny_llama() if model is None else model
    compressors.compress(
        model, tokens(), f"wanda-0.5:epochs=2,batch=2,lr=0.001{suffix}", seed=seed, batch_size=batch_size
    )
    return weights_of(model)


def test_the_seed_orders_the_sequences_and_batches_of_the_walk_do_not_matter():
    first = trained()
    assert same_weights(first, trained())
    assert not same_weights(first, trained(seed=1))
    for batch_size in (1, 4):
        for name, weight in trained(batch_size=batch_size).items():
            torch.testing.assert_close(weight, first[name], rtol=1e-6, atol=1e-8)


def test_a_bfloat16_model_stays_one_and_is_trained():
    model, plain = tiny_llama().bfloat16(), tiny_llama().bfloat16()
    report = compressors.compress(model, tokens(sequences=16), "wanda-0.5:lr=0.001+br+gp")
    compressors.compress(plain, tokens(sequences=16), "wanda-0.5")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not same_weights(weights_of(model), weights_of(plain))
    last = report.details["reconstruction"][-1]
    assert last["reconstructed"]["calibration"] < last["pruned"]["calibration"]


def families():
    from transformers import BloomConfig, GPT2Config, GPTNeoXConfig, OPTConfig

    gpt2 = GPT2Config(vocab_size=128, n_embd=64, n_layer=2, n_head=4, n_positions=64)
    bloom = BloomConfig(vocab_size=128, hidden_size=64, n_layer=2, n_head=4)
    neox = GPTNeoXConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    opt = OPTConfig(
        vocab_size=128, hidden_size=64, ffn_dim=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, word_embed_proj_dim=64,
    )  # fmt: skip
    return {"gpt2": gpt2, "bloom": bloom, "gpt-neox": neox, "opt": opt}


@pytest.mark.parametrize("family", families())
def test_families(family):
    model = random_model(families()[family])
    report = compressors.compress(model, tokens(), "wanda-0.5:epochs=3,lr=0.001,batch=3+br+gp", batch_size=4)
    for entry in report.details["reconstruction"]:
        assert entry["reconstructed"]["calibration"] < entry["pruned"]["calibration"]


def test_an_interrupt_brings_back_every_parameter():
    model = tiny_llama()
    before = weights_of(model)

    def interrupt(done, total, stage):
        if done == total:
            changed = [name for name, weight in weights_of(model).items() if not torch.equal(weight, before[name])]
            assert any("norm" in name for name in changed)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compressors.compress(model, tokens(), "wanda-0.5:epochs=1+br+gp+cr", progress=interrupt)
    assert same_weights(before, weights_of(model))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_what_cannot_be_is_refused():
    with pytest.raises(CompressionError, match="sequential"):
        compressors.compress(tiny_llama(), tokens(), "wanda-0.5+br", propagation="dense")
    with pytest.raises(CompressionError, match="needs calibration data"):
        compressors.compress(tiny_llama(), None, "magnitude-0.5+br")


def test_training_that_diverges_is_an_error_and_leaves_the_model(monkeypatch):
    monkeypatch.setattr(
        reconstruction, "_gradients", lambda *arguments: [torch.full_like(p, torch.nan) for p in arguments[-1]]
    )
    model = tiny_llama()
    before = weights_of(model)
    with pytest.raises(CompressionError, match=r"model\.layers\.0 .* lower lr"):
        compressors.compress(model, tokens(), "wanda-0.5:epochs=1+br")
    assert same_weights(before, weights_of(model))
