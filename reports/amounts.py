"""Plain tables of what was swept: the amount of calibration data, mean and SD over draws apart, and propagation.

Amounts are given in tokens an input column too: it is what statistics of a linear rest on, and what travels between
widths of models. The deviation of ``propagation=dense`` (statistics of the dense model, prefix sums over amounts) from
``sequential`` is taken draw by draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fixtures.fingerprints import canonical_json
from reports.curves import Curve, amounts
from reports.groups import CONTROLS, is_calibrated
from reports.statistics import Interval
from reports.tables import Row, Table


@dataclass(frozen=True)
class PlainTable:
    """A table of text; the first ``words`` columns are no numbers."""

    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


def plain_tables(table: Table) -> list[PlainTable]:
    """Those of the two that the records allow."""
    return [found for found in (amount_table(table), propagation_table(table)) if found]


def column_tokens(row: Row) -> tuple[float, float] | None:
    """Calibration tokens for an input column of the narrowest and of the widest linear; None if no record knows."""
    draw = row.group.cases[0]["draw"]
    records = row.group.records.values()
    widths = [linear["shape"][1] for r in records for linear in r.compression.get("linears", []) if "shape" in linear]
    tokens = draw["n_sequences"] * draw["sequence_length"]
    return (tokens / min(widths), tokens / max(widths)) if widths else None


def column_text(row: Row) -> str:
    """``64 to 21``: tokens an input column, narrowest linear first; empty if not known."""
    found = column_tokens(row)
    if found is None:
        return ""
    most, least = (f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in found)
    return most if most == least else f"{most} to {least}"


def amount_table(table: Table) -> PlainTable | None:
    """A line a method and amount: mean over sources and draws, and SD over draws of one source, pooled."""
    rows = tuple(line for curve in amounts(table) for line in _lines(table, curve))
    if not rows:
        return None
    caption = (
        "Controls left out. A mean that stays while the SD falls says that more data buys steadiness, not quality; the "
        "SD holds for one source. Tokens a column: for the narrowest linear to the widest."
    )
    head = ("method", "draw", "tokens", "tokens a column", "sources", f"mean, {_unit(table)}", "SD over draws")
    return PlainTable(f"{table.model}: amount of calibration data", caption, head, rows)


def _lines(table: Table, curve: Curve) -> Iterator[tuple[str, ...]]:
    name, points = curve
    shared = set.intersection(*(set(row.cells) for _, row in points)) - set(CONTROLS)
    for tokens, row in points:
        cells = [row.cells[source] for source in row.cells if source in shared]
        if cells:
            spread = [(cell.sd**2, len(cell.values) - 1) for cell in cells if cell.sd is not None]
            degrees = sum(df for _, df in spread)
            sd = math.sqrt(sum(v * df for v, df in spread) / degrees) if degrees else None
            mean = float(np.mean([cell.mean for cell in cells]))
            yield (
                name, row.group.size, f"{tokens:,.0f}", column_text(row), str(len(cells)),
                f"{mean * table.scale:.{table.digits + 1}f}",
                "" if sd is None else f"{sd * table.scale:.{table.digits + 1}f}",
            )  # fmt: skip


def propagation_table(table: Table) -> PlainTable | None:
    """A line a method and amount of which draws were compressed both ways."""
    ways: dict[str, dict[str, Row]] = {}
    for row in table.rows:
        case = row.group.cases[0]
        if row.cells and is_calibrated(row.group.method):
            draw = {k: v for k, v in case["draw"].items() if k not in ("source", "seed")}
            rest = [case[name] for name in ("method", "dtype", "device", "batch_size", "evaluation")]
            ways.setdefault(canonical_json([draw, rest]), {})[case["propagation"]] = row
    pairs = [(found["dense"], found["sequential"]) for found in ways.values() if {"dense", "sequential"} <= set(found)]
    rows = tuple(line for dense, usual in pairs for line in _deviation(table, dense, usual))
    if not rows:
        return None
    caption = (
        "Statistics from the dense model's inputs (propagation=dense: one pass serves every amount) against those from "
        "the compressed blocks before (sequential, as published codes do): the same draws, paired; 95 % interval of "
        "the mean over sources."
    )
    head = ("method", "draw", "draws", f"dense minus sequential, {_unit(table)}", "interval", "of the damage")
    return PlainTable(f"{table.model}: what dense propagation changes", caption, head, rows)


def _deviation(table: Table, dense: Row, usual: Row) -> Iterator[tuple[str, ...]]:
    from reports.statistics.group_contrast import group_contrast

    groups = [pairs for source in dense.cells if (pairs := _paired(dense, usual, source)).size]
    if not groups:
        return
    damage = float(np.mean([usual.cells[source].mean for source in dense.cells if source in usual.cells]))
    mean = float(np.mean([group.mean() for group in groups]))
    found: Interval | None = None
    if all(group.size > 1 for group in groups):
        found = group_contrast(groups, [1 / len(groups)] * len(groups))
    scale, digits = table.scale, table.digits + 1
    interval = "" if found is None else f"{found.low * scale:.{digits}f} to {found.high * scale:.{digits}f}"
    share = f"{100 * mean / damage:.1f} %" if damage > 0 else ""
    count = str(sum(group.size for group in groups))
    yield usual.group.words[0], usual.group.size, count, f"{mean * scale:.{digits}f}", interval, share


def _paired(dense: Row, usual: Row, source: str) -> np.ndarray:
    """Differences of the draws that both have, in order of seed."""
    if source not in usual.cells:
        return np.empty(0)
    values = [
        {r.case["draw"]["seed"]: v for r, v in zip(row.group.draws[source], row.cells[source].values, strict=True)}
        for row in (dense, usual)
    ]
    return np.array([values[0][seed] - values[1][seed] for seed in sorted(set(values[0]) & set(values[1]))])


def _unit(table: Table) -> str:
    return "nats a token" if table.outcome == "loss" else "points"
