"""DSnoT against a float64 reference, its start, and what swaps must keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import compressors
from tests import references_algorithms as references
from tests.helpers_compressors import (
    Layer,
    compress_layer,
    few,
    generator,
    layers,
    loss,
    make_layer,
    solve,
    tiny_llama,
    tokens,
    weights_of,
)


def shifted(seed: int, rows: int, columns: int) -> Layer:
    """A layer whose inputs have means of all sizes, without which there is nothing to correct."""
    layer = make_layer(seed, rows, columns)
    means = make_layer(seed + 1, 1, columns).weight
    return Layer(layer.weight, layer.inputs + means * layer.inputs.std(0))


@pytest.mark.parametrize("base", ["wanda", "sparsegpt", "magnitude"])
@pytest.mark.parametrize(("target", "group"), [("0.5", None), ("2of4", 4), ("1of4", 4)])
@pytest.mark.parametrize(("cycles", "threshold"), [(3, 0.1), (50, 0.1), (50, 500.0)])
def test_equals_the_reference(base, target, group, cycles, threshold):
    layer = shifted(cycles, 10, 64)
    start = compress_layer(f"{base}-{target}", layer)
    expected = references.dsnot(layer.weight.numpy(), start.numpy(), layer.inputs.numpy(), cycles, threshold, group)
    new = compress_layer(f"dsnot({base})-{target}:cycles={cycles},threshold={threshold}", layer)
    torch.testing.assert_close(new, torch.from_numpy(expected))
    assert not torch.equal(new, start)


@few
@given(layer=layers(16), base=st.sampled_from(["wanda", "sparsegpt", "ria"]), target=st.sampled_from(["0.5", "2of4"]))
def test_no_cycles_leave_the_start(layer, base, target):
    start, refined = (solve(name, [layer.weight], layer.inputs)[0] for name in (
        f"{base}-{target}", f"dsnot({base})-{target}:cycles=0"
    ))  # fmt: skip
    assert torch.equal(start.weight, refined.weight)
    assert start._replace(weight=None) == refined._replace(weight=None)


@few
@given(seed=st.integers(0, 2**20), rows=st.integers(1, 12), target=st.sampled_from(["0.5", "2of4"]))
def test_the_expected_error_falls_and_rows_keep_their_zeros(seed, rows, target):
    layer = shifted(seed, rows, 96)
    start = compress_layer(f"wanda-{target}", layer)
    new = compress_layer(f"dsnot(wanda)-{target}:samesign=true", layer)
    assert torch.equal((new == 0).sum(1), (start == 0).sum(1))
    if target == "0.5":  # in a pattern, what goes is not chosen by its sign
        before, after = (((layer.weight - weight) @ layer.inputs.mean(0)).abs() for weight in (start, new))
        assert (after <= before * (1 + 1e-9)).all()


def test_a_threshold_never_crossed_changes_nothing():
    layer = shifted(3, 8, 64)
    assert torch.equal(compress_layer("dsnot(wanda)-0.5:threshold=1e12", layer), compress_layer("wanda-0.5", layer))


def test_rows_without_a_candidate_stay():
    layer = Layer(
        torch.ones(2, 16, dtype=torch.float64), torch.rand(64, 16, generator=generator(0), dtype=torch.float64)
    )
    # All shares are positive: what comes back lowers the error, but no kept entry's loss would.
    assert torch.equal(compress_layer("dsnot(wanda)-0.5", layer), compress_layer("wanda-0.5", layer))


def test_fifty_cycles_are_for_wide_rows():
    """What the same number of swaps does to the output, by the share of a row that they are."""
    ratios = {}
    for columns in (128, 1024):
        layer = shifted(1, 4, columns)
        before, after, few_swaps = (
            loss(layer, compress_layer(method, layer))
            for method in ("wanda-0.6", "dsnot(wanda)-0.6", f"dsnot(wanda)-0.6:cycles={max(1, 50 * columns // 4096)}")
        )
        ratios[columns] = after / before, few_swaps / before
    (narrow, narrow_few), (wide, wide_few) = ratios[128], ratios[1024]
    assert narrow > 2
    assert wide < narrow / 2
    assert narrow_few < 1
    assert wide_few < 1


def test_only_attention_leaves_the_rest_to_the_base():
    found = {}
    for method in ("wanda-0.5", "dsnot(wanda)-0.5", "dsnot(wanda)-0.5:only=attention"):
        model = tiny_llama(num_hidden_layers=1)
        compressors.compress(model, tokens(), method)
        found[method] = weights_of(model)
    base, whole, part = found.values()
    for name in base:
        if name.endswith("proj.weight"):
            assert torch.equal(part[name], (whole if "self_attn" in name else base)[name]), name
            assert not torch.equal(whole[name], base[name])
