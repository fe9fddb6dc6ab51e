"""SpQR against a float64 reference, against GPTQ and rounding to nearest, its outliers and its bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import spqr
from tests import references_algorithms as references
from tests.helpers_compressors import Layer, compress_layer, few, layers, loss, make_layer, observe, solve


@pytest.mark.parametrize(
    ("bits", "group", "threshold", "rows"), [(3, 8, 0.2, 20), (4, 16, 0.1, 7), (2, 24, 0.5, 33), (3, 48, 0.05, 16)]
)
def test_equals_the_reference(bits, group, threshold, rows):
    layer = make_layer(bits, rows, 48)
    hessian = observe(layer.inputs, "hessian").hessian
    done = spqr.quantize(layer.weight, hessian, bits=bits, group_size=group, threshold=threshold)
    expected, outliers = references.spqr(
        layer.weight.numpy(), hessian.numpy(), bits, group, threshold, statbits=3, statgroup=16, damp=1.0
    )
    assert torch.equal(done.outliers, torch.from_numpy(outliers))
    assert 0 < outliers.mean() < 0.5
    torch.testing.assert_close(done.weight, torch.from_numpy(expected), rtol=1e-8, atol=1e-9)


def test_float32_reaches_the_reference_s_loss():
    layer = make_layer(1, 32, 96)
    hessian = observe(layer.inputs, "hessian").hessian
    done = spqr.quantize(layer.weight.float(), hessian.float(), bits=3)
    expected, _ = references.spqr(layer.weight.numpy(), hessian.numpy(), 3, 16, 0.2, 3, 16, 1.0)
    assert loss(layer, done.weight.double()) == pytest.approx(loss(layer, torch.from_numpy(expected)), rel=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_float32_decisions_are_optimal_given_the_earlier_ones(seed):
    layer = make_layer(seed, 16, 64)
    hessian = observe(layer.inputs, "hessian").hessian
    done = spqr.quantize(layer.weight.float(), hessian.float(), bits=3)
    assert done.outliers.any()
    worst, breach = references.spqr_regret(
        layer.weight.float().double().numpy(), hessian.numpy(), done.weight.double().numpy(), done.outliers.numpy(),
        bits=3, group=16, threshold=0.2, statbits=3, statgroup=16, damp=1.0,
    )  # fmt: skip
    assert worst < 1e-3
    assert breach < 1e-3


@few
@given(
    layer=layers(48), bits=st.integers(2, 8), size=st.sampled_from([8, 16, 48, -1]), actorder=st.booleans(),
    damp=st.sampled_from([0.01, 1.0]),
)  # fmt: skip
def test_without_outliers_and_coarse_statistics_it_is_gptq(layer, bits, size, actorder, damp):
    settings = f"actorder={str(actorder).lower()},damp={damp}"
    plain = compress_layer(f"gptq-w{bits}g{size}:groups=fresh,{settings}", layer)
    new = compress_layer(f"spqr-w{bits}g{size}:threshold=inf,statbits=16,grid=gptq,{settings}", layer)
    assert torch.equal(new, plain)


@few
@given(seed=st.integers(0, 2**20), rows=st.integers(8, 32), bits=st.sampled_from([2, 3, 4]))
def test_error_is_no_worse_than_rounding_and_falls_with_outliers(seed, rows, bits):
    layer = make_layer(seed, rows, 64)
    many, none, rounded = (
        loss(layer, compress_layer(name, layer))
        for name in (f"spqr-w{bits}g16:threshold=0.05", f"spqr-w{bits}g16:threshold=inf", f"rtn-w{bits}g16")
    )
    assert many <= none
    assert many <= rounded


@few
@given(
    layer=layers(16, kinds=("independent", "correlated", "dead"), least_rows=2), grid=st.sampled_from(["free", "gptq"])
)
def test_leaving_one_out_equals_fitting_without_it(layer, grid):
    cells, diagonal = layer.weight.T[:16], layer.inputs.std(0)[:16] + 0.5
    gain = spqr.leave_one_out(cells, diagonal, 3, grid)

    def error(part, share):
        lattice = spqr._range(part.amin(0), part.amax(0), 3, grid)
        return ((part - spqr._round(part, lattice)) / share[:, None]).square().sum(0)

    for leave in range(16):
        rest = [i for i in range(16) if i != leave]
        torch.testing.assert_close(gain[leave], error(cells, diagonal) - error(cells[rest], diagonal[rest]))


def test_a_planted_outlier_is_kept_and_its_group_is_finer_for_it():
    layer = make_layer(6, 16, 64, "independent")
    weight = layer.weight.clone()
    weight[3, 17] = 50.0
    hessian = observe(layer.inputs, "hessian").hessian
    done, without = (
        spqr.quantize(weight, hessian, bits=3, threshold=threshold, actorder=False, damp=0.01)
        for threshold in (0.5, float("inf"))
    )
    assert done.outliers[3, 17]
    assert abs(float(done.weight[3, 17]) - 50) < 5  # updated for earlier errors, but not rounded
    neighbours = [j for j in range(16, 32) if j != 17]
    coarse, fine = ((part.weight - weight)[3, neighbours].abs().mean() for part in (without, done))
    assert fine < coarse / 3


def test_realised_bits_count_codes_statistics_and_outliers():
    # 3 + (3 + 3) / 16 + 64 / (16 * 16) + 32 * share, as the paper counts, and 32 / out for the group of each column.
    layer = make_layer(7, 64, 128)
    (solved,) = solve("spqr-w3g16", [layer.weight], layer.inputs)
    done = spqr.quantize(layer.weight, observe(layer.inputs, "hessian").hessian, bits=3)
    share = float(done.outliers.double().mean())
    assert share > 0
    assert solved.bits(16, 0.0) == pytest.approx(3 + 6 / 16 + 64 / 256 + 32 * share + 32 / 64)


@pytest.mark.parametrize(
    ("spelling", "more"),
    [
        ("spqr-w3g-1", 6 / 128 + 64 / (16 * 128)),  # one group a row: nothing says whose group a column is
        ("spqr-w3g16:actorder=false", 6 / 16 + 64 / 256),
        ("spqr-w3g16:actorder=false,statbits=16", 32 / 16),
        ("spqr-w3g16:actorder=false,statgroup=24", 6 / 16 + 3 * 64 / (64 * 16)),  # the last run of rows is shorter
    ],
)
def test_realised_bits_of_other_groups_and_statistics(spelling, more):
    layer = make_layer(7, 64, 128)
    (solved,) = solve(f"{spelling}{',' if ':' in spelling else ':'}threshold=inf", [layer.weight], layer.inputs)
    assert solved.bits(16, 0.0) == pytest.approx(3 + more)


def test_each_linear_has_a_threshold_of_its_own():
    layer = make_layer(8, 32, 64)
    loud = layer.weight * 100
    together = solve("spqr-w3g16", [layer.weight, loud], layer.inputs)
    assert torch.allclose(together[0].weight * 100, together[1].weight)


def test_a_layer_of_equal_weights_is_exact():
    layer = Layer(torch.full((4, 32), 0.3, dtype=torch.float64), make_layer(0, 1, 32).inputs)
    torch.testing.assert_close(compress_layer("spqr-w3g16", layer), layer.weight)
