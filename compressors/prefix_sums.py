"""Statistics of the first n sequences, for several n, from batches that are run whole.

::

    batch of 8      seq 0 | seq 1 | seq 2, 3 | seq 4 .. 7        amounts 1, 2, 4, 8
                      add     add     add        add
                       | copy  | copy   | copy     | copy

"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from compressors.clock import Clock
from compressors.observe import Observer
from compressors.statistics import Accumulator, Statistics, sampling_stride, working_dtype


class Uncut(Exception):
    """A linear's inputs do not tell the sequences of a batch apart: batches must end where amounts do."""


class Cut(NamedTuple):
    """Sequences ``start`` to ``stop`` of a batch, with which an amount is ``reached`` (if not, None)."""

    start: int
    stop: int
    reached: int | None


def cuts(first: int, count: int, amounts: list[int]) -> list[Cut]:
    """A batch of ``count`` sequences, number ``first`` and on, in parts that end at amounts.

    Example: 8 sequences from the first on, for amounts 1, 2 and 16, are sequence 0, sequence 1, and the other six.
    """
    inside = [amount - first for amount in amounts if first < amount < first + count]
    edges = [0, *inside, count]
    return [Cut(start, stop, first + stop if first + stop in amounts else None) for start, stop in pairwise(edges)]


class PrefixSums(Accumulator):
    """An accumulator that takes few launches to sample rows at several distances and to copy a Hessian."""

    @property
    def half(self) -> bool:
        """Whether only the upper triangle of the Hessian in ``so_far`` is filled in."""
        return self._one_triangle

    def so_far(self, every: int) -> Statistics:
        if self._hessian is None:
            return super().so_far(every)
        hessian = self._hessian / self.tokens
        mean, size = (
            None if sums is None else (sums / self.tokens).to(hessian.dtype) for sums in (self._sum, self._size)
        )
        return Statistics(self.tokens, hessian.diagonal(), hessian, mean=mean, size=size)

    def _add_squares(self, rows: Tensor) -> None:
        if len(self._rows) < 2:
            super()._add_squares(rows)
            return
        sampled = self._rows
        try:
            self._rows = {}
            super()._add_squares(rows)
        finally:
            self._rows = sampled
        found = [rows[-self.tokens % every :: every] for every in sampled]
        together = torch.cat(found).to(working_dtype(rows.dtype))
        for kept, part in zip(sampled.values(), together.split([len(part) for part in found]), strict=True):
            kept.append(part)


class PrefixObserver(Observer):
    """An observer that keeps what each of ``amounts`` of sequences has shown; sequences have ``length`` tokens.

    ``next_batch`` says what is coming. Raises ``Uncut`` if an amount ends within a batch, and a linear's inputs are not
    [sequences, length, columns], or it is called twice.
    """

    def __init__(self, columns: dict[str, int], wants: str, amounts: list[int], length: int, clock: Clock) -> None:
        self.amounts, self.length = amounts, length
        self.strides = {amount: sampling_stride(amount, length) for amount in amounts}
        super().__init__(columns, wants, list(self.strides.values()), clock)
        self.accumulators: dict[str, PrefixSums] = {}  # type: ignore[assignment]
        self._parts: list[Cut] = []
        self._kept: dict[tuple[int, str], Statistics] = {}

    def next_batch(self, first: int, count: int) -> list[int]:
        """Sequences ``first`` to ``first + count`` are run next; the amounts that will have been reached then."""
        self.next_pass()
        self._parts = cuts(first, count, self.amounts)
        return [part.reached for part in self._parts if part.reached is not None]

    def shown(self, amount: int, leader: str) -> Statistics:
        """What the first ``amount`` sequences have shown, once their batch has been run; taken once."""
        if (amount, leader) not in self._kept and leader in self.accumulators:
            self._keep(amount, leader)
        return self._kept.pop((amount, leader), Statistics(0))

    def half(self, leader: str) -> bool:
        """Whether Hessians of the inputs of ``leader`` are upper triangles only."""
        return leader in self.accumulators and self.accumulators[leader].half

    def _keep(self, amount: int, leader: str) -> None:
        accumulator, stride = self.accumulators[leader], self.strides[amount]
        self._kept[amount, leader] = accumulator.so_far(stride)
        if stride not in [self.strides[other] for other in self.amounts if other > amount]:
            accumulator.forget(stride)

    def _observe(self, name: str, inputs: Tensor) -> None:
        if name not in self.leader and all(seen is not inputs for seen in self._inputs.values()):
            self.leader[name] = name
            self.accumulators[name] = PrefixSums(self.columns[name], self.wants, self.every)
        if len(self._parts) == 1 or self.leader.get(name) != name:
            super()._observe(name, inputs)
            return
        sequences = self._parts[-1].stop
        told_apart = inputs.shape[:-1] == (sequences, self.length) and sequences != self.length
        if not told_apart or name in self._called:
            raise Uncut
        self._inputs[name] = inputs
        for start, stop, reached in self._parts:
            self.accumulators[name].add(inputs[start:stop])
            if reached is not None and stop < sequences:
                self._keep(reached, name)
