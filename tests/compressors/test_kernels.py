"""The GPU's kernels give what eager torch gives, which gives what float64 gives. Skipped without a CUDA device."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from compressors import kernels, masks
from compressors.codehash import module_name
from compressors.kernels import columns as fused
from compressors.kernels import gram
from compressors.statistics import Accumulator, Statistics
from tests.helpers_compressors import few, make_layer, same_weights, solver, tiny_llama, tokens, weights_of

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

METHODS = (
    "gptq-w4g64", "gptq-w3g32:groups=fresh,sym=true", "gptq-w4g-1", "gptq-w2g16:groups=static",
    "gptq-w4g80:actorder=true", "sparsegpt-0.5", "sparsegpt-0.7", "sparsegpt-2of4", "sparsegpt-4of8",
    "sparsegpt-0.5-w4g64", "sparsegpt-2of4-w3g32:groups=static",
    "spqr-w3g16", "spqr-w4g32:grid=gptq,actorder=false,statbits=16",
)  # fmt: skip


@pytest.fixture
def eager(monkeypatch):
    """Call it, and the kernels are out of use."""
    return lambda: monkeypatch.setattr(kernels, "usable", lambda tensor: False)


def hessian_loss(weight, new, hessian):
    change = new.double() - weight.double()
    return float((change @ hessian.double()).mul(change).sum())


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", ["correlated", "dead", "rank deficient"])
@pytest.mark.parametrize("spelling", METHODS)
def test_the_fused_loop_equals_eager_and_float64(spelling, kind, eager):
    method = compressors.parse(spelling)
    layer = make_layer(0, 300, 320, kind)
    hessian = (layer.inputs.T @ layer.inputs / len(layer.inputs)).cuda()
    weights = [part.cuda().float() for part in layer.weight.split([176, 60, 64])]

    def solved(dtype):
        seen = Statistics(len(layer.inputs), hessian.diagonal().to(dtype), hessian.to(dtype, copy=True))
        return [done.weight for done in solver(method)([weight.to(dtype) for weight in weights], seen, method)]

    by_kernels = solved(torch.float32)
    eager()
    by_torch, exact = solved(torch.float32), solved(torch.float64)
    for weight, new, plain, best in zip(weights, by_kernels, by_torch, exact, strict=True):
        assert torch.equal((new == 0).sum(), (plain == 0).sum()) or method.target.bits is not None
        loss = hessian_loss(weight, best, hessian)
        assert hessian_loss(weight, new, hessian) == pytest.approx(loss, rel=0.01)
        assert hessian_loss(weight, plain, hessian) == pytest.approx(loss, rel=0.01)
        same = ((new.double() - best).abs() <= 1e-3 * best.abs().max()).double().mean()
        assert same > 0.95


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("spelling", METHODS)
def test_several_hessians_in_one_launch_give_what_each_gives(spelling):
    method = compressors.parse(spelling)
    weights = [part.cuda().float() for part in make_layer(0, 300, 320).weight.split([176, 60, 64])]
    seen = []
    for seed, kind in enumerate(("correlated", "dead", "independent")):
        inputs = make_layer(seed, 1, 320, kind).inputs.cuda()
        hessian = (inputs.T @ inputs / len(inputs)).float()
        seen.append(Statistics(len(inputs), hessian.diagonal(), hessian))
    together = import_module(module_name(method.algorithm)).solve_all(weights, seen, method)
    for found, one in zip(together, seen, strict=True):
        for new, alone, weight in zip(found, solver(method)(weights, one, method), weights, strict=True):
            loss = hessian_loss(weight, alone.weight, one.hessian)
            assert hessian_loss(weight, new.weight, one.hessian) == pytest.approx(loss, rel=0.01)
            same = ((new.weight - alone.weight).abs() <= 1e-3 * alone.weight.abs().max()).double().mean()
            assert same > 0.95
            assert (new.damping, new.fallbacks) == (alone.damping, alone.fallbacks)


@pytest.mark.gpu
@needs_gpu
@few
@given(st.integers(0, 2**20), st.integers(1, 9), st.integers(1, 300), st.floats(0, 0.999), st.integers(1, 50))
def test_selection_equals_eager(seed, rows, width, sparsity, distinct):
    # Few distinct values, of both signs and zeros of both, make ties the rule.
    source = torch.Generator().manual_seed(seed)
    metric = (torch.randint(-distinct, distinct + 1, (rows, width), generator=source) / 3).float()
    metric[metric == 0] = torch.tensor([0.0, -0.0])[torch.randint(0, 2, (int((metric == 0).sum()),), generator=source)]
    assert torch.equal(masks.smallest(metric.cuda(), sparsity).cpu(), masks.smallest(metric, sparsity))
    cells = metric.abs()[:, : width // 4 * 4]
    if cells.numel():
        assert torch.equal(masks.pattern(cells.cuda(), 2, 4).cpu(), masks.pattern(cells, 2, 4))


@pytest.mark.gpu
@needs_gpu
def test_selection_in_a_very_wide_row_equals_eager():
    metric = torch.randint(0, 1000, (1, 10**6), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(masks.smallest(metric.cuda(), 0.3).cpu(), masks.smallest(metric, 0.3))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hessians_on_tensor_cores(dtype, monkeypatch):
    monkeypatch.setattr(gram, "PANEL", 128)
    inputs = make_layer(1, 1, 576, tokens=8192).inputs.to(dtype).cuda()
    accumulator = Accumulator(576, "hessian")
    for part in inputs.split(3000):
        accumulator.add(part)
    found, exact = accumulator.result().hessian, inputs.double().T @ inputs.double() / 8192
    assert torch.equal(found, found.T)
    assert float((found - exact).norm() / exact.norm()) < 1e-4


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("method", ["wanda-0.5", "gptq-w4g32", "sparsegpt-2of4"])
def test_a_broken_walk_leaves_the_model_on_the_gpu_as_it_was(method):
    model = tiny_llama(num_hidden_layers=3).bfloat16().cuda()
    before = weights_of(model)

    def stop(done, total, stage):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compressors.compress(model, tokens(), method, progress=stop)
    assert same_weights(before, weights_of(model))
    compressors.compress(model, tokens(), method)
    assert not same_weights(before, weights_of(model))


def test_without_a_gpu_nothing_here_is_used():
    assert not kernels.usable(torch.zeros(2, 2))
    assert not gram.applies(torch.zeros(2, 2, dtype=torch.bfloat16))


@given(st.integers(1, 2**24))
def test_the_digits_of_a_selection_cover_its_keys(rows):
    digits = fused.digits(rows)
    covered = [bit for shift, bits in digits for bit in range(shift + bits - 1, shift - 1, -1)]
    metric = list(range(62, 31, -1))  # a float32 that is not negative, above the position
    assert covered[: len(metric)] == metric
    assert covered[len(metric) :] == list(range(len(covered) - len(metric) - 1, -1, -1))
    assert 2 ** (len(covered) - len(metric)) >= rows * fused.WIDTH
    assert all(0 < bits <= 11 for _, bits in digits)


@pytest.mark.parametrize(
    ("plan", "fits"),
    [
        (fused.Plan(4, 96), True),
        (fused.Plan(4, 96, groups="fresh"), False),
        (fused.Plan(4, 64, groups="fresh"), True),
        (fused.Plan(4, -1, groups="fresh"), True),
        (fused.Plan(keep=2, group=3), False),
        (fused.Plan(keep=2, group=4), True),
    ],
)
def test_plans_that_straddle_the_blocks_are_left_to_torch(plan, fits):
    assert fused.fits(384, plan) == fits
