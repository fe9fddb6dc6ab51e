"""Watch the inputs of a block's linears while it runs: one accumulator for all linears that get the same tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from compressors.clock import Clock
from compressors.experts import ExpertSlice, Routed
from compressors.report import CompressionError
from compressors.statistics import Accumulator


class Enough(Exception):
    """Raised in a block whose linears have all been observed: the rest of the pass is not needed."""


class Observer:
    """Accumulates statistics of the inputs of linears by hooks.

    Linears whose input is the very same tensor (q/k/v, gate/up) are followers of the first of them: its Hessian is
    summed once and serves all. With ``stop_early``, set by who needs no outputs, a pass ends with ``Enough`` before the
    last linear runs (a fifth of a LLaMA block's arithmetic), if the first pass called each linear once.
    """

    def __init__(self, columns: dict[str, int], wants: str, every: int | Sequence[int], clock: Clock) -> None:
        self.columns, self.wants, self.every, self.clock = columns, wants, every, clock
        self.leader: dict[str, str] = {}
        self.accumulators: dict[str, Accumulator] = {}
        self._inputs: dict[str, Tensor] = {}  # of the leaders, in the current forward pass
        self.stop_early = False
        self._passes = 0
        self._called: list[str] = []  # in the current forward pass
        self._once_each = False

    def groups(self) -> dict[str, list[str]]:
        """Linears by leader, in the order of the block; those never called lead themselves, without an accumulator."""
        groups: dict[str, list[str]] = {}
        for name in self.columns:
            groups.setdefault(self.leader.get(name, name), []).append(name)
        return groups

    @contextmanager
    def watching(self, linears: dict[str, nn.Module], direct: frozenset[str] = frozenset()) -> Iterator[Observer]:
        """Observe while it lasts. The weights of ``direct`` are used without the linear being called."""
        handles = []
        special = any(isinstance(linear, ExpertSlice) for linear in linears.values()) or not direct.isdisjoint(linears)
        try:
            for name, linear in linears.items():
                handles.append(linear.register_forward_pre_hook(self._hook(name)))
            with Routed(linears, direct, self._seen) if special else nullcontext():
                yield self
        finally:
            for handle in handles:
                handle.remove()
            self._inputs.clear()

    def next_pass(self) -> None:
        """A new forward pass begins: inputs of the last one are forgotten."""
        self._inputs.clear()
        if self._passes == 1:
            self._once_each = sorted(self._called) == sorted(self.columns)
        self._passes += 1
        self._called.clear()

    def refuse_unreached(self, linears: dict[str, nn.Module]) -> None:
        """Raise ``CompressionError`` for fused experts none of which was seen to get a token: some get every token, so
        the model runs them in a way that is not known here.
        """
        reached: dict[int, bool] = {}
        experts = {name: linear for name, linear in linears.items() if isinstance(linear, ExpertSlice)}
        for name, expert in experts.items():
            reached[id(expert.fused)] = reached.get(id(expert.fused), False) or name in self.leader
        for name, expert in experts.items():
            if not reached[id(expert.fused)]:
                raise CompressionError(f"{name}: no token was seen to reach it or any expert beside it")

    def _hook(self, name: str) -> Any:
        return lambda module, inputs: self._seen(name, inputs[0])

    def _seen(self, name: str, inputs: Tensor) -> None:
        with self.clock.stage("statistics"):
            self._observe(name, inputs)
        self._called.append(name)
        if self.stop_early and self._once_each and len(self._called) == len(self.columns):
            raise Enough

    def _observe(self, name: str, inputs: Tensor) -> None:
        if name not in self.leader:
            same = (other for other, seen in self._inputs.items() if seen is inputs)
            self.leader[name] = next(same, name)
            if self.leader[name] == name:
                self.accumulators[name] = Accumulator(self.columns[name], self.wants, self.every)
        leader = self.leader[name]
        if leader == name:
            self._inputs[name] = inputs
            self.accumulators[name].add(inputs)
        elif self._inputs.get(leader) is not inputs:
            raise CompressionError(f"{name} shared its input with {leader} in one pass but not in another")
