"""Null controls in a profile: ``[[control]]`` names cases of the grid that are made again from scratch.

::

    [[control]]
    methods = ["wanda-0.5"]   # of the grid; models = [...] (default: all that have the case)
    source = "web"
    seed = 0
    repeat = true             # the same again: must be the same bits
    batch_sizes = [4]         # in another batch size: what the machine itself does to the figures
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.grid import GridError, canonical_method, nearest
from fixtures.records import Case

KEYS = ("models", "methods", "source", "seed", "repeat", "batch_sizes")


def with_controls(profile: dict[str, Any], cases: Sequence[Case], narrowed: bool) -> list[Case]:
    """The cases with their controls, each after the last case of its model.

    A control whose case options took out of the grid goes with it. Raises :class:`GridError` for one that the
    profile's own grid does not have.
    """
    tables = [_checked(table) for table in profile.get("control", [])]
    found: dict[str, list[Case]] = {}
    for table in tables:
        twins = [case for case in cases if _matches(case, table)]
        if not twins and not narrowed:
            raise GridError(f"--profile: [[control]] {_words(table)}: the grid has no such case")
        for case in twins:
            found.setdefault(case.model, []).extend(_made_again(case, table))
    ordered: list[Case] = []
    for k, case in enumerate(cases):
        ordered.append(case)
        if k + 1 == len(cases) or cases[k + 1].model != case.model:
            ordered += [control for control in found.pop(case.model, []) if control not in ordered]
    return ordered


def _checked(table: dict[str, Any]) -> dict[str, Any]:
    for key in table:
        if key not in KEYS:
            raise GridError(f"--profile: [[control]] has no setting {key!r}{nearest(key, KEYS)}")
    if not table.get("repeat") and not table.get("batch_sizes"):
        raise GridError("--profile: [[control]] asks for nothing: give it repeat = true, batch_sizes = [4] or both")
    if any(not isinstance(size, int) or size < 1 for size in table.get("batch_sizes", [])):
        raise GridError(f"--profile: [[control]] batch_sizes = {table['batch_sizes']}: expected whole numbers above 0")
    if not table.get("methods") or "source" not in table:
        raise GridError("--profile: [[control]] needs methods = [...] and source = '...' of a case of the grid")
    return {**table, "methods": [canonical_method(text) for text in table["methods"]]}


def _matches(case: Case, table: dict[str, Any]) -> bool:
    return (
        case.draw is not None
        and not case.tag
        and case.method in table["methods"]
        and case.model in table.get("models", [case.model])
        and (case.draw.source, case.draw.seed) == (table["source"], table.get("seed", 0))
    )


def _made_again(case: Case, table: dict[str, Any]) -> Iterable[Case]:
    if table.get("repeat"):
        yield dataclasses.replace(case, control="repeat")
    for size in table.get("batch_sizes", []):
        if size == case.batch_size:
            raise GridError(f"--profile: [[control]] batch_sizes: {size} is the batch size of {case.id} itself")
        yield dataclasses.replace(case, batch_size=size, control=f"batch{size}")


def _words(table: dict[str, Any]) -> str:
    models = f" of {', '.join(table['models'])}" if "models" in table else ""
    return f"{', '.join(table['methods'])} on {table['source']}, seed {table.get('seed', 0)}{models}"
