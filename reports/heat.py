"""Heat maps as tables: the colour is a share of the page's own two colours, the number is always written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reports.drawing import to_csv
from reports.figures import name_of
from reports.groups import CONTROLS, is_calibrated
from reports.tables import Table


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
    methods = [row for row in table.rows if is_calibrated(row.group.method) and len(row.cells) > 1]
    # With one draw a source the colours would show nothing but the draws.
    if len(sources) < 2 or not any(row.draw_sd is not None for row in methods):
        return None
    centred = {}
    for row in methods:
        text = [c.mean for c in row.cells.values() if c.source not in CONTROLS] or [c.mean for c in row.cells.values()]
        centred[id(row)] = {c.source: (c.mean - float(np.mean(text))) * table.scale for c in row.cells.values()}
    inside = [abs(v) for found in centred.values() for s, v in found.items() if s not in CONTROLS]
    top = max(inside, default=0.0) or 1.0
    for row in methods:
        squares = [_square(centred[id(row)].get(s), top, table.digits) for s in sources]
        rows.append((name_of(table, row), squares))
        data += [[name_of(table, row), s, v] for s, v in centred[id(row)].items()]
    unit = "nats a token" if table.outcome == "loss" else "points"
    return HeatMap(
        "Source against method",
        f"Damage minus the mean of the method's text sources, {unit}: what the choice of source is worth.",
        sources,
        rows,
        to_csv(["method", "source", "difference"], data),
    )


def source_by_domain(table: Table) -> HeatMap | None:
    """Calibrated on (down) against scored on (across), mean over calibrated methods, each column centred."""
    if table.outcome != "loss" or not any(row.draw_sd is not None for row in table.rows):
        return None
    found: dict[str, dict[str, list[float]]] = {}
    domains: list[str] = []
    for row in table.rows:
        if row.outcome is None or not is_calibrated(row.group.method):
            continue
        place = np.array([domain for domain, _ in row.group.documents])
        domains = list(dict.fromkeys([*domains, *place.tolist()]))
        for source, matrix in row.outcome.values.items():
            means = matrix.mean(axis=1)
            for domain in dict.fromkeys(place.tolist()):
                found.setdefault(source, {}).setdefault(domain, []).append(float(means[place == domain].mean()))
    if len(found) < 2 or not domains:
        return None
    order = [s for s in table.sources if s in found]
    values = {s: {d: float(np.mean(found[s][d])) for d in domains if d in found[s]} for s in order}
    text = [s for s in order if s not in CONTROLS] or order
    centre = {d: float(np.mean([values[s][d] for s in text if d in values[s]])) for d in domains}
    top = max((abs(values[s][d] - centre[d]) for s in text for d in values[s]), default=0.0) or 1.0
    rows = []
    for s in order:
        row_values = [values[s][d] - centre[d] if d in values[s] else None for d in domains]
        rows.append((s, [_square(value, top, table.digits) for value in row_values]))
    data = [[s, d, values[s][d], values[s][d] - centre[d]] for s in order for d in values[s]]
    return HeatMap(
        "Calibrated on (down), scored on (across)",
        "Damage minus the mean of the column's text sources, nats a token, averaged over the calibrated methods.",
        domains,
        rows,
        to_csv(["calibrated_on", "scored_on", "damage", "difference"], data),
    )


def _square(value: float | None, top: float, digits: int) -> Square | None:
    if value is None:
        return None
    return Square(f"{value:+.{digits}f}".replace("-", "\u2212"), max(-1.0, min(1.0, value / top)), f"{value:+.6g}")
