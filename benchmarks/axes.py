"""The axes of a grid besides model, method, source and seed: how much text, packed how, run through how."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from fixtures.packing import LOADERS
from fixtures.records import Case


class GridError(ValueError):
    """A profile or option that does not describe a grid; the message names the option and what was expected."""


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
            raise GridError(f"--profile: lengths: {amount} x {length} tokens do not make whole sequences of {tokens}")
        count = amount * length // tokens if swept else amount
        tag = f"{count}x{tokens}" if swept and tokens != length else ""
        tag = tag or (f"n{count}" if count != own and not overrides.sequences else "")
        found.append(Shape(count, tokens, tag))
    return found


@dataclass(frozen=True)
class Variant:
    """How a draw is packed and run; ``batch_tag`` names the batch size in the id where it is not the grid's own."""

    packing: str
    bos: bool
    loader: str
    propagation: str
    batch_size: int
    batch_tag: str


def variants(grid: dict[str, Any], settings: dict[str, Any], overrides: Any) -> list[Variant]:
    """Every way to pack, load, propagate and batch that the grid asks for; values on the command line replace it."""
    own = settings.get("batch_size", Case.__dataclass_fields__["batch_size"].default)
    axes = (
        *(_axis(grid, name, overrides) for name in ("packing", "bos", "loader")),
        _several(grid, "propagations", overrides.propagation, settings.get("propagation", "sequential")),
        _several(grid, "batch_sizes", overrides.batch_size, own),
    )
    return [
        Variant(packing, bos, loader, propagation, size, f"b{size}" if size != own else "")
        for packing, bos, loader, propagation, size in product(*axes)
    ]


def _several(grid: dict[str, Any], name: str, override: Any, default: Any) -> list[Any]:
    return list(grid.get(name, [default])) if override is None else [override]


def _axis(grid: dict[str, Any], name: str, overrides: Any) -> list[Any]:
    """The values of a setting of draws: the command line's, else the grid's, which may be one value or a list."""
    known = {"packing": ("stream", "document"), "bos": (False, True), "loader": LOADERS}[name]
    value = getattr(overrides, name)
    value = grid.get(name, known[0]) if value is None else value
    values = list(value) if isinstance(value, list | tuple) else [value]
    for wrong in values:
        if not any(wrong is good or (isinstance(good, str) and wrong == good) for good in known):
            expected = ", ".join(str(good).lower() for good in known)
            raise GridError(f"--{name}: {wrong!r} is none of {expected}")
    return values
