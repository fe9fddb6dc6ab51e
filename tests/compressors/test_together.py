"""Amounts of a sweep that are solved together: as many launches as one takes, and the weights of one at a time."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import compressors
from compressors import compress_prefixes, factor, gptq, kernels, prefixes
from compressors.codehash import module_name
from compressors.kernels.columns import spread
from compressors.statistics import Statistics
from tests.helpers_compressors import generator, make_layer, tiny_llama, tokens

METHODS = ("gptq-w4g64", "gptq-w3g64:actorder=true", "sparsegpt-0.5", "sparsegpt-2of4", "sparsegpt-0.5-w4g64",
           "spqr-w3g16")  # fmt: skip


def many(count, columns=192):
    """Statistics of several sets of inputs, and a weight in three linears."""
    seen = []
    for seed in range(count):
        inputs = make_layer(seed, 1, columns, "dead" if seed % 2 else "correlated").inputs
        hessian = (inputs.T @ inputs / len(inputs)).float()
        seen.append(Statistics(len(inputs), hessian.diagonal(), hessian))
    return [part.float() for part in make_layer(9, 41, columns).weight.split([16, 16, 9])], seen


class Calls(TorchDispatchMode):
    """Counts what torch is asked to do, views left out: each is a launch on a GPU."""

    VIEWS = ("view", "slice", "select", "t", "transpose", "unsqueeze", "expand", "diagonal", "split", "as_strided",
             "unbind", "detach", "permute", "alias", "_unsafe_view", "reshape", "split_with_sizes")  # fmt: skip

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name not in self.VIEWS:
            self.count[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def launched(monkeypatch):
    """The kernels are in use, but note only how they are launched: [(name, grid)]."""
    found = []

    class Kernel:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            return lambda *args, **kwargs: found.append((self.name, grid))

    names = ("block_kernel", "fit_kernel", "histogram_kernel", "spqr_kernel")
    fake = SimpleNamespace(**{name: Kernel(name) for name in names})
    for module in ("triton_columns", "triton_spqr"):
        monkeypatch.setitem(sys.modules, f"compressors.kernels.{module}", fake)
        monkeypatch.setattr(kernels, module, fake, raising=False)
    monkeypatch.setattr(kernels, "usable", lambda tensor: tensor.dtype == torch.float32)
    monkeypatch.setattr(factor, "QUEUED", ("cpu",))
    return found


def solve_all(method, weights, seen):
    parsed = compressors.parse(method)
    return import_module(module_name(parsed.algorithm)).solve_all(weights, seen, parsed)


@pytest.mark.parametrize("method", METHODS)
def test_twelve_amounts_take_the_launches_of_one(method, launched):
    weights, seen = many(12)
    calls = []
    for some in (seen[:1], seen):
        with Calls() as counted:
            solve_all(method, weights, some)
        calls.append(counted.count)
    one, twelve = launched[: len(launched) // 2], launched[len(launched) // 2 :]
    assert [name for name, _ in one] == [name for name, _ in twelve]
    for (name, small), (_, large) in zip(one, twelve, strict=True):
        if name in ("block_kernel", "spqr_kernel"):
            assert (small[1], large[1]) == (1, 12)
            assert small[0] == large[0]
    for name in ("linalg_cholesky_ex", "linalg_solve_triangular"):
        assert calls[0][name] == calls[1][name] == 1
    assert calls[1]["addmm_"] + calls[1]["baddbmm_"] == calls[0]["addmm_"]
    # What is left for each amount: the order of its columns, the zeroing of dead ones, SpQR's threshold.
    assert calls[1].total() < 6 * calls[0].total()


def calls_a_block(compress):
    """Of what ``compress(model)`` does: with four blocks, less with two."""
    counts = []
    for blocks in (2, 4):
        model = tiny_llama(num_hidden_layers=blocks).float()
        with Calls() as counted:
            compress(model)
        counts.append(counted.count.total())
    return (counts[1] - counts[0]) / 2


@pytest.mark.parametrize("method", ["wanda-0.5", "wanda-2of4", "gptq-w4g16", "sparsegpt-0.5"])
def test_a_sweep_takes_little_more_launches_than_its_largest_amount(method, launched, monkeypatch):
    """1, 2, 4 ... 128 sequences. The kernels of column loops are counted apart, above."""
    if method.startswith("wanda"):  # its kernels are not among those that only note
        monkeypatch.setattr(kernels, "usable", lambda tensor: False)
    ids, amounts = tokens(sequences=128, length=16), [1, 2, 4, 8, 16, 32, 64, 128]
    alone = calls_a_block(lambda model: compressors.compress(model, ids, method, propagation="dense"))
    swept = calls_a_block(lambda model: compress_prefixes(model, ids, method, amounts))
    print(method, alone, swept, swept / alone)
    assert alone < swept < 1.3 * alone


@pytest.mark.parametrize("sets", [1, 3])
def test_what_a_block_lost_is_spread_by_each_ones_own_factor(sets):
    source = generator(0)
    work, change = torch.randn(sets * 5, 20, generator=source), torch.randn(sets * 5, 8, generator=source)
    unit = torch.randn(sets, 20, 20, generator=source)
    expected = work.clone()
    for own in range(sets):
        rows = slice(5 * own, 5 * own + 5)
        expected[rows, 12:] -= change[rows] @ unit[own, 4:12, 12:]
    spread(work, change, unit, 4, 12)
    torch.testing.assert_close(work, expected)


@pytest.mark.parametrize("method", METHODS)
def test_together_is_one_at_a_time(method):
    weights, seen = many(3)
    for found, one in zip(solve_all(method, weights, seen), seen, strict=True):
        (alone,) = solve_all(method, weights, [one])
        for new, other in zip(found, alone, strict=True):
            assert torch.equal(new.weight, other.weight)
            assert new.bits(16, 0.5) == other.bits(16, 0.5)


def test_one_that_has_no_factor_is_damped_alone(monkeypatch):
    monkeypatch.setattr(factor, "QUEUED", ("cpu",))
    monkeypatch.setattr(factor, "LEAF", 64)
    _, seen = many(3)
    hessians = [one.hessian for one in seen]
    hessians[1] = torch.diag(torch.tensor([1.0, -0.5, 1.0] * 64))
    found = factor.factorize_all(hessians, 0.0001, [None, torch.arange(191, -1, -1), None])
    alone = [factor.factorize(hessians[0], 0.0001), factor.factorize(hessians[1], 0.0001, torch.arange(191, -1, -1))]
    assert [one.raised > 0 for one in found] == [False, True, False]
    for one, other in zip(found, alone, strict=False):
        assert (one.damping, one.raised) == (other.damping, other.raised)
        torch.testing.assert_close(one.unit, other.unit, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(one.diagonal, other.diagonal, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("room", "parts"), [(2**40, [5]), (0, [1, 1, 1, 1, 1])])
def test_as_many_amounts_are_solved_together_as_there_is_room_for(room, parts, monkeypatch):
    ids, taken, real = tokens(sequences=10), [], gptq.solve_all

    def spied(weights, seen, method):
        taken.append(len(seen))
        return real(weights, seen, method)

    monkeypatch.setattr(gptq, "solve_all", spied)
    monkeypatch.setattr(prefixes, "TOGETHER", room)
    found = compress_prefixes(tiny_llama(num_hidden_layers=1), ids, "gptq-w4g16", [2, 4, 6, 8, 10], batch_size=2)
    groups = 4  # q/k/v, o, gate/up, down
    assert taken == [part for part in parts for _ in range(groups)]
    monkeypatch.setattr(prefixes, "TOGETHER", 2**40 - room)
    other = compress_prefixes(tiny_llama(num_hidden_layers=1), ids, "gptq-w4g16", [2, 4, 6, 8, 10], batch_size=2)
    for one, same in zip(found, other, strict=True):
        assert all(torch.equal(one.weights[name], same.weights[name]) for name in one.weights)
        assert one.report.linears == same.report.linears
