"""SparseGPT against a float64 reference, and its limits: a diagonal Hessian is Wanda's case."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import masks, sparsegpt
from compressors.columns import Pattern
from compressors.factor import factorize
from tests import references_compressors as references
from tests.helpers_compressors import Layer, compress_layer, few, generator, layers, loss, make_layer, observe


def factor_of(layer, damp=0.01, dtype=torch.float64):
    hessian = observe(layer.inputs, "hessian").hessian
    assert hessian is not None
    return factorize(hessian.to(dtype), damp)


CASES = [(0.5, 0, 0), (0.3, 0, 0), (0.8, 0, 0), (0.0, 2, 4), (0.0, 1, 4), (0.0, 4, 8), (0.0, 2, 3)]


@pytest.mark.parametrize(("sparsity", "keep", "group"), CASES)
def test_equals_the_reference(sparsity, keep, group):
    layer = make_layer(3, 6, 48, "correlated")
    pattern = Pattern(keep, group) if group else None
    done = sparsegpt.prune(layer.weight, factor_of(layer, 0.02), sparsity=sparsity, pattern=pattern, column_block=16)
    hessian = (layer.inputs.T @ layer.inputs / layer.inputs.shape[0]).numpy()
    expected = references.sparsegpt(layer.weight.numpy(), hessian, sparsity, keep, group, 0.02, 16)
    torch.testing.assert_close(done.weight, torch.from_numpy(expected), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("sparsity", "keep", "group"), CASES)
def test_float32_loses_at_most_one_percent_more_than_the_reference(sparsity, keep, group):
    layer = make_layer(4, 12, 48, "correlated")
    pattern = Pattern(keep, group) if group else None
    done = sparsegpt.prune(
        layer.weight.float(), factor_of(layer, dtype=torch.float32), sparsity=sparsity, pattern=pattern, column_block=16
    )
    hessian = (layer.inputs.T @ layer.inputs / layer.inputs.shape[0]).numpy()
    expected = references.sparsegpt(layer.weight.numpy(), hessian, sparsity, keep, group, 0.01, 16)
    assert loss(layer, done.weight.double()) == pytest.approx(loss(layer, torch.from_numpy(expected)), rel=0.01)


@pytest.mark.parametrize(("sparsity", "keep", "group"), CASES)
def test_float32_decisions_are_optimal_given_the_earlier_ones(sparsity, keep, group):
    layer = make_layer(11, 12, 48, "correlated")
    pattern = Pattern(keep, group) if group else None
    done = sparsegpt.prune(
        layer.weight.float(), factor_of(layer, dtype=torch.float32), sparsity=sparsity, pattern=pattern, column_block=16
    )
    hessian = (layer.inputs.T @ layer.inputs / layer.inputs.shape[0]).numpy()
    worst, difference = references.sparsegpt_regret(
        layer.weight.float().double().numpy(), hessian, done.weight.double().numpy(), group, 0.01, 16
    )
    assert worst < 1e-3
    assert difference < 1e-4


@few
@given(layer=layers(16), seed=st.integers(0, 99))
def test_with_a_diagonal_hessian_it_prunes_by_weight_times_norm(layer, seed):
    columns = layer.weight.shape[1]
    energy = torch.rand(columns, generator=generator(seed), dtype=torch.float64) + 0.1
    factor = factorize(torch.diag(energy), damp=0.0)
    metric = layer.weight.square() * energy
    by_pattern = sparsegpt.prune(layer.weight, factor, pattern=Pattern(2, 4)).weight
    assert torch.equal(by_pattern, layer.weight.masked_fill(masks.pattern(metric, 2, 4), 0))
    by_share = sparsegpt.prune(layer.weight, factor, sparsity=0.5, column_block=columns).weight
    lowest = masks.smallest(metric.reshape(1, -1), 0.5).view(metric.shape)
    assert torch.equal(by_share, layer.weight.masked_fill(lowest, 0))


@few
@given(layer=layers(16), keep=st.sampled_from([1, 2, 3]))
def test_without_correlation_and_damping_its_pattern_is_wanda_s(layer, keep):
    inputs = torch.diag(layer.inputs.std(0) + 0.1)  # each token is one column's: X'X is diagonal
    new, expected = (
        compress_layer(f"{name}-{keep}of4{more}", Layer(layer.weight, inputs))
        for name, more in (("sparsegpt", ":damp=0"), ("wanda", ""))
    )
    assert torch.equal(new, expected)


@pytest.mark.parametrize("rule", ["static", "block"])
@pytest.mark.parametrize(("sparsity", "keep", "group"), [(0.5, 0, 0), (0.0, 2, 4)])
@pytest.mark.parametrize(("bits", "size"), [(4, 16), (3, 8), (4, 48)])
def test_joint_quantization_equals_the_reference(sparsity, keep, group, rule, bits, size):
    layer = make_layer(bits, 6, 48)
    done = sparsegpt.prune(
        layer.weight, factor_of(layer, 0.02), sparsity=sparsity, pattern=Pattern(keep, group) if group else None,
        bits=bits, group_size=size, groups=rule, column_block=16,
    )  # fmt: skip
    hessian = (layer.inputs.T @ layer.inputs / layer.inputs.shape[0]).numpy()
    weight = layer.weight.numpy()
    expected = references.sparsegpt(weight, hessian, sparsity, keep, group, 0.02, 16, bits, size, rule)
    torch.testing.assert_close(done.weight, torch.from_numpy(expected), rtol=1e-7, atol=1e-9)


@few
@given(layer=layers(16))
def test_joint_quantization_keeps_the_zeros_and_the_grid(layer):
    done = sparsegpt.prune(layer.weight, factor_of(layer), pattern=Pattern(2, 4), bits=4, group_size=16)
    assert done.scale is not None
    assert done.zero is not None
    group_of = torch.arange(layer.weight.shape[1]) // 16
    codes = done.weight / done.scale[:, group_of] + done.zero[:, group_of]
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)
    assert ((done.weight != 0).unflatten(1, (-1, 4)).sum(-1) <= 2).all()


@pytest.mark.parametrize(
    "method",
    ["sparsegpt-0.3", "sparsegpt-2of4", "sparsegpt-0.3-w4g16", "gptq-w3g16", "gptq-w3g16:actorder=true,groups=static"],
)
def test_columns_whose_input_was_always_zero_become_zero(method):
    layer = make_layer(9, 8, 64, "dead")
    dead = (layer.inputs == 0).all(0)
    assert dead.any()
    assert not compress_layer(method, layer)[:, dead].any()


def test_nothing_to_prune_changes_nothing():
    layer = make_layer(8, 4, 32, "correlated")
    assert torch.equal(sparsegpt.prune(layer.weight, factor_of(layer), sparsity=0.0).weight, layer.weight)
