"""Damage by method and source: the mean with its interval, and every draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.drawing import (
    INCHES,
    LEGEND,
    ROWS,
    WIDTH,
    Drawing,
    fitted,
    legend,
    legend_height,
    only_first,
    panels,
    shortened,
    to_csv,
)
from reports.groups import CONTROLS, is_calibrated
from reports.svg import PLACES, canvas, series, to_svg
from reports.tables import Cell, Row, Table

PANELS = 24
LANES = 240


def name_of(table: Table, row: Row) -> str:
    return row.group.method_name


def by_source(table: Table) -> Drawing:
    """Mean damage with its interval: methods down, a marker a source; many sources are named one by one."""
    every, sources = table.held, table.sources
    named = len(sources) > LEGEND
    rows = _that_fit(every)[::-1]
    height = 0.9 + sum(0.2 + (0.16 if named else 0.13) * _lanes(row) for row in rows)
    height += 0.0 if named else legend_height(sources)
    with canvas(WIDTH, height) as (figure, axes):
        ax = axes[0, 0]
        _groups(ax, table, rows, named)
        ax.set_xlabel(_axis(table))
        if not named and any(is_calibrated(row.group.method) for row in rows):
            legend(figure, sources)
        svg = to_svg(figure, f"{table.model}: {table.title}, by method and source")
    return Drawing(
        f"{table.model}-{table.outcome}-by-source",
        f"{table.model}: {table.title}",
        "Mean over draws with its 95 % interval over items and draws; a method that sees no calibration data has one "
        "mark. Sources share their documents, so two may differ surely although their intervals touch."
        + only_first(len(every), len(rows), "methods"),
        svg,
        cells_csv(table),
    )


def _that_fit(rows: list[Row]) -> list[Row]:
    """The first rows, as many as a figure of readable length holds; one at least."""
    lanes, kept = 0, list[Row]()
    for row in rows[:ROWS]:
        lanes += _lanes(row)
        if kept and lanes > LANES:
            break
        kept.append(row)
    return kept


def _groups(ax: Any, table: Table, rows: list[Row], named: bool) -> None:
    """A block of whiskers for each method, from the bottom up."""
    step, sources = (0.16 if named else 0.13), table.sources
    ticks: list[tuple[float, str]] = []
    position = 0.0
    for row in rows:
        start, calibrated = position, is_calibrated(row.group.method)
        for cell in _shown(row):
            colour, marker = series(sources.index(cell.source))
            _whisker(ax, cell, position, table.scale, colour if calibrated else PLACES["ink"], marker)
            if named and calibrated:
                ticks.append((position, shortened(cell.source)))
            position += step
        if named and calibrated:
            ax.text(0.995, position - step, name_of(table, row), transform=ax.get_yaxis_transform(),
                    ha="right", va="center", weight="bold")  # fmt: skip
        else:
            ticks.append(((start + position - step) / 2, name_of(table, row)))
        position += 0.2
        ax.axhline(position - 0.165, color=PLACES["line"], linewidth=0.5)
    ax.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
    ax.set_ylim(-0.16, position - 0.16)


def _lanes(row: Row) -> int:
    return len(_shown(row))


def _shown(row: Row) -> list[Cell]:
    """All sources, in reverse so that the first is on top; a calibration-free method is one cell."""
    cells = list(row.cells.values())[::-1]
    return cells if is_calibrated(row.group.method) else cells[-1:]


def _whisker(ax: Any, cell: Cell, y: float, scale: float, colour: str, marker: str) -> None:
    ax.plot([cell.low * scale, cell.high * scale], [y, y], color=colour, linewidth=1.4, solid_capstyle="round")
    ax.plot([cell.mean * scale], [y], marker=marker, color=colour, markersize=4.6, linestyle="none")


def _axis(table: Table) -> str:
    if table.outcome == "loss":
        above = "damage: nats a token above the dense model"
        return above if table.relative else "loss, nats a token (no dense record)"
    return "accuracy lost against the dense model, points"


def every_draw(table: Table) -> Drawing | None:
    """A strip a source for each calibrated method, on the method's own scale; None without a second draw."""
    every = [
        row
        for row in table.held
        if is_calibrated(row.group.method) and any(c.sd is not None for c in row.cells.values())
    ]
    if not every:
        return None
    rows = every[:PANELS]
    down, columns = panels(len(rows), names=table.sources)
    most = max(len(row.cells) for row in rows)
    with canvas(WIDTH, 0.2 + down * (0.75 + 0.2 * most), down, columns) as (figure, axes):
        for ax in axes.flat[len(rows) :]:
            ax.set_visible(False)
        for ax, row in zip(axes.flat, rows, strict=False):
            _strip(ax, table, row)
            # A title starts at its axes and would run out of the figure.
            margin = INCHES * max(len(shortened(source)) for source in table.sources)
            ax.set_title(fitted(name_of(table, row), WIDTH / columns - margin))
        for ax in axes[-1] if len(rows) == axes.size else axes.flat[max(0, len(rows) - columns) : len(rows)]:
            ax.set_xlabel(short_axis(table))
        svg = to_svg(figure, f"{table.model}: every draw of every source")
    return Drawing(
        f"{table.model}-{table.outcome}-every-draw",
        f"{table.model}: every draw",
        "One mark a draw; the bar is the mean of the source. Each method has its own scale; a source far outside it is "
        "named at the edge." + only_first(len(every), PANELS, "methods"),
        svg,
        _draws_csv(table),
    )


def _strip(ax: Any, table: Table, row: Row) -> None:
    sources = table.sources
    cells = list(row.cells.values())[::-1]
    text = [v for c in cells if c.source not in CONTROLS for v in c.values] or [v for c in cells for v in c.values]
    low, high = min(text) * table.scale, max(text) * table.scale
    pad = (high - low) * 0.12 or abs(high) * 0.05 or 1e-3
    for y, cell in enumerate(cells):
        colour, marker = series(sources.index(cell.source))
        mean = cell.mean * table.scale
        if not low - 4 * pad <= mean <= high + 4 * pad:
            side, place = ("right", high + pad) if mean > high else ("left", low - pad)
            arrow = f"{mean:.{table.digits}f} \u2192" if side == "right" else f"\u2190 {mean:.{table.digits}f}"
            ax.text(place, y, arrow, ha=side, va="center", color=PLACES["soft"], fontsize=8)
            continue
        values = np.asarray(cell.values) * table.scale
        ax.plot(
            values, np.full(values.size, y), marker=marker, color=colour, linestyle="none", markersize=4.4, alpha=0.75
        )
        ax.plot([mean, mean], [y - 0.32, y + 0.32], color=PLACES["ink"], linewidth=1.3)
    ax.set_xlim(low - pad, high + pad)
    ax.set_ylim(-0.6, len(cells) - 0.4)
    ax.set_yticks(range(len(cells)), [shortened(c.source) for c in cells])
    ax.locator_params(axis="x", nbins=5)


def short_axis(table: Table) -> str:
    if table.outcome != "loss":
        return "points lost"
    return "nats a token above dense" if table.relative else "nats a token"


def cells_csv(table: Table) -> str:
    header = ["model", "method", "source", "outcome", "unit", "draws", "mean", "sd", "low", "high"]
    rows = (
        [
            table.model,
            name_of(table, row),
            c.source,
            table.outcome,
            table.unit,
            len(c.values),
            c.mean,
            c.sd,
            c.low,
            c.high,
        ]
        for row in table.rows
        for c in row.cells.values()
    )
    return to_csv(header, rows)


def _draws_csv(table: Table) -> str:
    header = ["model", "method", "source", "draw", "outcome", "unit", "value"]
    rows = (
        [table.model, name_of(table, row), source, record.case["draw"]["seed"], table.outcome, table.unit, value]
        for row in table.rows
        for source, cell in row.cells.items()
        for record, value in zip(row.group.draws[source], cell.values, strict=True)
    )
    return to_csv(header, rows)
