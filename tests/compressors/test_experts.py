"""Fused experts: read as slices, seen by the tokens that reach them, counted where none does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import compressors
from compressors import CompressionError, experts
from compressors.models import matrix
from tests.helpers_compressors import random_model, same_weights, tiny_llama, tokens, weights_of


def models():
    from transformers import GptOssConfig, MixtralConfig, Qwen2MoeConfig, Qwen3MoeConfig, Qwen3NextConfig

    shape = {
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    small = {"moe_intermediate_size": 48, "num_experts": 8, "num_experts_per_tok": 2}
    routed = {"num_local_experts": 6, "num_experts_per_tok": 2}
    return {
        "mixtral": MixtralConfig(**shape, **routed, intermediate_size=96),
        "qwen2-moe": Qwen2MoeConfig(**shape, **small, intermediate_size=96, shared_expert_intermediate_size=64),
        "qwen3-moe": Qwen3MoeConfig(**shape, **small, intermediate_size=96, head_dim=16),
        # A convolution and linear attention in one block, full attention in the other
        "qwen3-next": Qwen3NextConfig(
            **shape,
            **small,
            intermediate_size=96,
            shared_expert_intermediate_size=64,
            head_dim=16,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
        ),
        # [experts, in, out], gate and up interleaved, biases
        "gpt-oss": GptOssConfig(
            **shape, **routed, intermediate_size=64, head_dim=16, layer_types=["full_attention"] * 2
        ),
    }


def expert_linears(model):
    return {name: module for name, module in compressors.linears(model) if isinstance(module, experts.ExpertSlice)}


@pytest.mark.parametrize("family", models())
def test_experts_are_pruned_by_the_tokens_they_get(family):
    model, ids = random_model(models()[family]), tokens(sequences=3)
    found: dict[str, list[torch.Tensor]] = {}
    first = model.model.layers[0].mlp.experts

    def record(module, inputs, keywords):
        hidden, chosen = inputs[0], inputs[1] if len(inputs) > 1 else keywords["top_k_index"]
        for expert in range(module.num_experts):
            found.setdefault(expert, []).append(hidden[(chosen == expert).any(-1)])

    handle = first.register_forward_pre_hook(record, with_kwargs=True)
    with torch.no_grad(), experts.one_by_one(model):
        model(ids)
    handle.remove()
    linears = {name: matrix(module).clone() for name, module in expert_linears(model).items()}
    report = compressors.compress(model, ids, "wanda-0.5")
    reported = {linear.name: linear for linear in report.linears}
    after = {name: matrix(module) for name, module in expert_linears(model).items()}
    for expert, parts in found.items():
        name = f"model.layers.0.mlp.experts.gate_up_proj.{expert}"
        inputs = torch.cat(parts)
        assert reported[name].tokens == len(inputs) > 0
        metric = linears[name].abs() * inputs.norm(dim=0)
        order = metric.argsort(dim=1, stable=True)[:, : metric.shape[1] // 2]
        assert torch.equal(after[name], linears[name].scatter(1, order, 0.0))
    assert all((weight == 0).double().mean() == 0.5 for weight in after.values())


@pytest.mark.parametrize("method", ["gptq-w4g16", "awq-w4g16", "sparsegpt-2of4", "prunerzero-0.5", "owl(wanda)-0.5"])
@pytest.mark.parametrize("family", ["mixtral", "gpt-oss"])
def test_other_methods_reach_every_expert(family, method):
    model = random_model(models()[family])
    before = {name: matrix(module).clone() for name, module in compressors.linears(model)}
    report = compressors.compress(model, tokens(), method)
    after = {name: matrix(module) for name, module in compressors.linears(model)}
    assert {linear.name for linear in report.linears} == before.keys()
    for linear in report.linears:
        assert not torch.equal(after[linear.name], before[linear.name])
        assert not linear.skipped
        assert linear.relative_error < 1


@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g16", "awq-w4g16", "wanda-0.5:epochs=1,holdout=0+br"])
def test_an_expert_without_tokens_stays_dense_and_is_counted(method):
    model = random_model(models()["qwen3-moe"])
    before = {name: matrix(module).clone() for name, module in expert_linears(model).items()}
    report = compressors.compress(model, tokens(sequences=1, length=2), method)  # 2 tokens reach at most 4 of 8 experts
    skipped = [linear for linear in report.linears if linear.skipped]
    assert skipped
    for linear in skipped:
        assert linear.tokens == 0
        if "+br" not in method:  # a block is trained whole, and an expert that no token reaches gets no gradient
            assert torch.equal(matrix(expert_linears(model)[linear.name]), before[linear.name])
        assert linear.sparsity == float((before[linear.name] == 0).double().mean())


def test_a_calibration_free_method_needs_no_tokens_to_reach_them():
    model = random_model(models()["mixtral"])
    report = compressors.compress(model, None, "magnitude-0.5")
    assert all(linear.sparsity == 0.5 for linear in report.linears)
    assert not any(linear.skipped for linear in report.linears)


def test_running_experts_one_by_one_changes_no_output_and_is_undone():
    model = random_model(models()["mixtral"]).float()  # the grouped kernel has no float64
    before = model.config._experts_implementation
    with torch.no_grad():
        usual = model(tokens()).logits
        with experts.one_by_one(model):
            torch.testing.assert_close(model(tokens()).logits, usual)
            assert model.config._experts_implementation == "eager"
    assert model.config._experts_implementation == before
    weights = weights_of(model)
    with pytest.raises(KeyboardInterrupt):
        compressors.compress(model, tokens(), "wanda-0.5", progress=lambda done, *_: interrupt(done))
    assert model.config._experts_implementation == before
    assert same_weights(weights, weights_of(model))


def interrupt(done):
    if done == 2:
        raise KeyboardInterrupt


def test_a_slice_is_a_view():
    model = random_model(models()["gpt-oss"])
    name, module = next(iter(expert_linears(model).items()))
    assert name.endswith("gate_up_proj.0")
    with torch.no_grad():
        matrix(module)[2, 5] = 7.0
    assert module.fused[0, 5, 2] == 7.0


def test_a_parameter_that_is_no_linear_is_named_and_refused_if_it_is_much_of_the_block():
    model = tiny_llama()
    model.model.layers[1].mlp.bank = bank = nn.Parameter(torch.ones(2, 3, 40, dtype=torch.float64))
    report = compressors.compress(model, tokens(), "wanda-0.5")
    assert report.details["kept_dense"] == {"mlp.bank": {"blocks": 1, "entries": 240}}
    assert bool((bank == 1).all())
    model = tiny_llama()
    model.model.layers[1].mlp.bank = nn.Parameter(torch.ones(2, 60, 64, dtype=torch.float64))
    with pytest.raises(CompressionError, match=r"layers\.1\.mlp\.bank \[2, 60, 64\].*17% of the block"):
        compressors.compress(model, tokens(), "wanda-0.5")
