"""The comparison of kernels with float64: what it calls alike, what it notices, its command line."""

from __future__ import annotations

import pytest
import torch

from benchmarks import kernel_agreement
from benchmarks.kernel_agreement import Group, compared, distances, main, observed, over, solved
from benchmarks.speed import Shape
from compressors import kernels

SMALL = Shape(64, 128, 4, 2, 1, 32, 128, 4, 32)
METHODS = ("gptq-w4g32", "sparsegpt-0.5", "sparsegpt-2of4", "spqr-w4g16")


@pytest.fixture(scope="module")
def groups():
    return observed(SMALL, 4, "cpu")


def test_a_block_is_observed_as_the_walk_does(groups):
    assert [len(group.names) for group in groups] == [3, 1, 2, 1]
    for group in groups:
        torch.testing.assert_close(group.walked.double(), group.exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_near_and_other_weights_are_not(groups, method):
    group = groups[2]
    best, single = (solved(method, group, group.walked, dtype) for dtype in (torch.float64, torch.float32))
    assert compared(best, best, group, group.exact) == (1, 1, 1)
    found = compared(single, best, group, group.exact)
    assert found.alike > 0.95
    assert 0.99 < found.least <= found.largest < 1.01
    rolled = compared([weight.roll(1, 0) for weight in best], best, group, group.exact)
    assert rolled.alike < 0.5 or rolled.largest > 2
    assert rolled.largest > 2


def test_a_hessian_that_is_off_is_seen(groups):
    group = groups[0]
    off = Group(group.names, group.weights, group.walked * 1.01, group.exact)
    assert "+1.0e-02" in distances([off])
    assert "+1.0e-02" not in distances([group])


def test_the_worst_of_several_is_told(groups):
    parts = [kernel_agreement.Agreement(0.9, 0.99, 1.0), kernel_agreement.Agreement(0.8, 1.0, 1.02)]
    assert over(parts) == (0.8, 0.99, 1.02)
    assert str(over(parts)) == "80.00% alike, loss 0.99000 to 1.02000"


def test_it_runs_and_the_kernels_are_back(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.speed.SHAPES", {"small": SMALL, "7b": SMALL})
    usable = kernels.usable
    main(["--sequences", "4"])
    printed = capsys.readouterr().out
    assert all(f"| `{method}` |" in printed for method in METHODS)
    assert kernels.usable is usable
