"""``--shard i/n``: cases that are made from the same compressed weights stay on one machine."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from fixtures.image_cases import ImageCase
from fixtures.records import Case

T = TypeVar("T")


def shard(cases: Sequence[T], artefact: Callable[[T], Hashable], part: int, parts: int) -> list[T]:
    """The cases of every ``parts``-th artefact, from the ``part``-th (1-based) on, in their order.

    Every case is in exactly one part, whatever machine asks: the artefacts are dealt in the order of the whole grid.
    """
    numbers: dict[Hashable, int] = {}
    dealt = [numbers.setdefault(artefact(case), len(numbers)) for case in cases]
    return [case for case, number in zip(cases, dealt, strict=True) if number % parts == part - 1]


def compressed_weights(case: Case) -> Hashable:
    """What is compressed, and how: cases that differ in the rest share the weights, or the scores of equal ones.

    Every draw leaves a calibration-free method the same weights, which are scored once in a store.
    """
    import compressors

    free = case.draw is not None and not compressors.parse(case.method).calibrated
    # Not the batch size: a null control beside its case measures the batch size, and not two machines.
    numerics = (case.dtype, case.device, case.threads, case.propagation)
    return (case.model, case.method, None if free else case.draw, *numerics)


def trained_networks(case: ImageCase) -> Hashable:
    """A distilled set and the networks trained on it, which all calibrators and sources share."""
    return (case.model, case.distillation.trained, case.seed, case.device)
