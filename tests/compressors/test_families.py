"""Families of ``transformers``: blocks run one after the other are the model, and all its linears are compressed."""

from __future__ import annotations

import pytest
import torch

import compressors
from benchmarks.tiny_families import chain, tiny
from compressors import CompressionError, models, wanda
from compressors.experts import ExpertSlice
from compressors.masks import smallest
from tests.helpers_compressors import same_weights, tokens, weights_of

# Beside those of test_walker.py and test_experts.py. What stays dense in a block, by name, is written out.
ROUTER, GATE = {"mlp.router.weight"}, {"mlp.gate.weight"}
FAMILIES = {
    "apertus": set(),
    "bamba": set(),
    "biogpt": set(),
    "codegen": set(),
    "cohere": set(),
    "ctrl": set(),
    "deepseek_v2": GATE,
    "deepseek_v3": GATE,
    "ernie4_5": set(),
    "exaone4": set(),
    "falcon": set(),
    "falcon_h1": set(),
    "falcon_mamba": {"mixer.A_log"},
    "gemma3n_text": set(),
    "gemma4_text": set(),
    "glm4": set(),
    "glm4_moe": GATE,
    "glm_moe_dsa": GATE,
    "gpt_bigcode": set(),
    "gpt_neo": set(),
    "gptj": set(),
    "granite": set(),
    "granitemoe": {"block_sparse_moe.router.weight"},
    "granitemoehybrid": {"block_sparse_moe.router.weight"},
    "jamba": {"mamba.A_log", "feed_forward.router.weight"},
    "jetmoe": set(),
    "lfm2": set(),
    "llama4_text": set(),
    "longcat_flash": set(),
    "mamba": {"mixer.A_log"},
    "mamba2": set(),
    "nemotron_h": {"mixer.gate.weight"},
    "olmo_hybrid": set(),
    "olmoe": GATE,
    "openai-gpt": set(),
    "phi3": set(),
    "qwen3_5_text": set(),
    "recurrent_gemma": {
        f"temporal_block.rg_lru.{gate}_gate_{what}" for gate in ("input", "recurrent") for what in ("weight", "bias")
    },
    "rwkv": set(),
    "stablelm": set(),
    "xlstm": set(),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_blocks_one_after_the_other_are_the_model(kind):
    last, hidden = chain(tiny(kind), tokens())
    torch.testing.assert_close(hidden, last, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", FAMILIES)
def test_all_linears_are_pruned_by_what_they_see_in_the_model(kind):
    model = tiny(kind)
    linears = dict(compressors.linears(model))
    before = {name: models.matrix(linear).clone() for name, linear in linears.items()}
    inputs = inputs_of(model, linears)
    report = compressors.compress(model, tokens(), "wanda-0.5", propagation="dense", batch_size=6)
    assert set(report.details.get("kept_dense", {})) == FAMILIES[kind]
    assert sorted(linear.name for linear in report.linears) == sorted(linears)
    replayed = 0
    for linear in report.linears:
        weight = models.matrix(linears[linear.name])
        if linear.skipped:
            assert "expert" in linear.name
            assert torch.equal(weight, before[linear.name])
        elif linear.name in inputs:
            norms = inputs[linear.name].square().mean(0)
            assert torch.equal(weight == 0, smallest(wanda.importance(before[linear.name], norms), 0.5)), linear.name
            replayed += 1
        else:  # an expert, or used without a call
            assert isinstance(linears[linear.name], ExpertSlice) or linear.name.endswith(
                ("dt_proj", "router.classifier")
            )
            assert float((weight == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
    assert replayed >= len(models.decoder_blocks(model))


def inputs_of(model, linears):
    found: dict[str, list[torch.Tensor]] = {}
    handles = [
        linear.register_forward_pre_hook(
            lambda module, args, name=name: found.setdefault(name, []).append(args[0].flatten(0, -2).clone())
        )
        for name, linear in linears.items()
    ]
    with models.for_inference(model):
        model(tokens(), use_cache=False)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


@pytest.mark.parametrize("kind", ["mamba", "falcon_mamba", "jamba"])
def test_a_weight_that_is_used_without_a_call_is_observed(kind):
    """``dt_proj`` of Mamba: its input are the first columns of what ``x_proj`` puts out (Jamba: after a norm)."""
    model, found = tiny(kind), {}
    block = models.decoder_blocks(model)[0]
    name, linear = next((name, linear) for name, linear in block.linears.items() if name.endswith("dt_proj"))
    mixer = block.module.get_submodule(name.removeprefix(block.name + ".").rsplit(".", 1)[0])
    before = linear.weight.detach().clone()
    source = mixer.dt_layernorm if kind == "jamba" else mixer.x_proj
    handle = source.register_forward_hook(lambda module, inputs, output: found.update(output=output))
    with models.for_inference(model):
        model(tokens(), use_cache=False)
    handle.remove()
    steps = found["output"][..., : linear.weight.shape[1]].flatten(0, -2)
    if kind == "falcon_mamba":  # which normalises them, by no module of its own
        steps = steps * torch.rsqrt(steps.square().mean(-1, keepdim=True) + mixer.rms_eps)
    report = compressors.compress(model, tokens(), "gptq-w4g-1", propagation="dense")
    mine = next(linear for linear in report.linears if linear.name == name)
    assert mine.tokens == tokens().numel()
    error = (steps @ (linear.weight.detach() - before).T).square().sum() / (steps @ before.T).square().sum()
    assert mine.relative_error == pytest.approx(float(error), rel=1e-6)


def test_experts_multiplied_all_at_once_are_seen_by_the_tokens_sent_to_them():
    """Llama 4: one batched product, in which the rows of tokens that are sent elsewhere are zero."""
    model, found = tiny("llama4_text"), {}
    experts = model.model.layers[0].feed_forward.experts
    before = experts.gate_up_proj.detach().clone()
    handle = experts.register_forward_pre_hook(lambda module, inputs: found.update(inputs=inputs[0]))
    with torch.no_grad():
        model(tokens(), use_cache=False)
    handle.remove()
    rows = found["inputs"].reshape(4, -1, 64)
    report = {linear.name: linear for linear in compressors.compress(model, tokens(), "wanda-0.5").linears}
    for index in range(4):
        sent = rows[index][rows[index].any(-1)]
        assert report[f"model.layers.0.feed_forward.experts.gate_up_proj.{index}"].tokens == len(sent) > 0
        expected = smallest(wanda.importance(before[index].T, sent.square().mean(0)), 0.5)
        assert torch.equal(experts.gate_up_proj[index].T == 0, expected)


@pytest.mark.parametrize("kind", ["gemma4_text", "jamba", "llama4_text", "openai-gpt", "olmo_hybrid"])
@pytest.mark.parametrize("method", ["awq-w4g-1", "sparsegpt-0.5", "wanda-0.5:epochs=1+br"])
def test_methods_that_run_blocks_on_some_sequences_work_on_unusual_blocks(kind, method):
    model = tiny(kind)
    report = compressors.compress(model, tokens(), method, batch_size=4)
    assert all(linear.relative_error < 1 for linear in report.linears if not linear.skipped)
    with torch.no_grad():
        assert torch.isfinite(model.float()(tokens()).logits).all()


REFUSED = [
    ("hrm_text", {}, "wanda-0.5", r"layers\.0 was called when none was due; blocks must be called once each"),
    ("hy_v4", {"num_hidden_layers": 4, "num_key_value_heads": 4}, "wanda-0.5", r"given prev_topk_indices that depends"),
    (
        "rwkv",
        {"num_hidden_layers": 7},
        "wanda-0.5",
        r"what enters rwkv\.blocks\.6 is not what rwkv\.blocks\.5 puts out",
    ),
    ("xlm", {"emb_dim": 64}, "wanda-0.5", "computes something between them"),
    ("xlnet", {"d_inner": 96}, "wanda-0.5", "is no linear .* would stay dense"),
    ("zamba", {}, "wanda-0.5", r"shared_transf\.self_attn\.q_proj share one weight"),
    ("zaya", {"num_hidden_layers": 3}, "wanda-0.5", r"layers\.1 is given something that depends on what earlier"),
    ("gemma3n_text", {}, "awq-w4g-1", r"are \[2, 6, 32, 64\]; methods that see linears alone work"),
    ("gemma3n_text", {}, "wanda-0.5+br", "picks sequences"),
]


@pytest.mark.parametrize(("kind", "changes", "method", "words"), REFUSED)
def test_what_is_not_its_blocks_one_after_the_other_is_refused(kind, changes, method, words):
    model = tiny(kind, **changes)
    with models.for_inference(model):
        model(tokens(), use_cache=False)  # RWKV's first run in evaluation mode scales its weights
    before = weights_of(model)
    with pytest.raises(CompressionError, match=words):
        compressors.compress(model, tokens(), method)
    assert same_weights(before, weights_of(model))
