"""What a block compressor gets and gives: it replaces all linears of a block at once, with the block there to be run.

An algorithm's file is one by having ``compress_block(task: BlockTask) -> list[Replaced]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from compressors import models
from compressors.capture import Call, run_block
from compressors.method import Method
from compressors.solving import Solved
from compressors.statistics import Statistics


class BlockTask(NamedTuple):
    """One block, its inputs ``hidden`` [sequences, length, width] by batch with the ``calls`` that go with them, and
    the statistics of each group of linears that share an input. ``remember`` must be called with a parameter before
    it is changed in place, so that an error can bring it back; the linears' weights are remembered already.
    ``heads`` is (query heads, key-value heads), if known. ``note`` collects builtins for the report.
    """

    block: models.Block
    hidden: list[Tensor]
    calls: list[Call]
    groups: list[tuple[list[str], Statistics]]
    method: Method
    heads: tuple[int, int] | None
    remember: Callable[[nn.Parameter], None]
    note: Callable[[str, Any], None]

    def run(self, batch: int, sequences: int | None = None) -> Tensor:
        """The block's output for the first ``sequences`` of a batch (all unless given)."""
        hidden = self.hidden[batch]
        if sequences is None or sequences >= hidden.shape[0]:
            return run_block(self.block.module, hidden, self.calls[batch])
        return run_block(self.block.module, hidden[:sequences], first(self.calls[batch], hidden.shape[0], sequences))


class Replaced(NamedTuple):
    """A linear's new weight, and the dense ``weight`` [out, in] and statistics that it is to be measured against."""

    name: str
    weight: Tensor
    solved: Solved
    seen: Statistics


def first(call: Call, batch: int, sequences: int) -> Call:
    """The call for the first ``sequences`` of a batch: tensors with an entry for each of them are cut, the rest is
    kept.
    """

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 1 and batch > 1:
            # BLOOM's position biases have an entry for each head of each sequence.
            entries, rest = divmod(value.shape[0], batch)
            if rest == 0 and entries and (entries == 1 or value.ndim > 2):
                return value[: sequences * entries]
            return value
        if isinstance(value, dict):
            return {name: cut(item) for name, item in value.items()}
        if type(value) in (tuple, list):
            return type(value)(cut(item) for item in value)
        return value

    return Call(cut(call.args), cut(call.kwargs), call.keyword)
