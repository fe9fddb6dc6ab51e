"""The same for the algorithms with tests of their own: each fault is planted, and the test beside it must fail."""

from __future__ import annotations

import pytest
import torch

from compressors import awq, channels, dsnot, experts, folding, nf4, offload, owl, prepass, reconstruction, ria, spqr
from tests.compressors import (
    test_awq,
    test_dsnot,
    test_experts,
    test_nf4,
    test_offload,
    test_owl,
    test_prunerzero,
    test_reconstruction,
    test_ria,
    test_spqr,
)
from tests.compressors.test_planted_faults import Fault


def not_divided(real):
    """The consumers are scaled and what comes before them is not."""
    return lambda predecessor, *rest: real(predecessor._replace(divide=lambda scale: None), *rest)


def aliased(real):
    """Trying a rounding changes the weight that the next try starts from."""
    return lambda task, name: awq.models.matrix(task.block.linears[name])


def first_sequence_only(real):
    def gradients(self):
        self.ids = self.ids[:1]
        return real(self)

    return gradients


def all_to_the_first(real):
    """Every expert's tokens are taken for the first one's."""

    def init(self, linears, *rest):
        real(self, linears, *rest)
        first = next(iter(self.by_place.values()))
        self.by_place = {place: first if first.fused is e.fused else e for place, e in self.by_place.items()}

    return init


def interrupted_visit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offload, "_same", lambda one, other: False)
        test_offload.test_an_error_puts_the_model_back_where_it_was("gptq-w4g16", None)


FAULTS = {
    "code book evenly spaced": Fault(
        (nf4,), "code_book", lambda real: lambda like: torch.linspace(-1, 1, 16, dtype=like.dtype),
        test_nf4.test_code_book_is_the_published_one,
    ),
    "importance relative to rows only": Fault(
        (ria,), "relative_importance", lambda real: lambda weight: weight.abs() / weight.abs().sum(1, keepdim=True),
        lambda: test_ria.test_mask_equals_the_reference(0.5, "matrix"),
    ),
    "slots assigned at random": Fault(
        (channels,), "_gains", lambda real: lambda *args: torch.ones_like(real(*args)),
        test_ria.test_one_slot_is_reassigned_as_well_as_trying_all_ways,
    ),
    "the wrong sign grows back": Fault(
        (dsnot,), "_growing", lambda real: lambda gain, *rest: real(-gain, *rest),
        lambda: test_dsnot.test_equals_the_reference("wanda", "0.5", None, 3, 0.1),
    ),
    "variance of the input ignored": Fault(
        (dsnot,), "refine", lambda real: lambda *args, **settings: real(*args, **{**settings, "power": 0.0}),
        lambda: test_dsnot.test_equals_the_reference("wanda", "0.5", None, 3, 0.1),
    ),
    "outliers without their inputs": Fault(
        (owl,), "importance", lambda real: lambda weight, norms: weight.abs(), test_owl.test_shares_equal_the_reference
    ),
    "more outliers, more pruned": Fault(
        (owl,), "ratios", lambda real: lambda shares, *rest: real([-share for share in shares], *rest),
        test_owl.test_ratios_of_a_worked_example,
    ),
    "no likely outliers": Fault(
        (spqr,), "leave_one_out", lambda real: lambda cells, *rest: torch.zeros_like(cells),
        lambda: test_spqr.test_equals_the_reference(3, 8, 0.2, 20),
    ),
    "statistics not quantized": Fault(
        (spqr,), "_rounded", lambda real: lambda values, bits, group: values,
        lambda: test_spqr.test_equals_the_reference(4, 16, 0.1, 7),
    ),
    "outliers by half the limit": Fault(
        (spqr,), "_outlier_scale", lambda real: lambda *args: real(*args) / 2,
        lambda: test_spqr.test_float32_decisions_are_optimal_given_the_earlier_ones(1),
    ),
    "scale not folded": Fault(
        (folding,), "fold", not_divided,
        lambda: test_awq.test_folding_keeps_the_function_and_what_has_no_predecessor_is_said("opt"),
    ),
    "search leaves its traces": Fault((awq,), "_working", aliased, test_awq.test_searching_leaves_the_block_as_it_was),
    "a visitor's weights not put back": Fault(
        (offload.Visits,), "restore", lambda real: lambda self: None, interrupted_visit
    ),
    "gradients of one sequence": Fault(
        (prepass.DensePass,), "gradients", first_sequence_only,
        lambda: test_prunerzero.test_masks_equal_the_reference(test_prunerzero.tiny_llama),
    ),
    "masks not kept": Fault(
        (reconstruction,), "_kept", lambda real: lambda block: {},
        lambda: test_reconstruction.test_zeros_stay_where_they_are_and_errors_fall("+br"),
    ),
    "held-out text trained on": Fault(
        (reconstruction,), "hold_out", lambda real: lambda n, share: (list(range(n)), real(n, share)[1]),
        lambda: test_reconstruction.test_held_out_sequences_change_nothing_but_their_error("owl(wanda)-0.6"),
    ),
    "tokens go to the wrong expert": Fault(
        (experts.Routed,), "__init__", all_to_the_first,
        lambda: test_experts.test_experts_are_pruned_by_the_tokens_they_get("mixtral"),
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
