"""A case's own assertions: each broken promise of a spelling is found in the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import compressors
from benchmarks.expectations import problems
from fixtures.structure import structure


def measured(weight: torch.Tensor, method: str, dense: torch.Tensor | None = None):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(weight)
    parsed = compressors.parse(method)
    before = {"block.weight": weight.new_ones(weight.shape) if dense is None else dense}
    found = structure([("block", linear)], before, parsed.target.group, parsed.target.group_size)
    return problems(parsed, found)


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(8, 64, generator=torch.Generator().manual_seed(0))


def test_half_of_each_row_is_fine_and_one_entry_less_in_each_row_is_not(weight):
    weight[:, ::2] = 0
    assert measured(weight, "wanda-0.5") == []
    weight[:, 0] = 1
    assert "zeros" in measured(weight, "wanda-0.5")[0]


def test_zeros_beyond_the_target_are_allowed_only_if_they_were_there_before(weight):
    dense = weight.clone()
    weight[:, :40] = 0
    assert "zeros" in measured(weight, "wanda-0.5", dense)[0]
    dense[:, 32:40] = 0
    assert measured(weight, "wanda-0.5", dense) == []


def test_a_broken_pattern_is_found_although_the_total_is_right(weight):
    weight[:, ::2] = 0
    assert measured(weight, "wanda-2of4") == []
    weight[0, 0], weight[0, 5] = 1.0, 0.0
    assert "group of 4 has 1 zeros" in measured(weight, "wanda-2of4")[0]


def test_a_ninth_level_is_found_in_three_bits(weight):
    grid = (weight * 2).round().clamp(-4, 3) / 2
    assert measured(grid, "gptq-w3g64") == []
    grid[0, 0] = 0.123
    grid[0, 1:9] = torch.arange(-4, 4) / 2
    assert "9 distinct values" in measured(grid, "gptq-w3g64")[0]


def test_a_weight_that_is_not_finite_is_found(weight):
    weight[3, 3] = float("nan")
    assert any("not finite" in problem for problem in measured(weight, "rtn-w8g64"))


def test_an_allocator_promises_the_mean_of_the_linears_only():
    parsed = compressors.parse("owl(wanda)-0.5")
    shares = {"first": 16, "second": 48}
    linears, dense = [], {}
    for name, zeros in shares.items():
        linear = nn.Linear(64, 8, bias=False)
        dense[f"{name}.weight"] = torch.ones(8, 64)
        with torch.no_grad():
            linear.weight.fill_(1.0)[:, :zeros] = 0
        linears.append((name, linear))
    assert problems(parsed, structure(linears, dense, None, None)) == []
    assert problems(compressors.parse("wanda-0.5"), structure(linears, dense, None, None))
    with torch.no_grad():
        linears[0][1].weight[:, :20] = 0
    assert "all linears" in problems(parsed, structure(linears, dense, None, None))[0]


def test_outliers_and_reordered_groups_may_have_any_levels(weight):
    assert measured(weight, "gptq-w3g64")
    for method in ("spqr-w3g16", "gptq-w3g16:actorder=true", "ria-2of4:permute=sort"):
        assert measured(weight, method) == []
    assert measured(weight, "gptq-w3g16:actorder=true,groups=static")


def test_the_slice_of_a_fused_expert_is_compared_with_the_same_slice_before():
    expert = nn.Linear(16, 4, bias=False)
    fused = torch.ones(3, 4, 16)
    fused[2, :, :5] = 0
    found = structure([("block.experts.down_proj.2", expert)], {"block.experts.down_proj": fused}, None, None)
    assert found[0]["dense_zeros"] == 20
