"""Rounding to nearest, magnitude and Wanda against float64, an entry at a time; any number of sequences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import compressors
from tests import references_algorithms as references
from tests.helpers_compressors import compress_layer, make_layer, tiny_llama, tokens


@pytest.mark.parametrize(("bits", "group"), [(2, 8), (3, 16), (4, 48), (8, 24)])
def test_rounding_to_nearest_equals_the_reference(bits, group):
    layer = make_layer(bits, 7, 48)
    expected = references.to_nearest(layer.weight.numpy(), bits, group)
    torch.testing.assert_close(compress_layer(f"rtn-w{bits}g{group}", layer), torch.from_numpy(expected))


def pruned(metric, count):
    return np.stack([references.lowest(row, count) for row in metric])


@pytest.mark.parametrize("kind", ["correlated", "duplicated", "dead"])
@pytest.mark.parametrize("method", ["wanda", "magnitude:per=row"])
@pytest.mark.parametrize("target", ["0.5", "0.37", "2of4", "4of8"])
def test_masks_within_rows_equal_the_reference(method, target, kind):
    layer = make_layer(5, 9, 48, kind)
    name, _, setting = method.partition(":")
    weight, inputs = layer.weight.numpy(), layer.inputs.numpy()
    norms = np.array([np.sqrt((column**2).sum()) for column in inputs.T]) if name == "wanda" else np.ones(48)
    metric = np.abs(weight) * norms
    if "of" in target:
        keep, group = map(int, target.split("of"))
        cells = pruned(metric.reshape(-1, group), group - keep)
        expected = np.where(cells.reshape(weight.shape), 0.0, weight)
    else:
        expected = np.where(pruned(metric, round(float(target) * 48)), 0.0, weight)
    spelling = f"{name}-{target}" + (f":{setting}" if setting else "")
    assert torch.equal(compress_layer(spelling, layer), torch.from_numpy(expected))


@pytest.mark.parametrize("sparsity", [0.5, 0.37])
def test_magnitude_of_the_matrix_equals_the_reference(sparsity):
    layer = make_layer(6, 9, 48)
    weight = layer.weight.numpy()
    gone = references.lowest(np.abs(weight), round(sparsity * weight.size))
    assert torch.equal(compress_layer(f"magnitude-{sparsity}", layer), torch.from_numpy(np.where(gone, 0.0, weight)))


@pytest.mark.parametrize("sequences", [1, 129])
def test_any_number_of_sequences(sequences):
    report = compressors.compress(tiny_llama(), tokens(sequences=sequences, length=8), "wanda-0.5")
    assert report.sequences == sequences
    assert {linear.tokens for linear in report.linears} == {8 * sequences}
