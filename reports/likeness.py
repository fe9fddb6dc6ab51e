"""Similarity of the calibration text against the damage: a mark a draw, a panel a measure.

Records carry ``draw["similarity"] = {measure: number}``. The rank correlation is over draws of one method, with a
permutation test; draws of one source resemble each other, so it is also given between the means of sources, which are
few: only they say whether choosing a source by the measure would work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports import statistics
from reports.drawing import LEGEND, ROWS, WIDTH, Drawing, legend, legend_height, only_first, panels, to_csv
from reports.groups import CONTROLS, is_calibrated
from reports.svg import canvas, series, to_svg
from reports.tables import Row, Table

PANELS = 9
RATIO = 50  # of the largest to the smallest of a measure, from which its axis is logarithmic
Point = tuple[str, str, float, float]  # source, case id, measure, damage


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho of a measure and the damage for one method; None where there is nothing to rank."""

    measure: str
    method: str
    draws: int
    rho: float | None
    p: float | None
    sources: int
    rho_sources: float | None


def measures(table: Table) -> list[str]:
    """Names of the measures that some record carries."""
    rows = (row for row in table.rows if is_calibrated(row.group.method))
    found = (name for row in rows for r in row.group.records.values() for name in r.draw.get("similarity") or {})
    return list(dict.fromkeys(found))


def points(row: Row, measure: str) -> list[Point]:
    """One a draw that carries the measure."""
    found = []
    for source, cell in row.cells.items():
        for record, value in zip(row.group.draws[source], cell.values, strict=True):
            x = (record.draw.get("similarity") or {}).get(measure)
            if isinstance(x, (int, float)) and np.isfinite(x):
                found.append((source, record.id, float(x), value))
    return found


def correlations(table: Table) -> list[Correlation]:
    """Every measure with every calibrated method."""
    rows = [row for row in table.rows if is_calibrated(row.group.method) and row.cells]
    return [_correlation(measure, row) for measure in measures(table) for row in rows if points(row, measure)]


def _correlation(measure: str, row: Row) -> Correlation:
    """Over text alone: random tokens are unlike everything, and would make a correlation of any measure."""
    found = [p for p in points(row, measure) if p[0] not in CONTROLS]
    sources = list(dict.fromkeys(p[0] for p in found))
    means = [np.mean([p[2:] for p in found if p[0] == source], axis=0) for source in sources]
    rho, p = statistics.rank_correlation([f[2] for f in found], [f[3] for f in found])
    between, _ = statistics.rank_correlation([m[0] for m in means], [m[1] for m in means])
    return Correlation(measure, row.group.method_name, len(found), rho, p, len(sources), between)


def drawing(table: Table) -> Drawing | None:
    """Damage of every draw against its method's mean, by each measure; None if no record carries one."""
    names = measures(table)
    rows = [row for row in table.rows if is_calibrated(row.group.method) and row.cells][:ROWS]
    if not names or not rows:
        return None
    down, across = panels(min(len(names), PANELS))
    sources = [source for source in table.sources if source not in CONTROLS]
    named = len(sources) <= LEGEND
    height = 0.5 + 2.6 * down + (legend_height(sources) if named else 0.0)
    with canvas(WIDTH, height, down, across) as (figure, axes):
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        for ax, name in zip(axes.flat, names, strict=False):
            _panel(ax, table, rows, name)
        for ax in axes[:, 0]:
            ax.set_ylabel("damage / mean of the method" if table.outcome == "loss" else "points against the mean")
        if named:
            legend(figure, sources)
        svg = to_svg(figure, f"{table.model}: similarity of the text against damage")
    usual = "divided by the mean of its method" if table.outcome == "loss" else "minus the mean of its method"
    caption = (
        f"One mark a draw and method: its damage {usual}. Rank correlations by method are in the table below."
        + ("" if named else f" {len(sources)} sources are too many for a legend: the data names each mark.")
        + (" Controls that are no text are in the data only." if len(sources) < len(table.sources) else "")
        + only_first(len(names), PANELS, "measures")
    )
    title = f"{table.model}: similarity against damage"
    return Drawing(f"{table.model}-{table.outcome}-similarity", title, caption, svg, _csv(table, names))


def _panel(ax: Any, table: Table, rows: Sequence[Row], measure: str) -> None:
    marks: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found = [p for p in points(row, measure) if p[0] not in CONTROLS]
        usual = float(np.mean([p[3] for p in found])) if found else 0.0
        for source, _, x, y in found:
            # An accuracy lost is often about zero, and a ratio to it says nothing.
            if table.outcome != "loss":
                marks.setdefault(source, []).append((x, (y - usual) * table.scale))
            elif usual > 0:
                marks.setdefault(source, []).append((x, y / usual))
    sources = [source for source in table.sources if source not in CONTROLS]
    for number, source in enumerate(sources):
        if source in marks:
            colour, marker = series(number)
            xs, ys = zip(*marks[source], strict=True)
            ax.plot(xs, ys, ls="none", marker=marker, color=colour, markersize=3.8, alpha=0.7)
    ax.grid(True, axis="y")
    every = [x for pairs in marks.values() for x, _ in pairs]
    if every and min(every) > 0 and max(every) > RATIO * min(every):
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(measure)


def _csv(table: Table, names: Sequence[str]) -> str:
    header = ["model", "method", "source", "case", "measure", "similarity", "outcome", "unit", "damage"]
    rows = (
        [table.model, row.group.method_name, source, case, name, x, table.outcome, table.unit, y]
        for name in names
        for row in table.rows
        if is_calibrated(row.group.method)
        for source, case, x, y in points(row, name)
    )
    return to_csv(header, rows)
