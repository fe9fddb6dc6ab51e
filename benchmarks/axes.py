"""The axes of a grid besides model, method, source and seed: how much text, packed how, run through how."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from fixtures.records import Case


class AxisError(ValueError):
    """An axis that does not describe draws; the message names it."""


@dataclass(frozen=True)
class Shape:
    """Size of a draw; ``tag`` says it in the id where it is not the grid's own."""

    sequences: int
    length: int
    tag: str


def shapes(grid: dict[str, Any], overrides: Any) -> list[Shape]:
    """``amounts`` are numbers of sequences (prefixes of one draw), ``lengths`` keep the tokens of an amount."""
    own, length = grid["sequences"], grid["length"]
    amounts = [overrides.sequences] if overrides.sequences else grid.get("amounts", [own])
    lengths = [overrides.length] if overrides.length else grid.get("lengths", [length])
    found = []
    for amount, tokens in product(amounts, lengths):
        swept = "lengths" in grid and not overrides.length
        if swept and amount * length % tokens:
            raise AxisError(f"--profile: lengths: {amount} x {length} tokens do not make whole sequences of {tokens}")
        count = amount * length // tokens if swept else amount
        tag = f"{count}x{tokens}" if swept and tokens != length else ""
        tag = tag or (f"n{count}" if count != own and not overrides.sequences else "")
        found.append(Shape(count, tokens, tag))
    return found


@dataclass(frozen=True)
class Variant:
    packing: str
    bos: bool
    propagation: str
    batch_size: int
    batch_tag: str


def variants(grid: dict[str, Any], settings: dict[str, Any], overrides: Any) -> list[Variant]:
    """Every way to pack, propagate and batch that the grid asks for; a value on the command line is the only one."""

    def axis(single: str, several: str, default: Any) -> list[Any]:
        chosen = getattr(overrides, single, None)
        if chosen is not None:
            return [chosen]
        values = grid.get(several, grid.get(single, default))
        return values if isinstance(values, list) else [values]

    own = settings.get("batch_size", Case.__dataclass_fields__["batch_size"].default)
    axes = (
        axis("packing", "packings", "stream"),
        axis("bos", "bos", False),
        axis("propagation", "propagations", "sequential"),
        axis("batch_size", "batch_sizes", own),
    )
    return [Variant(*values, f"b{values[-1]}" if values[-1] != own else "") for values in product(*axes)]
