"""Several amounts of one calibration set in one pass: what each amount gives alone, and no block run twice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import CompressionError, MethodError, compress_prefixes, models
from tests.compressors.test_experts import models as experts
from tests.helpers_compressors import few, random_model, same_weights, tiny_llama, tokens, weights_of

METHODS = (
    "rtn-w4g16", "wanda-0.5", "gptq-w4g16", "sparsegpt-2of4", "spqr-w4g16", "ria-0.5", "dsnot(wanda)-0.5",
    "dsnot(sparsegpt)-2of4",
)  # fmt: skip


def direct(make, ids, amount, method, batch_size):
    model = make()
    report = compressors.compress(model, ids[:amount], method, propagation="dense", batch_size=batch_size)
    return weights_of(model), report


def assert_same_reports(found, expected):
    """Equal, but for the order in which errors are summed over a stack of amounts."""
    for one, other in zip(found, expected, strict=True):
        error = other.relative_error
        near = None if error is None else pytest.approx(error, rel=1e-12)
        assert one.relative_error == near
        assert replace(one, relative_error=error) == other


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bits_and_reports_as_each_amount_alone(method):
    ids, model = tokens(sequences=14), tiny_llama()
    before = weights_of(model)
    for prefix, amount in zip(compress_prefixes(model, ids, method, [12, 4, 8], batch_size=4), [12, 4, 8], strict=True):
        assert same_weights(before, weights_of(model))
        weights, report = direct(tiny_llama, ids, amount, method, 4)
        other = tiny_llama()
        prefix.put(other)
        assert same_weights(weights_of(other), weights)
        assert_same_reports(prefix.report.linears, report.linears)
        assert (prefix.sequences, prefix.report.sequences, prefix.report.tokens) == (amount, amount, amount * 32)
        assert prefix.report.propagation == report.propagation == "dense"


@few
@given(amounts=st.lists(st.integers(1, 9), min_size=1, max_size=4), batch_size=st.integers(1, 5))
def test_any_amounts_and_batches(amounts, batch_size):
    ids, model = tokens(sequences=9), tiny_llama()
    for prefix, amount in zip(
        compress_prefixes(model, ids, "sparsegpt-0.5", amounts, batch_size=batch_size), amounts, strict=True
    ):
        weights, _ = direct(tiny_llama, ids, amount, "sparsegpt-0.5", 3)
        for name, weight in prefix.weights.items():
            torch.testing.assert_close(weight, weights[name + ".weight"], rtol=1e-6, atol=1e-9)


def test_experts_that_see_no_token_of_a_prefix_stay_dense_there():
    ids = tokens(sequences=8, length=2)

    def make():
        return random_model(experts()["qwen3-moe"])

    skipped = []
    for prefix, amount in zip(compress_prefixes(make(), ids, "wanda-0.5", [1, 8], batch_size=1), [1, 8], strict=True):
        _, report = direct(make, ids, amount, "wanda-0.5", 1)
        assert_same_reports(prefix.report.linears, report.linears)
        assert prefix.report.details == report.details != {}, "routers stay dense"
        skipped.append(sum(bool(linear.skipped) for linear in prefix.report.linears))
    assert skipped[0] > skipped[1]


def test_each_batch_is_run_once_through_each_block():
    model, runs = tiny_llama(), []
    for block in models.decoder_blocks(model):
        block.module.self_attn.q_proj.register_forward_hook(lambda *_: runs.append(1))
    compress_prefixes(model, tokens(sequences=12), "wanda-0.5", [1, 2, 4, 8, 12], batch_size=4)
    shown, batches = 1, 3  # of 4 sequences, wherever amounts end
    assert len(runs) == 2 * (shown + batches)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"amounts": [4, 7]}, CompressionError, r"amounts \[4, 7\].*1 to 6"),
        ({"amounts": [0, 2]}, CompressionError, "1 to 6"),
        ({"amounts": []}, CompressionError, "amounts"),
        ({"amounts": [2.5]}, CompressionError, r"amounts \[2\.5\].*whole numbers"),
        ({"amounts": ["4"]}, CompressionError, "whole numbers"),
        ({"amounts": 4}, CompressionError, r"amounts 4; .*\[1, 8, 64\]"),
        ({"batch_size": 0}, CompressionError, "batch_size"),
        ({"batch_size": 2.5}, CompressionError, "batch_size 2.5; .*whole number"),
        ({"method": "awq-w4g16"}, MethodError, "one amount at a time"),
        ({"method": "owl(wanda)-0.5"}, MethodError, "one amount at a time"),
        ({"method": "prunerzero-0.5"}, MethodError, "one amount at a time"),
        ({"method": "wanda-0.5+br"}, MethodError, "one amount at a time"),
        ({"method": "dense"}, MethodError, "one amount at a time"),
        ({"method": "gptq-w4g48"}, MethodError, "q_proj"),
        ({"token_ids": None}, CompressionError, "token_ids"),
    ],
)
def test_refused(changes, error, words):
    arguments = {"token_ids": tokens(), "method": "wanda-0.5", "amounts": [2]} | changes
    with pytest.raises(error, match=words):
        compress_prefixes(tiny_llama(), **arguments)


def test_activations_that_are_not_finite_are_refused():
    model = tiny_llama()
    model.model.layers[0].input_layernorm.weight.data[0] = 1e200
    with pytest.raises(CompressionError, match=r"model\.layers\.0"):
        compress_prefixes(model, tokens(), "wanda-0.5", [2])


@pytest.mark.parametrize("given", [np.array([4, 2, 4]), (n for n in (4, 2, 4))], ids=["NumPy", "generator"])
def test_amounts_of_any_kind_are_builtins_in_the_reports(given):
    found = compress_prefixes(tiny_llama(), tokens(), "wanda-0.5", given)
    assert [prefix.sequences for prefix in found] == [4, 2, 4]
    assert [json.loads(json.dumps(prefix.report.to_dict()))["tokens"] for prefix in found] == [128, 64, 128]


def test_what_is_not_finite_beyond_the_largest_amount_is_not_looked_at():
    """A sweep with an amount that ``compress`` refuses is refused as a whole."""
    model, ids = tiny_llama(), tokens(sequences=8)
    ids[ids == 7], ids[5, 3] = 8, 7

    def spoil(module, inputs):
        hidden = inputs[0].clone()
        hidden[hidden.abs().amax((1, 2)) > 100] = torch.nan
        return (hidden, *inputs[1:])

    model.model.embed_tokens.weight.data[7] = 1e3
    model.model.layers[1].input_layernorm.register_forward_pre_hook(spoil)
    assert [prefix.sequences for prefix in compress_prefixes(model, ids, "gptq-w4g16", [5, 2])] == [5, 2]
    with pytest.raises(CompressionError, match=r"model\.layers\.1.* NaN or infinite"):
        compress_prefixes(model, ids, "gptq-w4g16", [2, 6])
