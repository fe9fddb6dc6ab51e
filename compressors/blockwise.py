"""What a block compressor gets and gives: it replaces all linears of a block at once, with the block there to be run.

An algorithm's file is one by having ``compress_block(task: BlockTask) -> list[Replaced]``.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressors import models
from compressors.capture import Call, run_block
from compressors.method import Method
from compressors.offload import States
from compressors.solving import Solved
from compressors.statistics import Statistics


class BlockTask(NamedTuple):
    """One block, its inputs ``hidden`` [sequences, length, width] by batch with the ``calls`` that go with them, and
    the statistics of each group of linears that share an input. ``remember`` must be called with a parameter before
    it is changed in place, so that an error can bring it back; the linears' weights are remembered already.
    ``heads`` is (query heads, key-value heads), if known. ``note`` collects builtins for the report.
    """

    block: models.Block
    hidden: States
    calls: list[Call]
    groups: list[tuple[list[str], Statistics]]
    method: Method
    heads: tuple[int, int] | None
    remember: Callable[[nn.Parameter], None]
    note: Callable[[str, Any], None]

    def run(self, batch: int, picks: list[int] | None = None) -> Tensor:
        """The block's output for some sequences of a batch (all unless given)."""
        hidden, call = self.hidden[batch], self.calls[batch]
        if picks is None or len(picks) == hidden.shape[0]:
            return run_block(self.block.module, hidden, call)
        return run_block(self.block.module, hidden[picks], choose(call, hidden.shape[0], picks))


class Replaced(NamedTuple):
    """A linear's new weight, and the dense ``weight`` [out, in] and statistics that it is to be measured against."""

    name: str
    weight: Tensor
    solved: Solved
    seen: Statistics


def choose(call: Call, batch: int, picks: list[int]) -> Call:
    """The call for some sequences of a batch: tensors with entries for each of its sequences are indexed, the rest is
    kept.
    """

    def pick(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 1 and batch > 1:
            # BLOOM's position biases have an entry for each head of each sequence.
            entries, rest = divmod(value.shape[0], batch)
            if rest == 0 and entries and (entries == 1 or value.ndim > 2):
                return value.unflatten(0, (batch, entries))[picks].flatten(0, 1)
            return value
        if isinstance(value, dict):
            return {name: pick(item) for name, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(pick(item) for item in value)
        if isinstance(value, UserDict):  # keys and values that later blocks share
            return type(value)(pick(value.data))
        return value

    return Call(pick(call.args), pick(call.kwargs), call.keyword)


def merged(batches: list[tuple[Tensor, Call]], most: int) -> list[tuple[Tensor, Call]]:
    """Batches of hidden states [sequences, length, width] and their calls put together, up to ``most`` sequences in
    one; those whose calls cannot be are left apart.
    """
    found: list[tuple[Tensor, Call]] = []
    for hidden, call in batches:
        joined = None
        if found and found[-1][0].shape[0] + hidden.shape[0] <= most and found[-1][0].shape[1:] == hidden.shape[1:]:
            last = found[-1]
            joined = _join(tuple(last[1]), tuple(call), last[0].shape[0], hidden.shape[0])
        if joined is None:
            found.append((hidden, call))
        else:
            found[-1] = (torch.cat([last[0], hidden]), Call(*joined[0]))
    return found


def _join(one: Any, other: Any, first: int, second: int) -> tuple[Any] | None:
    """(Both arguments as one,), for ``first`` and ``second`` sequences, or None: tensors that have an entry for each
    sequence are put after each other, all else must be the same.
    """
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one is other and one.shape[:1] == (1,):
            return (one,)
        if one.ndim > 1 and one.shape[0] == first and other.shape[0] == second and one.shape[1:] == other.shape[1:]:
            return (torch.cat([one, other]),)
        return (one,) if one is other else None
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        parts = _join(tuple(one.values()), tuple(other.values()), first, second)
        return None if parts is None else (dict(zip(one, parts[0], strict=True)),)
    if type(one) in (tuple, list) and type(one) is type(other) and len(one) == len(other):
        joined = [_join(a, b, first, second) for a, b in zip(one, other, strict=True)]
        return None if None in joined else (type(one)(part[0] for part in joined if part),)
    same = one is other or (isinstance(one, bool | int | float | str) and one == other)
    return (one,) if same else None
