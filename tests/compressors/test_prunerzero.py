"""Pruner-Zero: the metric against a float64 reference, gradients against one backward pass a sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compressors
from compressors import CompressionError, prunerzero
from compressors.models import matrix, oriented
from tests import references_algorithms as references
from tests.helpers_compressors import make_layer, random_model, tiny_llama, tokens, weights_of


def gradients_of(model, ids):
    """By parameter, the gradient of each sequence's loss as transformers computes it."""
    found = []
    for sequence in ids.split(1):
        model.zero_grad()
        model(input_ids=sequence, labels=sequence).loss.backward()
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    model.zero_grad(set_to_none=True)
    return found


def gpt2():
    from transformers import GPT2Config

    return random_model(GPT2Config(vocab_size=128, n_embd=32, n_layer=2, n_head=2, n_positions=64))


@pytest.mark.parametrize("build", [tiny_llama, gpt2])
def test_masks_equal_the_reference(build):
    model, ids = build(), tokens(sequences=4)
    before, gradients = weights_of(model), gradients_of(model, ids)
    modules = dict(compressors.linears(model))
    linears = {name: matrix(module) for name, module in modules.items()}
    expected = {}
    for name, weight in linears.items():
        parts = [oriented(modules[name], found[name + ".weight"]).numpy() for found in gradients]
        metric = references.prunerzero_metric(weight.numpy().copy(), parts)
        expected[name] = np.stack([references.lowest(row, round(0.5 * len(row))) for row in metric])
    compressors.compress(model, ids, "prunerzero-0.5")
    # Only the first block's inputs are the dense model's, but gradients are throughout: they come from a pre-pass.
    for name, weight in linears.items():
        assert torch.equal(torch.from_numpy(expected[name]), weight == 0)
        assert name + ".weight" in before


def test_gradients_that_are_all_alike_leave_the_choice_to_the_weights():
    weight = make_layer(0, 4, 16).weight
    assert torch.equal(prunerzero.importance(weight, torch.full_like(weight, 3.0)), weight.abs())


def test_parameters_keep_their_flags_and_get_no_gradient():
    model = tiny_llama()
    model.lm_head.weight.requires_grad_(False)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    compressors.compress(model, tokens(), "prunerzero-2of4")
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sequences_of_one_token_are_refused():
    with pytest.raises(CompressionError, match="no next token"):
        compressors.compress(tiny_llama(), tokens(length=1), "prunerzero-0.5")
