"""What an algorithm's file provides: ``solve``, and what it hands back.

::

    def solve(weights: list[Tensor], seen: Statistics, method: Method) -> list[Solved]

``weights`` are the matrices [out, in] in float32 of the linears that share one input (q/k/v, gate/up), which ``seen``
describes. They are not changed. An algorithm that needs no statistics ignores ``seen``.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from compressors.method import Target


class Solved(NamedTuple):
    """A compressed weight [out, in] in float32.

    ``overhead`` is what is stored a weight beside the entries: scales, zero points, the mask (bits). ``entry_bits``
    is the size of a stored entry, None for that of the model's dtype; ``mask`` tells whether zeros are not stored.
    ``extra`` are bits in all beside those, as a number or an integer tensor [] that is read when it is needed.
    ``damping`` and ``fallbacks``: see ``LinearReport``.
    """

    weight: Tensor
    overhead: float = 0.0
    entry_bits: int | None = None
    mask: bool = False
    damping: float | None = None
    fallbacks: int = 0
    extra: Tensor | int = 0

    def bits(self, dense_bits: int, sparsity: float) -> float:
        """Realised bits a weight, given the bits of the model's dtype and the realised sparsity."""
        entry = dense_bits if self.entry_bits is None else self.entry_bits
        return entry * (1 - sparsity if self.mask else 1) + self.overhead + int(self.extra) / self.weight.numel()


def misfit(target: Target, columns: int) -> str:
    """Why a target does not fit a linear of this many columns; empty if it does. Names the sizes that would."""
    if target.bits is not None and target.group_size not in (-1, None) and columns % target.group_size:
        fitting = [size for size in range(8, columns + 1) if columns % size == 0]
        return (
            f"group size {target.group_size} does not divide its {columns} columns; "
            f"these do: {', '.join(map(str, fitting))} (or -1, one group a row)"
        )
    if target.group is not None and columns % target.group:
        return f"{target.keep}of{target.group} needs a number of columns that {target.group} divides; it has {columns}"
    return ""
