"""AWQ: scales and clipping against a float64 reference, folding that changes no function, families, the whole walk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import awq, blockwise
from compressors.blockwise import BlockTask, choose
from compressors.capture import Call, capture
from compressors.method import parse
from compressors.models import decoder_blocks, heads, matrix
from tests import references_algorithms as references
from tests.helpers_compressors import (
    compress_layer,
    few,
    generator,
    loss,
    make_layer,
    observe,
    random_model,
    same_weights,
    tiny_llama,
    tokens,
    weights_of,
)


def task_of(model, spelling="awq-w3g16", index=0, batch=4):
    """The first block of a dense model as AWQ gets it."""
    from compressors.observe import Observer

    method, blocks = parse(spelling), decoder_blocks(model)
    with torch.no_grad():
        captured = capture(model, blocks, list(tokens().split(batch)), torch.device("cpu"))
    block, calls = blocks[index], [calls[index] for calls in captured.calls]
    columns = {name: matrix(linear).shape[1] for name, linear in block.linears.items()}
    from compressors.clock import Clock

    observer = Observer(columns, method.statistics, 1, Clock(torch.device("cpu")))
    task = BlockTask(block, captured.hidden, calls, [], method, heads(model), lambda _: None, lambda *_: None)
    with torch.no_grad(), observer.watching(block.linears):
        for number in range(len(calls)):
            observer.next_pass()
            task.run(number)
    groups = [(names, observer.accumulators[leader].result()) for leader, names in observer.groups().items()]
    return task._replace(groups=groups)


@pytest.mark.parametrize(("bits", "group"), [(3, 16), (4, 48), (2, 24)])
def test_clipping_equals_the_reference(bits, group):
    layer = make_layer(bits, 9, 48, "independent")
    (solved,) = awq.solve([layer.weight], observe(layer.inputs, "hessian+size"), parse(f"awq-w{bits}g{group}"))
    expected = torch.from_numpy(references.awq_clipped(layer.weight.numpy(), layer.inputs.numpy(), bits, group, 20))
    plain = torch.from_numpy(references.to_nearest(layer.weight.numpy(), bits, group))
    # Rows that the clipping of their groups, judged apart, would make worse are left alone.
    worse = ((layer.inputs @ (expected - layer.weight).T) ** 2).sum(0) > (
        (layer.inputs @ (plain - layer.weight).T) ** 2
    ).sum(0)
    torch.testing.assert_close(solved.weight, torch.where(worse[:, None], plain, expected))
    assert not torch.equal(solved.weight, plain)


def test_statistics_of_divided_inputs_are_those_of_inputs_that_were_divided():
    layer = make_layer(5, 3, 12)
    columns = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    seen = awq._divided(observe(layer.inputs, "hessian+size"), columns)
    expected = observe(layer.inputs / columns, "hessian+size")
    for name in ("norms", "hessian", "size"):
        torch.testing.assert_close(getattr(seen, name), getattr(expected, name))


@pytest.mark.parametrize("linear", ["self_attn.o_proj", "mlp.down_proj"])
@torch.no_grad()
def test_ratio_of_a_linear_alone_equals_the_reference(linear):
    model = tiny_llama(num_key_value_heads=4)
    task = task_of(model)
    names, seen = next(group for group in task.groups if group[0][0].endswith(linear))
    seen_inputs = []
    module = task.block.linears[names[0]]
    handle = module.register_forward_pre_hook(lambda _, inputs: seen_inputs.append(inputs[0].flatten(0, 1)))
    for batch in range(len(task.calls)):
        task.run(batch)
    handle.remove()
    search = awq._Search(task)
    predecessor = search.predecessor(names)
    ratio, scale = search.best(names, seen, predecessor)
    inputs = torch.cat(seen_inputs).numpy()
    expected, errors = references.awq_ratio(matrix(module).numpy(), inputs, 3, 16, 20)
    assert ratio == expected
    assert errors.argmin() > 0
    reached = ((torch.from_numpy(inputs) @ (search._round(matrix(module), scale) - matrix(module)).T) ** 2).sum()
    assert float(reached) == pytest.approx(errors.min())


@few
@given(seed=st.integers(0, 2**20), rows=st.integers(8, 32), bits=st.sampled_from([2, 3, 4]))
def test_clipping_is_no_worse_than_rounding(seed, rows, bits):
    layer = make_layer(seed, rows, 64)
    assert loss(layer, compress_layer(f"awq-w{bits}g16", layer)) <= loss(
        layer, compress_layer(f"rtn-w{bits}g16", layer)
    )


def test_without_scales_and_clipping_it_is_rounding_to_nearest():
    plain, new = tiny_llama(), tiny_llama()
    compressors.compress(plain, tokens(), "rtn-w3g16")
    compressors.compress(new, tokens(), "awq-w3g16:scale=false,clip=false")
    assert same_weights(weights_of(plain), weights_of(new))


def families():
    from transformers import Gemma3TextConfig, GemmaConfig, GPT2Config, GPTNeoXConfig, OPTConfig, PhiConfig, Qwen3Config

    shape = {
        "vocab_size": 128, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 64,
    }  # fmt: skip
    opt = {"ffn_dim": 128, "word_embed_proj_dim": 64}
    return {  # configuration, groups of linears that have a predecessor, of how many
        "llama with 2 key-value heads": (None, 4, 4),
        "qwen3": (Qwen3Config(**shape, num_key_value_heads=2, head_dim=16), 4, 4),
        "gemma": (GemmaConfig(**shape, num_key_value_heads=1, head_dim=16), 4, 4),
        "gemma3": (Gemma3TextConfig(**shape, num_key_value_heads=1, head_dim=16), 4, 4),
        "opt": (OPTConfig(**{k: v for k, v in shape.items() if k != "intermediate_size"}, **opt), 4, 4),  # ReLU
        "gpt2": (GPT2Config(vocab_size=128, n_embd=64, n_layer=2, n_head=4, n_positions=64), 3, 4),  # GELU
        "gpt-neox": (GPTNeoXConfig(**shape), 2, 4),  # fused q, k, v by head; GELU
        "phi": (PhiConfig(**shape), 2, 3),  # one norm for attention and MLP
    }


@pytest.mark.parametrize("family", families())
@torch.no_grad()
def test_folding_keeps_the_function_and_what_has_no_predecessor_is_said(family):
    config, scaled, groups = families()[family]
    model = tiny_llama() if config is None else random_model(config)
    for name, parameter in model.named_parameters():  # norms at 1 and biases at 0 would hide a mistake
        if parameter.ndim == 1:
            parameter += 0.1 * make_layer(len(name), 1, len(parameter)).weight[0]
    before = model(tokens()).logits
    original = weights_of(model)
    found = 0
    for index in range(2):
        task = task_of(model, index=index)
        search = awq._Search(task)
        assert len(task.groups) == groups
        for names, seen in task.groups:
            predecessor = search.predecessor(names)
            if predecessor is None:
                continue
            found += 1
            scale = awq.scales(predecessor.reduce(seen.size), 0.5)
            assert not torch.allclose(scale, torch.ones_like(scale))
            awq.folding.fold(predecessor, scale, task.block, names)
    assert found == 2 * scaled
    assert not same_weights(original, weights_of(model))
    # Gemma's norms work in float32 whatever the model's dtype.
    rtol, atol = (1e-5, 1e-6) if "gemma" in family else (1e-8, 1e-9)
    torch.testing.assert_close(model(tokens()).logits, before, rtol=rtol, atol=atol)


@torch.no_grad()
def test_searching_leaves_the_block_as_it_was():
    model = tiny_llama()
    before = weights_of(model)
    task = task_of(model)
    search = awq._Search(task)
    for names, seen in task.groups:
        search.best(names, seen, search.predecessor(names))
    assert same_weights(before, weights_of(model))


def test_whole_model_is_nearer_to_the_dense_one_than_rounding_and_says_what_it_did():
    ids = tokens(sequences=12)
    dense = tiny_llama()
    for layer in dense.model.layers:  # a few large inputs, which are what scales are for
        layer.input_layernorm.weight.data[::16] *= 12
        layer.post_attention_layernorm.weight.data[::16] *= 12
    states = dense.state_dict()
    errors = {}
    for method in ("rtn-w3g16", "awq-w3g16:clip=false", "awq-w3g16"):
        model = tiny_llama()
        model.load_state_dict(states)
        report = compressors.compress(model, ids, method)
        with torch.no_grad():
            errors[method] = float((model(ids).logits - dense(ids).logits).square().sum())
    assert errors["awq-w3g16:clip=false"] < errors["rtn-w3g16"]
    assert errors["awq-w3g16"] < errors["rtn-w3g16"]
    notes = report.details["awq"]["model.layers.0"]
    assert notes["self_attn.q_proj, self_attn.k_proj, self_attn.v_proj"]["into"] == "input_layernorm"
    assert notes["mlp.down_proj"]["into"] == "mlp.up_proj"
    assert notes["self_attn.q_proj, self_attn.k_proj, self_attn.v_proj"]["ratio"] > 0


def test_dense_propagation_searches_on_the_block_s_inputs():
    sequential, dense = tiny_llama(), tiny_llama()
    first, second = (
        compressors.compress(model, tokens(), "awq-w3g16", propagation=how).details["awq"]["model.layers.0"]
        for model, how in ((sequential, "sequential"), (dense, "dense"))
    )
    assert first == second  # the first block's inputs are the same


def test_heads_that_share_values_share_scales():
    from compressors.folding import Predecessor

    shared = Predecessor("v", [], lambda _: None, 4, span=2, repeats=3)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert shared.expand(scale).tolist() == [1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4]
    assert torch.equal(shared.reduce(shared.expand(scale)), scale)
    assert shared.reduce(torch.arange(12.0)).tolist() == [2, 3, 8, 9]  # a mean over the heads of a group


def test_a_call_for_some_sequences_keeps_what_is_not_theirs():
    mask, table = torch.rand(4, 1, 5, 5, generator=generator(0)), torch.rand(1, 5, 8, generator=generator(1))
    biases = torch.arange(24.0).reshape(12, 1, 2)
    positions = torch.arange(4)
    chosen = choose(Call((mask,), {"both": (table, positions), "alibi": biases}, None), 4, [1, 3])
    assert torch.equal(chosen.args[0], mask[[1, 3]])
    assert chosen.kwargs["both"] == (table, positions)
    assert torch.equal(chosen.kwargs["alibi"], biases[[3, 4, 5, 9, 10, 11]])


def test_scales_are_centred_and_follow_the_inputs():
    size = torch.tensor([0.1, 1.0, 10.0])
    assert awq.scales(size, 0.0).tolist() == [1, 1, 1]
    torch.testing.assert_close(awq.scales(size, 1.0), torch.tensor([0.1, 1.0, 10.0]))
    assert torch.isfinite(awq.scales(torch.zeros(3), 0.5)).all()


def test_batches_run_together_give_what_they_give_apart():
    mask, table, hidden = (torch.rand(*s, generator=generator(0)) for s in ((6, 1, 4), (1, 4), (6, 4, 3)))
    calls = [Call((mask[i : i + 2],), {"table": (table, None), "causal": True}, None) for i in (0, 2, 4)]
    parts = [(hidden[i : i + 2], call) for i, call in zip((0, 2, 4), calls, strict=True)]
    (first, call), (last, other) = blockwise.merged(parts, 4)
    assert torch.equal(first, hidden[:4])
    assert torch.equal(call.args[0], mask[:4])
    assert call.kwargs["table"][0] is table
    assert last is parts[2][0]
    assert other is calls[2]
    apart = blockwise.merged([parts[0], (parts[1][0], calls[1]._replace(kwargs={"causal": False}))], 4)
    assert len(apart) == 2


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_search_is_run_on_whole_batches(batch_size, monkeypatch):
    model, found = tiny_llama(), []
    monkeypatch.setattr(awq, "merged", lambda parts, most: found.append(blockwise.merged(parts, most)) or found[-1])
    compressors.compress(model, tokens(sequences=24), "awq-w4g16:sequences=6", batch_size=batch_size)
    for parts in found:
        sizes = [hidden.shape[0] for hidden, _ in parts]
        assert sum(sizes) == 6
        assert len(sizes) == -(-6 // batch_size)
