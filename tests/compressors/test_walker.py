"""The walk over a model: every family, what blocks see of each other, sharing of statistics, refusals, restoring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

import compressors
from compressors import CompressionError, MethodError, models, offload, walker, wanda
from compressors.clock import Clock
from compressors.masks import smallest
from compressors.observe import Observer
from tests.helpers_compressors import random_model, same_weights, tiny_llama, tokens, weights_of

COMMON = {"vocab_size": 128, "max_position_embeddings": 64}
LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    **COMMON,
}
PLAIN = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
OPT = {"hidden_size": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 64}
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 128, "n_positions": 64}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
FAMILIES = {
    "llama": (lambda: transformers.LlamaConfig(**LLAMA), 14),
    "qwen2": (lambda: transformers.Qwen2Config(**LLAMA), 14),
    "qwen3": (lambda: transformers.Qwen3Config(head_dim=16, **LLAMA), 14),
    "mistral": (lambda: transformers.MistralConfig(sliding_window=16, **LLAMA), 14),
    "gemma": (lambda: transformers.GemmaConfig(head_dim=16, **LLAMA), 14),
    "gemma2": (lambda: transformers.Gemma2Config(head_dim=16, sliding_window=8, **LLAMA), 14),
    "opt": (lambda: transformers.OPTConfig(**OPT, **COMMON), 12),
    "gpt-neox": (lambda: transformers.GPTNeoXConfig(**PLAIN), 8),
    "gpt2": (lambda: transformers.GPT2Config(bos_token_id=0, eos_token_id=0, **GPT2), 8),
    "phi": (lambda: transformers.PhiConfig(**PLAIN), 12),
    "gemma3": (lambda: transformers.Gemma3TextConfig(head_dim=16, sliding_window=8, **LLAMA), 14),
    "olmo2": (lambda: transformers.Olmo2Config(**LLAMA), 14),
    "smollm3": (lambda: transformers.SmolLM3Config(**SPECIAL, **LLAMA), 14),
    "cohere2": (lambda: transformers.Cohere2Config(sliding_window=8, bos_token_id=0, eos_token_id=0, **LLAMA), 14),
    "starcoder2": (lambda: transformers.Starcoder2Config(**LLAMA), 12),
    "bloom": (lambda: transformers.BloomConfig(hidden_size=64, n_layer=2, n_head=4, vocab_size=128), 8),
    "mpt": (lambda: transformers.MptConfig(d_model=64, n_heads=4, n_layers=2, max_seq_len=64, vocab_size=128), 8),
}


def family(name):
    return random_model(FAMILIES[name][0]())


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_compressed(name):
    model = family(name)
    report = compressors.compress(model, tokens(), "wanda-2of4", batch_size=4)
    assert len(report.linears) == FAMILIES[name][1]
    assert report.sparsity == 0.5
    for block in models.decoder_blocks(model):
        for linear in block.linears.values():
            kept = (models.matrix(linear) != 0).unflatten(1, (-1, 4)).sum(-1)
            assert (kept == 2).all()
    with torch.no_grad():
        assert torch.isfinite(model(tokens()).logits).all()


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("propagation", ["sequential", "dense"])
def test_blocks_see_what_they_see_in_the_model(name, propagation):
    """Replay: masks follow from the inputs that the (compressed or dense) model itself feeds its linears."""
    model = family(name)
    before = {name: models.matrix(linear).clone() for name, linear in all_linears(model).items()}
    inputs = {} if propagation == "sequential" else inputs_of(model)
    compressors.compress(model, tokens(), "wanda-0.5", propagation=propagation, batch_size=4)
    if propagation == "sequential":
        inputs = inputs_of(model)
    for name, linear in all_linears(model).items():
        if propagation == "sequential" and not first_of_its_block(model, name):
            continue  # linears of one block are calibrated together, before any of them is compressed
        norms = inputs[name].square().mean(0)
        expected = smallest(wanda.importance(before[name], norms), 0.5)
        assert torch.equal(models.matrix(linear) == 0, expected), name


def all_linears(model):
    return {name: linear for block in models.decoder_blocks(model) for name, linear in block.linears.items()}


def first_of_its_block(model, name):
    return name in {next(iter(block.linears)) for block in models.decoder_blocks(model)}


def inputs_of(model):
    found = {}
    handles = [
        linear.register_forward_pre_hook(lambda module, args, name=name: found.update({name: args[0].flatten(0, -2)}))
        for name, linear in all_linears(model).items()
    ]
    with torch.no_grad():
        model(tokens())
    for handle in handles:
        handle.remove()
    return found


def test_linears_with_one_input_share_one_statistic():
    model = tiny_llama()
    (block, *_) = models.decoder_blocks(model)
    columns = {name: linear.weight.shape[1] for name, linear in block.linears.items()}
    observer = Observer(columns, "hessian", 1, Clock(torch.device("cpu")))
    with observer.watching(block.linears), torch.no_grad():
        for batch in tokens().split(3):
            observer.next_pass()
            model(batch)
    short = [[name.rsplit(".", 1)[1] for name in names] for names in observer.groups().values()]
    assert short == [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]
    assert all(accumulator.tokens == tokens().numel() for accumulator in observer.accumulators.values())


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_method_that_changes_nothing_leaves_the_outputs(name):
    model = family(name)
    with torch.no_grad():
        before = model(tokens()).logits
        compressors.compress(model, tokens(), "wanda-0.0")
        assert torch.equal(model(tokens()).logits, before)


def test_dense_does_nothing():
    model = tiny_llama()
    before = weights_of(model)
    report = compressors.compress(model, None, "dense")
    assert same_weights(before, weights_of(model))
    assert report.linears == ()


@pytest.mark.parametrize("method", ["rtn-w3g16", "magnitude-0.5"])
def test_calibration_free_methods_need_no_tokens_and_do_not_heed_them(method):
    results = []
    for ids in (None, tokens(0), tokens(1)):
        model = tiny_llama()
        report = compressors.compress(model, ids, method)
        assert (report.linears[0].relative_error is None) == (ids is None)
        results.append(weights_of(model))
    assert same_weights(results[0], results[1])
    assert same_weights(results[0], results[2])


def test_tokens_come_as_arrays_too():
    first, second = tiny_llama(), tiny_llama()
    compressors.compress(first, tokens(), "wanda-0.5")
    compressors.compress(second, np.asarray(tokens()), "wanda-0.5")
    assert same_weights(weights_of(first), weights_of(second))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_tokens_of_any_integers(dtype):
    first, second = tiny_llama(), tiny_llama()
    compressors.compress(first, tokens(), "wanda-0.5")
    compressors.compress(second, tokens().numpy().astype(dtype), "wanda-0.5")
    assert same_weights(weights_of(first), weights_of(second))


@pytest.mark.parametrize("method", ["wanda-0.5", "rtn-w4g16"])
def test_a_model_without_values_is_refused(method):
    with pytest.raises(CompressionError, match=r"q_proj is on the meta device, without values"):
        compressors.compress(tiny_llama().to("meta"), tokens(), method)


def test_tied_embeddings_stay_dense_and_tied():
    model = tiny_llama(tie_word_embeddings=True)
    before = model.get_input_embeddings().weight.detach().clone()
    compressors.compress(model, tokens(), "wanda-0.5")
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["gptq-w3g16", "sparsegpt-0.5"])
def test_half_precision_models(dtype, method):
    model = tiny_llama().to(dtype)
    report = compressors.compress(model, tokens(), method)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert all(linear.relative_error is not None for linear in report.linears)
    if method == "sparsegpt-0.5":
        assert report.sparsity == 0.5
        assert report.bits == 8 * torch.finfo(dtype).bits / 16 + 1


def test_dead_columns_are_counted():
    model = tiny_llama()
    model.model.embed_tokens.weight.data[:, 7] = 0
    report = compressors.compress(model, tokens(), "gptq-w3g16")
    assert report.linears[0].dead_columns == 1
    assert report.linears[0].damping == 0.01


def test_the_report_knows_time_and_progress():
    stages = []
    report = compressors.compress(
        tiny_llama(), tokens(), "wanda-0.5", progress=lambda done, total, stage: stages.append((done, total, stage))
    )
    assert stages[0] == (0, 2, "capture")
    assert stages[-1] == (2, 2, "done")
    parts = [report.seconds[name] for name in ("forward", "statistics", "solve")]
    assert min(parts) > 0
    assert sum(parts) <= report.seconds["total"]
    assert (report.sequences, report.tokens, report.blocks) == (6, 192, 2)
    assert report.peak_memory > 2**20


REFUSED = [
    ({"token_ids": None}, CompressionError, "token_ids is None"),
    ({"token_ids": tokens()[:0]}, CompressionError, "empty"),
    ({"token_ids": []}, CompressionError, "empty"),
    ({"token_ids": tokens().to(torch.complex64)}, CompressionError, "integers"),
    ({"token_ids": [[1, 2], [3]]}, CompressionError, r"\[n_sequences, sequence_length\], got list"),
    ({"token_ids": tokens()[0]}, CompressionError, r"\[n_sequences, sequence_length\]"),
    ({"token_ids": tokens().float()}, CompressionError, "integers"),
    ({"token_ids": tokens(length=65)}, CompressionError, "64 positions"),
    ({"token_ids": tokens() + 100}, CompressionError, "vocabulary of 128"),
    ({"method": "gptq-w3g48"}, MethodError, r"model\.layers\.0\.self_attn\.q_proj.*8, 16, 32, 64"),
    ({"method": "wanda-2of3"}, MethodError, "3 divides"),
    ({"method": "wandb-0.5"}, MethodError, "wanda-0.5"),
    ({"propagation": "dence"}, CompressionError, "sequential, dense"),
    ({"batch_size": 0}, CompressionError, "at least 1"),
    ({"batch_size": 2.5}, CompressionError, "batch_size 2.5; expected a whole number"),
    ({"batch_size": "8"}, CompressionError, "expected a whole number"),
    ({"seed": None}, CompressionError, "seed None; expected a whole number"),
    ({"device": "meta"}, CompressionError, "device 'meta': "),
]


@pytest.mark.parametrize(("changes", "error", "words"), REFUSED)
def test_refused_before_anything_changes(changes, error, words):
    model = tiny_llama()
    before = weights_of(model)
    arguments = {"token_ids": tokens(), "method": "wanda-0.5"} | changes
    with pytest.raises(error, match=words):
        compressors.compress(model, **arguments)
    assert same_weights(before, weights_of(model))


def test_activations_that_are_not_finite_are_refused_and_the_model_restored():
    model = tiny_llama()
    model.model.layers[1].input_layernorm.weight.data[0] = 1e200
    before = weights_of(model)
    with pytest.raises(CompressionError, match=r"model\.layers\.1"):
        compressors.compress(model, tokens(), "wanda-0.5")
    assert same_weights(before, weights_of(model))


def test_a_linear_that_is_never_called_is_an_error_by_name():
    model = tiny_llama()
    model.model.layers[1].mlp.spare = torch.nn.Linear(64, 8, dtype=torch.float64)
    model.model.layers[0].mlp.spare = torch.nn.Linear(64, 8, dtype=torch.float64)
    before = weights_of(model)
    with pytest.raises(CompressionError, match=r"model\.layers\.0\.mlp\.spare was never called"):
        compressors.compress(model, tokens(), "wanda-0.5")
    assert same_weights(before, weights_of(model))


def test_an_expert_that_saw_no_token_stays_dense_and_is_counted():
    model = tiny_llama()
    for layer in model.model.layers:
        layer.mlp.experts = torch.nn.ModuleList([torch.nn.Linear(64, 8, dtype=torch.float64)])
    before = weights_of(model)
    report = compressors.compress(model, tokens(), "wanda-0.5")
    idle = [linear for linear in report.linears if linear.skipped]
    assert [linear.name for linear in idle] == [f"model.layers.{i}.mlp.experts.0" for i in (0, 1)]
    assert all(linear.tokens == 0 for linear in idle)
    assert torch.equal(model.model.layers[0].mlp.experts[0].weight, before["model.layers.0.mlp.experts.0.weight"])


def test_blocks_that_share_a_weight_are_refused():
    model = tiny_llama()
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    with pytest.raises(CompressionError, match="share one weight"):
        compressors.compress(model, tokens(), "wanda-0.5")


def test_a_model_without_blocks_is_refused():
    with pytest.raises(CompressionError, match="no list of decoder blocks"):
        compressors.compress(torch.nn.Linear(4, 4), None, "rtn-w4g4")


@pytest.mark.parametrize("method", ["wanda-0.5", "awq-w4g16", "wanda-0.5:epochs=1+br"])
@pytest.mark.parametrize("moment", ["report", "threads", "between"])
def test_an_interrupt_after_the_last_block_leaves_the_model_as_it_was(moment, method, monkeypatch):
    model = tiny_llama()
    before = weights_of(model)

    def interrupt(*args):
        assert not same_weights(before, weights_of(model))
        raise KeyboardInterrupt

    where, name = {
        "report": (walker, "peak_memory"), "threads": (offload.Visits, "__exit__"), "between": (walker._Walk, "run"),
    }[moment]  # fmt: skip
    if moment == "between":  # the walk has returned, and nobody has what it returned
        real = walker._Walk.run

        def interrupt(self, *args):
            real(self, *args)
            assert not same_weights(before, weights_of(model))
            raise KeyboardInterrupt

    monkeypatch.setattr(where, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        compressors.compress(model, tokens(), method)
    assert same_weights(before, weights_of(model))


def test_hooks_and_forwards_are_put_back():
    model = tiny_llama()
    compressors.compress(model, tokens(), "wanda-0.5")
    for module in model.modules():
        assert "forward" not in module.__dict__
        assert not module._forward_pre_hooks
