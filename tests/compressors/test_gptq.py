"""GPTQ against a float64 reference, against rounding to nearest, and its grids."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import gptq, rtn
from tests import references_compressors as references
from tests.helpers_compressors import Layer, few, layers, loss, make_layer, observe, solve

RULES = ("static", "block", "fresh")


def hessian_of(layer: Layer) -> torch.Tensor:
    found = observe(layer.inputs, "hessian").hessian
    assert found is not None
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("bits", "group", "column_block"), [(3, 8, 16), (2, 16, 16), (4, 48, 16), (3, 24, 16), (4, 8, 48)]
)
def test_equals_the_reference(rule, bits, group, column_block):
    layer = make_layer(bits, 5, 48, "correlated")
    done = gptq.quantize(
        layer.weight, hessian_of(layer), bits=bits, group_size=group, groups=rule, damp=0.02, column_block=column_block
    )
    expected = references.gptq(layer.weight.numpy(), hessian_of(layer).numpy(), bits, group, rule, 0.02, column_block)
    torch.testing.assert_close(done.weight, torch.from_numpy(expected), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_float32_decisions_are_optimal_given_the_earlier_ones(rule):
    layer = make_layer(11, 6, 64, "correlated")
    hessian = hessian_of(layer)
    done = gptq.quantize(layer.weight.float(), hessian.float(), bits=3, group_size=16, groups=rule, column_block=32)
    scale, zero = (part[:, done.group_of].double().numpy() for part in (done.scale, done.zero))
    regret = references.gptq_regret(
        layer.weight.float().double().numpy(), hessian.numpy(), done.weight.double().numpy(), scale, zero, 3, 0.01
    )
    assert regret < 1e-3
    exact = references.gptq(layer.weight.numpy(), hessian.numpy(), 3, 16, rule, 0.01, 32)
    assert loss(layer, done.weight.double()) == pytest.approx(loss(layer, torch.from_numpy(exact)), rel=0.01)


@few
@given(layer=layers(16), rule=st.sampled_from(RULES), bits=st.integers(2, 8), sym=st.booleans(), actorder=st.booleans())
def test_with_the_identity_as_hessian_it_rounds_to_nearest(layer, rule, bits, sym, actorder):
    hessian = torch.eye(layer.weight.shape[1], dtype=torch.float64)
    for size in (16, -1):
        done = gptq.quantize(layer.weight, hessian, bits=bits, group_size=size, sym=sym, groups=rule, actorder=actorder)
        assert torch.equal(done.weight, rtn.quantize(layer.weight, bits=bits, group_size=size, sym=sym).weight)


@few
@given(layer=layers(16), rule=st.sampled_from(RULES), sym=st.booleans(), actorder=st.booleans())
def test_every_weight_is_a_point_of_its_grid(layer, rule, sym, actorder):
    done = gptq.quantize(
        layer.weight, hessian_of(layer), bits=3, group_size=16, sym=sym, groups=rule, actorder=actorder
    )
    codes = done.weight / done.scale[:, done.group_of] + done.zero[:, done.group_of]
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-9)
    assert codes.round().min() >= 0
    assert codes.round().max() <= 7
    assert torch.equal(done.zero, done.zero.round())


def test_actorder_takes_columns_by_energy_and_hands_them_back_in_place():
    layer = make_layer(5, 8, 32, "correlated")
    energy = hessian_of(layer).diagonal()
    order = energy.argsort(descending=True)
    by_hand = gptq.quantize(
        layer.weight[:, order], hessian_of(layer)[order][:, order], bits=3, group_size=8, groups="fresh"
    )
    done = gptq.quantize(layer.weight, hessian_of(layer), bits=3, group_size=8, groups="fresh", actorder=True)
    assert torch.equal(done.weight[:, order], by_hand.weight)


@pytest.mark.parametrize(("bits", "group"), [(3, 8), (4, 16), (2, 48)])
def test_actorder_with_static_groups_equals_the_reference(bits, group):
    layer = make_layer(bits, 5, 48)
    hessian = hessian_of(layer)
    done = gptq.quantize(layer.weight, hessian, bits=bits, group_size=group, groups="static", actorder=True, damp=0.02)
    expected = references.gptq_by_energy(layer.weight.numpy(), hessian.numpy(), bits, group, 0.02)
    torch.testing.assert_close(done.weight, torch.from_numpy(expected), rtol=1e-8, atol=1e-9)


def test_the_three_rules_for_groups_differ():
    layer = make_layer(5, 8, 256, "correlated")
    found = [
        gptq.quantize(layer.weight, hessian_of(layer), bits=3, group_size=32, groups=rule).weight for rule in RULES
    ]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    ("spelling", "more"),
    [
        ("gptq-w3g16", (16 + 3) / 16), ("gptq-w3g16:sym=true", 16 / 16), ("gptq-w3g-1", (16 + 3) / 64),
        # Each reordered column's group is a number, shared by the rows; static groups are where they were.
        ("gptq-w3g16:actorder=true", (16 + 3) / 16 + 32 / 10), ("gptq-w3g-1:actorder=true", (16 + 3) / 64),
        ("gptq-w3g16:actorder=true,groups=static", (16 + 3) / 16),
        ("gptq-w3g16:actorder=true,groups=fresh", (16 + 3) / 16 + 32 / 10),
    ],
)  # fmt: skip
def test_realised_bits_count_codes_scales_zero_points_and_groups(spelling, more):
    layer = make_layer(3, 10, 64)
    (solved,) = solve(spelling, [layer.weight], layer.inputs)
    assert solved.bits(16, 0.3) == pytest.approx(3 + more)
