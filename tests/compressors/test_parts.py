"""Masks, grids, streamed statistics and the damped factor: the small parts every algorithm stands on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import CompressionError, grid, masks
from compressors.columns import edges
from compressors.factor import factorize
from compressors.method import Target
from compressors.report import CompressionReport, LinearReport
from compressors.solving import Solved, misfit
from compressors.statistics import Accumulator, relative_error, sampling_stride
from tests.helpers_compressors import few, generator, layers, make_layer, observe, solve

PRUNERS = ("magnitude", "wanda", "ria", "prunerzero", "sparsegpt", "dsnot(wanda)", "dsnot(sparsegpt)")


@few
@given(
    values=st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=1, max_size=5),
    sparsity=st.floats(0, 0.99),
)
def test_the_smallest_go_and_of_equal_ones_the_first(values, sparsity):
    metric = torch.tensor(values, dtype=torch.float32)
    expected = np.zeros(metric.shape, dtype=bool)
    for row, numbers in enumerate(values):
        expected[row, np.argsort(numbers, kind="stable")[: round(sparsity * 9)]] = True
    assert np.array_equal(masks.smallest(metric, sparsity).numpy(), expected)


@few
@given(values=st.lists(st.integers(0, 2), min_size=16, max_size=16), keep=st.integers(1, 8))
def test_a_pattern_prunes_the_smallest_of_each_group(values, keep):
    mask = masks.pattern(torch.tensor([values], dtype=torch.float32), keep, 8)[0].numpy()
    for start in (0, 8):
        order = np.argsort(values[start : start + 8], kind="stable")
        assert set(np.flatnonzero(mask[start : start + 8])) == set(order[: 8 - keep])


@few
@given(layer=layers(16), bits=st.integers(2, 8), sym=st.booleans())
def test_a_grid_holds_zero_and_is_no_further_than_half_a_step(layer, bits, sym):
    lattice = grid.fit(layer.weight, bits, sym)
    assert torch.equal(grid.decode(grid.encode(torch.zeros_like(layer.weight), lattice), lattice), 0 * layer.weight)
    rounded = grid.decode(grid.encode(layer.weight, lattice), lattice)
    inside = layer.weight <= (lattice.top - lattice.zero) * lattice.scale
    # A symmetric grid has one point fewer above zero than below: what lies beyond it is clamped, by at most a step.
    # An integer zero point moves an asymmetric one by up to half a step at either end.
    slack = torch.where(inside, 1.0, 2.0)
    assert ((rounded - layer.weight).abs() <= slack * lattice.scale * (0.5 + 1e-9)).all()


def test_the_grid_of_the_docstring():
    lattice = grid.fit(torch.tensor([[-1.0, 0.5, 2.0]]), 2)
    assert float(lattice.scale) == 1
    assert float(lattice.zero) == 1
    assert grid.decode(grid.encode(torch.tensor([[-1.0, 0.4, 2.0]]), lattice), lattice).tolist() == [[-1.0, 0.0, 2.0]]


def test_a_group_of_zeros_has_a_grid():
    lattice = grid.fit(torch.zeros(2, 8), 3)
    assert grid.decode(grid.encode(torch.zeros(2, 8), lattice), lattice).tolist() == [[0.0] * 8] * 2


@few
@given(layer=layers(16), batches=st.integers(1, 9))
def test_streamed_statistics_equal_one_product(layer, batches):
    x = layer.inputs
    single = observe(x.float(), "hessian", batches).hessian
    double = observe(x, "hessian", batches).hessian
    exact = x.T @ x / x.shape[0]
    scale = float(exact.diagonal().max())
    assert single is not None
    assert double is not None
    assert float((double - exact).abs().max()) <= 1e-12 * scale
    assert float((single.double() - exact).abs().max()) <= 1e-5 * scale
    norms = observe(x, "norms", batches).norms
    torch.testing.assert_close(norms, exact.diagonal(), rtol=1e-12, atol=0)


def test_sampled_rows_are_evenly_spaced_however_they_arrive():
    x = torch.arange(100.0)[:, None].expand(100, 4)
    for batches in (1, 3, 7, 100):
        accumulator = Accumulator(4, "none", every=13)
        for part in x.chunk(batches):
            accumulator.add(part)
        sample = accumulator.result().sample
        assert sample is not None
        assert sample[:, 0].tolist() == [0, 13, 26, 39, 52, 65, 78, 91]


@few
@given(sequences=st.integers(1, 300), length=st.integers(1, 300))
def test_sampled_rows_visit_every_position_alike(sequences, length):
    stride = sampling_stride(sequences, length)
    positions = [token % length for token in range(0, sequences * length, stride)]
    assert len(positions) <= 256
    # Coprime to the length: no position comes a second time before each has come once.
    first = positions[:length]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("wants", ["norms", "hessian"])
def test_relative_error_is_that_of_the_outputs(wants):
    layer = make_layer(1, 8, 16, tokens=64)
    new = layer.weight * (torch.rand(8, 16, generator=generator(2)) > 0.5)
    exact = (layer.inputs @ (new - layer.weight).T).square().sum() / (layer.inputs @ layer.weight.T).square().sum()
    assert relative_error(layer.weight, new, observe(layer.inputs, wants)) == pytest.approx(float(exact), rel=1e-9)


@few
@given(layer=layers(16), damp=st.sampled_from([0.001, 0.01, 0.1]))
def test_the_factor_is_that_of_the_inverse(layer, damp):
    hessian = observe(layer.inputs, "hessian").hessian
    assert hessian is not None
    factor = factorize(hessian, damp)
    upper = factor.unit * factor.diagonal[:, None]
    live = ~factor.dead
    damped = hessian[live][:, live] + damp * hessian.diagonal()[live].mean() * torch.eye(int(live.sum()))
    product = (upper.T @ upper)[live][:, live] @ damped
    torch.testing.assert_close(product, torch.eye(len(damped), dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(factor.unit.tril(-1), torch.zeros_like(factor.unit))
    assert torch.equal(factor.dead, (layer.inputs == 0).all(0))


def test_damping_is_raised_until_it_works_and_counted():
    hessian = torch.ones(8, 8)  # of rank one
    factor = factorize(hessian, 0.0)
    assert factor.raised >= 1
    assert factor.damping >= 0.01
    assert factorize(torch.eye(8), 0.0)[3:] == (0.0, 0)
    indefinite = torch.diag(torch.tensor([1.0, -0.5, 1.0, 1.0]))
    assert factorize(indefinite, 0.01).raised > 3
    with pytest.raises(CompressionError, match="Cholesky"):
        factorize(torch.full((4, 4), float("nan")), 0.01)


@few
@given(columns=st.integers(1, 400), step=st.integers(1, 130), cut=st.none() | st.integers(1, 130))
def test_column_blocks_cover_every_column_once(columns, step, cut):
    found = edges(columns, step, cut)
    assert [j for start, end in found for j in range(start, end)] == list(range(columns))
    assert all(start % step == 0 or (cut is not None and start % cut == 0) for start, _ in found)


def test_bits_a_weight():
    assert grid.bits_a_weight(256, 4, 128, sym=False) == 4 + 20 / 128
    assert grid.bits_a_weight(256, 4, -1, sym=True) == 4 + 16 / 256
    assert masks.mask_bits(2, 4) == 1
    assert Solved(torch.zeros(1), 1.0, mask=True).bits(16, 0.5) == 9


@pytest.mark.parametrize(
    ("spelling", "bits"),
    [
        *((f"{name}-{target}", 16 / 2 + 1) for name in PRUNERS for target in ("0.5", "2of4")),
        ("sparsegpt-0.5-w4g16", 4 / 2 + 1 + 20 / 16), ("sparsegpt-2of4-w4g16", 4 / 2 + 1 + 20 / 16),
        ("rtn-w4g16", 4 + 20 / 16), ("awq-w4g16", 4 + 20 / 16), ("rtn-w4g-1", 4 + 20 / 64), ("nf4", 4 + 32 / 64),
    ],
)  # fmt: skip
def test_realised_bits_of_every_way_to_store_a_weight(spelling, bits):
    """16-bit values: half of them and a mask of one bit each, or codes with a scale and a zero point a group."""
    layer = make_layer(3, 10, 64)
    (solved,) = solve(spelling, [layer.weight], layer.inputs)
    assert solved.bits(16, 0.5) == pytest.approx(bits)


def test_figures_of_a_model_weigh_its_linears_by_their_size():
    small, large = (LinearReport(str(n), (n, 2), share, bits) for n, share, bits in ((1, 1.0, 3.0), (3, 0.2, 7.0)))
    report = CompressionReport("x", (small, large))
    assert report.sparsity == pytest.approx((1.0 + 3 * 0.2) / 4)
    assert report.bits == pytest.approx((3.0 + 3 * 7.0) / 4)


def test_a_group_size_that_does_not_divide_names_those_that_do():
    assert "64, 72, 96" in misfit(Target(bits=4, group_size=128), 576)
    assert misfit(Target(bits=4, group_size=64), 576) == ""
    assert "divides" in misfit(Target(keep=2, group=4), 6)
