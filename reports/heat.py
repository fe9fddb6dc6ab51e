"""Heat maps as tables: the colour is a share of the page's own two colours, the number is always written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.drawing import to_csv
from reports.figures import name_of
from reports.groups import CONTROLS, is_calibrated
from reports.tables import Row, Table


@dataclass(frozen=True)
class Square:
    """``weight`` in [-1, 1]: how far towards worse (positive) or better (negative) the square is coloured."""

    text: str
    weight: float
    title: str = ""


@dataclass(frozen=True)
class HeatMap:
    title: str
    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Square | None]]]
    data: str


def source_by_method(table: Table) -> HeatMap | None:
    """Each source against the mean of the text sources of its method; None with one source."""
    sources, rows, data = table.sources, [], []
    methods = [row for row in table.held if is_calibrated(row.group.method) and len(row.cells) > 1]
    # With one draw a source the colours would show nothing but the draws.
    if len(sources) < 2 or not any(row.draw_sd is not None for row in methods):
        return None
    centred = {}
    for row in methods:
        text = [c.mean for c in row.cells.values() if c.source not in CONTROLS] or [c.mean for c in row.cells.values()]
        centred[id(row)] = {c.source: (c.mean - float(np.mean(text))) * table.scale for c in row.cells.values()}
    inside = [abs(v) for found in centred.values() for s, v in found.items() if s not in CONTROLS]
    # Nine of ten squares share the scale: one method far beyond the others would leave all of them white.
    top = float(np.quantile(inside, 0.9)) or max(inside, default=0.0) or 1.0
    for row in methods:
        squares = [_square(centred[id(row)].get(s), top, table.digits_of(row)) for s in sources]
        rows.append((name_of(table, row), squares))
        data += [[name_of(table, row), s, v] for s, v in centred[id(row)].items()]
    columns = sources
    if table.upright:
        columns, rows = [name for name, _ in rows], [(s, [row[k] for _, row in rows]) for k, s in enumerate(sources)]
    unit = "nats a token" if table.outcome == "loss" else "points"
    return HeatMap(
        "Source against method",
        f"Damage minus the mean of the method's text sources, {unit}: what the choice of source is worth. The colour "
        "is full from the largest tenth of the differences on.",
        columns,
        rows,
        to_csv(["method", "source", "difference"], data),
    )


def source_by_domain(table: Table) -> HeatMap | None:
    """Calibrated on (down) against scored on (across), each column centred, mean over the methods of one setting.

    Only methods that all have the same sources enter: a mean of other methods for another source would compare methods.
    """
    if table.outcome != "loss" or not any(row.draw_sd is not None for row in table.rows):
        return None
    rows, order = _comparable(table)
    if len(order) < 2:
        return None
    place = np.array([domain for domain, _ in rows[0].group.documents])
    rows = [row for row in rows if row.group.documents == rows[0].group.documents]
    domains = list(dict.fromkeys(place.tolist()))
    values = {(s, d): float(np.mean([_mean(row, s, place == d) for row in rows])) for s in order for d in domains}
    text = [s for s in order if s not in CONTROLS] or order
    centre = {d: float(np.mean([values[s, d] for s in text])) for d in domains}
    top = max((abs(values[s, d] - centre[d]) for s in text for d in domains), default=0.0) or 1.0
    digits = min(map(table.digits_of, rows))
    squares = [(s, [_square(values[s, d] - centre[d], top, digits) for d in domains]) for s in order]
    data = [[s, d, values[s, d], values[s, d] - centre[d]] for s in order for d in domains]
    return HeatMap(
        "Calibrated on (down), scored on (across)",
        "Damage minus the mean of the column's text sources, nats a token, averaged over the "
        f"{len(rows)} calibrated methods that have all of these sources: {', '.join(name_of(table, r) for r in rows)}.",
        domains,
        list(squares),
        to_csv(["calibrated_on", "scored_on", "damage", "difference"], data),
    )


def _comparable(table: Table) -> tuple[list[Row], list[str]]:
    """Calibrated methods of the main setting with the source list that most of them have, and that list."""
    setting = next((s for s in table.settings if table.of(s)), "")
    held = [row for row in table.of(setting) if is_calibrated(row.group.method) and row.outcome is not None]
    lists = Counter(frozenset(row.cells) for row in held)
    usual = max(lists, key=lambda names: (lists[names] * len(names), sorted(names)), default=frozenset[str]())
    return [row for row in held if usual <= set(row.cells)], [s for s in table.sources if s in usual]


def _mean(row: Row, source: str, picked: NDArray[np.bool_]) -> float:
    assert row.outcome is not None
    return float(row.outcome.values[source][picked].mean())


def _square(value: float | None, top: float, digits: int) -> Square | None:
    if value is None:
        return None
    text = f"{value:+.{digits}f}".replace("-", "\u2212")
    text = text[1:] if not float(text[1:]) else text  # a difference that rounds to nothing has no sign
    return Square(text, max(-1.0, min(1.0, value / top)), f"{value:+.6g}")
