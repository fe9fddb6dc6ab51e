"""Would the tests notice? Each known fault is planted, and the property beside it must fail; without it, it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

import compressors
from compressors import gptq, grid, masks, sparsegpt, statistics, walker, wanda
from tests.compressors import test_baselines, test_gptq, test_parts, test_sparsegpt, test_walker
from tests.conformance import CompressorConformance

suite = CompressorConformance()


class Fault(NamedTuple):
    """Replace ``name`` in every one of ``where`` by ``plant(real)``; ``caught_by`` is the property that must fail."""

    where: tuple[Any, ...]
    name: str
    plant: Callable[[Any], Any]
    caught_by: Callable[[], None]


def conforms(test: str, method: str) -> Callable[[], None]:
    return lambda: getattr(suite, test)(parsed=compressors.parse(method))


def only_first_batch(real):
    def add(self, rows):
        if self._hessian is None:
            real(self, rows)

    return add


def mean_of_batches(real):
    def add(self, rows):
        real(self, rows * len(rows) ** -0.5)

    return add


def not_handed_on(real):
    return lambda self, *args, hand_on, **kwargs: real(self, *args, hand_on=False, **kwargs)


def undamped(real):
    return lambda hessians, damp, orders: real(hessians, 0.0, orders)


def in_natural_order(real):
    """The Hessian's columns stay where they are while the weight's are reordered."""
    return lambda hessians, damp, orders: real(hessians, damp, [None] * len(orders))


def without_zero_point(real):
    return lambda codes, lattice: codes * lattice.scale


def one_code_too_many(real):
    return lambda weight, lattice: real(weight, lattice._replace(top=lattice.top + 1))


def not_made_up_for(real):
    return lambda block, unit, **kwargs: real(block, torch.eye(len(unit), dtype=unit.dtype), **kwargs)


def wrong_sign(real):
    return lambda block, unit, **kwargs: real(block, 2 * torch.eye(len(unit), dtype=unit.dtype) - unit, **kwargs)


def last_of_equals(real):
    return lambda metric, sparsity: real(metric.flip(1), sparsity).flip(1)


def whole_matrix(real):
    return lambda metric, sparsity: real(metric.reshape(1, -1), sparsity).view(metric.shape)


FAULTS = {
    "mask inverted": Fault(
        (masks,), "smallest", lambda real: lambda *args: ~real(*args), conforms("test_target_is_met", "wanda-0.37")
    ),
    "mask inverted, half": Fault(
        (masks,), "smallest", lambda real: lambda *args: ~real(*args), conforms(
            "test_error_is_no_worse_than_the_matched_baseline", "magnitude-0.5"
        )
    ),
    "ties broken from the end": Fault(
        (masks,), "smallest", last_of_equals, test_parts.test_the_smallest_go_and_of_equal_ones_the_first
    ),
    "rows compared with each other": Fault(
        (masks,), "smallest", whole_matrix, conforms("test_target_is_met", "wanda-0.5")
    ),
    "pattern keeps what it should prune": Fault(
        (masks,), "pattern", lambda real: lambda metric, keep, group: real(-metric, keep, group),
        lambda: test_sparsegpt.test_equals_the_reference(0.0, 1, 4),
    ),
    "inputs ignored": Fault(
        (wanda,), "importance", lambda real: lambda weight, norms: weight.abs(),
        conforms("test_calibration_matters_exactly_if_the_method_says_so", "wanda-0.5"),
    ),
    "Hessian not updated": Fault(
        (statistics.Accumulator,), "_add_hessian", only_first_batch,
        conforms("test_tokens_may_come_in_any_order_and_batch", "gptq-w3g16"),
    ),
    "batches weighed alike": Fault(
        (statistics.Accumulator,), "_add_hessian", mean_of_batches,
        test_parts.test_streamed_statistics_equal_one_product,
    ),
    "damping ignored": Fault(
        (gptq,), "factorize_all", undamped, lambda: test_gptq.test_equals_the_reference("block", 3, 8, 16)
    ),
    "permutation of the Hessian forgotten": Fault(
        (gptq,), "factorize_all", in_natural_order,
        conforms("test_error_is_no_worse_than_the_matched_baseline", "gptq-w3g16:actorder=true"),
    ),
    "zero point dropped": Fault(
        (grid,), "decode", without_zero_point, test_parts.test_the_grid_of_the_docstring
    ),
    "wrong clamp": Fault((grid,), "encode", one_code_too_many, test_gptq.test_every_weight_is_a_point_of_its_grid),
    "errors not made up for": Fault(
        (sparsegpt,), "solve_block", not_made_up_for, lambda: test_sparsegpt.test_equals_the_reference(0.5, 0, 0)
    ),
    "errors made worse": Fault(
        (gptq,), "solve_block", wrong_sign,
        conforms("test_error_is_no_worse_than_the_matched_baseline", "gptq-w3g16"),
    ),
    "kept weights rounded to a finer grid": Fault(
        (sparsegpt,), "fit_groups", lambda real: lambda work, size, bits, sym: real(work, size, bits + 1, sym),
        lambda: test_sparsegpt.test_joint_quantization_equals_the_reference(0.5, 0, 0, "block", 3, 8),
    ),
    "norms of inputs squared": Fault(
        (wanda,), "importance", lambda real: lambda weight, norms: weight.abs() * norms,
        lambda: test_baselines.test_masks_within_rows_equal_the_reference("wanda", "0.5", "correlated"),
    ),
    "blocks see dense outputs": Fault(
        (walker._Walk,), "_forward", not_handed_on,
        lambda: test_walker.test_blocks_see_what_they_see_in_the_model("llama", "sequential"),
    ),
    "originals not put back": Fault(
        (walker._Walk,), "restore", lambda real: lambda self: None,
        lambda: suite.test_an_error_on_the_way_leaves_the_model_as_it_was(compressors.parse("wanda-0.5")),
    ),
    "batch dimension dropped": Fault(
        (walker,), "run_block", lambda real: lambda *args: real(*args)[0][None],
        lambda: suite.test_model_is_compressed_and_reported(compressors.parse("wanda-0.5")),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name, monkeypatch):
    fault = FAULTS[name]
    fault.caught_by()
    for where in fault.where:
        monkeypatch.setattr(where, fault.name, fault.plant(getattr(where, fault.name)))
    with pytest.raises((AssertionError, ExceptionGroup)):
        fault.caught_by()
