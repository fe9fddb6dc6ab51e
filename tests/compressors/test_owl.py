"""OWL: outlier shares against a float64 reference, ratios, the whole walk."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import owl
from tests import references_algorithms as references
from tests.helpers_compressors import make_layer, observe, same_weights, tiny_llama, tokens, weights_of

SHARES = st.lists(st.floats(0, 0.2), min_size=1, max_size=12)


def test_shares_equal_the_reference():
    blocks = [[make_layer(10 * b + i, 6, 32) for i in range(3)] for b in range(3)]
    expected = references.owl_shares(
        [[(layer.weight.numpy(), layer.inputs.numpy()) for layer in b] for b in blocks], 3.0
    )
    found = [
        owl.outlier_share([l.weight for l in b], [observe(l.inputs, "norms").norms for l in b], 3.0) for b in blocks
    ]
    assert found == pytest.approx(expected, abs=1e-12)
    assert len(set(found)) > 1


def test_ratios_of_a_worked_example():
    # Stretched to 0, 0.08, 0.16, whose mean is 0.08; the block with most outliers is pruned least.
    assert owl.ratios([0.01, 0.02, 0.03], [1, 1, 1], 0.7, 0.08) == (pytest.approx([0.78, 0.70, 0.62]), 0)


@given(shares=SHARES, sparsity=st.floats(0, 0.99), spread=st.floats(0, 0.5), data=st.data())
def test_the_mean_is_exact_and_ratios_fall_as_shares_rise(shares, sparsity, spread, data):
    sizes = data.draw(st.lists(st.integers(1, 100), min_size=len(shares), max_size=len(shares)))
    found, clamped = owl.ratios(shares, sizes, sparsity, spread)
    mean = math.fsum(ratio * size for ratio, size in zip(found, sizes, strict=True)) / sum(sizes)
    assert mean == pytest.approx(sparsity, abs=1e-9)
    assert all(0 <= ratio <= max(owl.LIMIT, sparsity) for ratio in found)
    ranked = [ratio for _, ratio in sorted(zip(shares, found, strict=True), key=lambda pair: pair[0])]
    assert ranked == sorted(ranked, reverse=True)
    assert clamped <= len(shares)


def test_equal_shares_are_even_and_counted():
    assert owl.ratios([0.1, 0.1], [1, 1], 0.6, 0.1) == ([0.6, 0.6], -1)


def test_clamped_ratios_are_counted_and_the_mean_holds():
    found, clamped = owl.ratios([0.0, 0.0, 0.0, 1.0], [1] * 4, 0.9, 0.4)
    assert clamped > 0
    assert sum(found) / 4 == pytest.approx(0.9)


@pytest.mark.parametrize("base", ["wanda", "sparsegpt", "magnitude"])
def test_without_spread_it_is_the_base(base):
    plain, even = tiny_llama(), tiny_llama()
    compressors.compress(plain, tokens(), f"{base}-0.6")
    compressors.compress(even, tokens(), f"owl({base})-0.6:lambda=0")
    assert same_weights(weights_of(plain), weights_of(even))


def test_blocks_get_the_planned_sparsity_and_it_is_reported():
    model = tiny_llama(num_hidden_layers=3)
    model.model.layers[1].mlp.up_proj.weight.data[:, ::10] *= 6  # outliers
    report = compressors.compress(model, tokens(), "owl(wanda)-0.6")
    planned = report.details["owl"]["sparsities"]
    assert planned[1] == min(planned)
    assert max(planned) - min(planned) == pytest.approx(0.16)
    assert sum(planned) / 3 == pytest.approx(0.6)
    for linear in report.linears:
        block = int(linear.name.split(".")[2])
        assert linear.sparsity == pytest.approx(round(planned[block] * linear.shape[1]) / linear.shape[1])


def test_shares_come_from_the_dense_model():
    dense, pruned = tiny_llama(num_hidden_layers=3), tiny_llama(num_hidden_layers=3)
    first = compressors.compress(dense, tokens(), "owl(wanda)-0.3").details["owl"]["outlier_shares"]
    second = compressors.compress(pruned, tokens(), "owl(wanda)-0.8").details["owl"]["outlier_shares"]
    assert first == second
    assert torch.is_grad_enabled()
