"""RIA and channel permutation: a float64 reference, degenerate settings, what an order must gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressors import channels, ria
from tests import references_algorithms as references
from tests.helpers_compressors import Layer, compress_layer, few, layers, make_layer, observe


@pytest.mark.parametrize(("a", "per"), [(0.5, "matrix"), (1.0, "row"), (0.0, "matrix")])
def test_mask_equals_the_reference(a, per):
    layer = make_layer(5, 9, 48)
    metric = references.ria_metric(layer.weight.numpy(), layer.inputs.numpy(), a)
    if per == "matrix":
        pruned = references.lowest(metric, round(0.4 * metric.size))
    else:
        pruned = np.stack([references.lowest(row, round(0.4 * len(row))) for row in metric])
    assert torch.equal(compress_layer(f"ria-0.4:a={a},per={per}", layer) == 0, torch.from_numpy(pruned))


@pytest.mark.parametrize("per", ["matrix", "row"])
def test_rows_and_columns_of_zeros_count_for_nothing(per):
    layer = make_layer(6, 9, 48)
    weight = layer.weight.clone()
    weight[2], weight[:, 5] = 0, 0
    new = compress_layer(f"ria-0.4:per={per}", Layer(weight, layer.inputs))
    metric = ria.relative_importance(weight)
    assert torch.isfinite(metric).all()
    assert not metric[2].any()
    assert not metric[:, 5].any()
    assert int((new == 0).sum()) == (round(0.4 * 9 * 48) if per == "matrix" else 8 * round(0.4 * 48) + 48)


@few
@given(layer=layers(16), other=st.integers(0, 999))
def test_without_the_power_the_inputs_do_not_matter(layer, other):
    inputs = make_layer(other, 1, layer.weight.shape[1], "correlated").inputs
    for target in ("0.5", "2of4"):
        first = compress_layer(f"ria-{target}:a=0", layer)
        assert torch.equal(first, compress_layer(f"ria-{target}:a=0", Layer(layer.weight, inputs)))


@few
@given(
    layer=layers(16, kinds=("independent", "correlated", "dead"), least_rows=2),
    how=st.sampled_from(["sort", "assign"]),
    shape=st.sampled_from([(2, 4), (1, 4), (4, 8)]),
)
def test_an_order_is_a_permutation_that_keeps_no_less(layer, how, shape):
    norms = observe(layer.inputs, "norms").norms
    metric = ria.importance(layer.weight, norms)
    order = channels.order(metric, *shape, how=how)
    assert torch.equal(order.sort().values, torch.arange(metric.shape[1]))
    reached = references.kept_by_pattern(metric[:, order].numpy(), *shape)
    assert reached >= references.kept_by_pattern(metric.numpy(), *shape) * (1 - 1e-9)


def test_assignment_keeps_more_than_dealing_and_dealing_more_than_nothing():
    columns = 128
    layer = make_layer(2, 24, columns)
    # Large columns lie side by side, where a pattern has to drop half of them.
    weight = layer.weight * torch.linspace(3, 0.1, columns, dtype=torch.float64)
    metric = ria.importance(weight, torch.ones(columns, dtype=torch.float64))
    kept = [
        channels.retained(metric[:, channels.order(metric, 2, 4, how=how)], 2, 4) for how in ("none", "sort", "assign")
    ]
    assert kept[0] < kept[1] < kept[2]


def test_one_slot_is_reassigned_as_well_as_trying_all_ways():
    from itertools import permutations

    metric = ria.importance(make_layer(3, 5, 16).weight, torch.ones(16, dtype=torch.float64))
    start = torch.arange(16)
    found = channels._reassign(metric, start, 1, 2, 4)
    best = 0.0
    for dealt in permutations(range(1, 16, 4)):
        order = start.clone()
        order[1::4] = torch.tensor(dealt)
        best = max(best, references.kept_by_pattern(metric[:, order].numpy(), 2, 4))
    assert references.kept_by_pattern(metric[:, found].numpy(), 2, 4) == pytest.approx(best)


@pytest.mark.parametrize("how", ["sort", "assign"])
def test_the_pattern_holds_in_the_found_order_and_weights_keep_theirs(how):
    layer = make_layer(4, 16, 64)
    new = compress_layer(f"ria-2of4:permute={how}", layer)
    metric = ria.importance(layer.weight, observe(layer.inputs, "norms").norms)
    order = channels.order(metric, 2, 4, how=how)
    assert ((new[:, order] != 0).unflatten(1, (-1, 4)).sum(-1) == 2).all()
    assert torch.equal(new[new != 0], layer.weight[new != 0])
