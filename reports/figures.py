"""The drawings: damage by method and source, every draw, components of variance, reliability."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.groups import CONTROLS, is_calibrated
from reports.svg import PLACES, canvas, series, to_svg
from reports.tables import Cell, Row, Table

WIDTH = 9.6  # inches: the card of a wide page; a narrow one scrolls


@dataclass(frozen=True)
class Drawing:
    """One figure: ``svg`` for the page, ``data`` as CSV text, both drawn from the records alone."""

    name: str
    title: str
    caption: str
    svg: str
    data: str


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def name_of(table: Table, row: Row) -> str:
    return row.group.method_name


def by_source(table: Table) -> Drawing:
    """Mean damage with its interval: methods down, a marker a source."""
    rows = [row for row in table.rows if row.cells][::-1]
    sources = table.sources
    height = 0.9 + sum(0.2 + 0.13 * _lanes(row) for row in rows)
    with canvas(WIDTH, height) as (figure, axes):
        ax, ticks, position = axes[0, 0], [], 0.0
        for row in rows:
            start = position
            for cell in _shown(row):
                colour, marker = series(sources.index(cell.source))
                _whisker(
                    ax,
                    cell,
                    position,
                    table.scale,
                    colour if is_calibrated(row.group.method) else PLACES["ink"],
                    marker,
                )
                position += 0.13
            ticks.append((start + position - 0.13) / 2)
            position += 0.2
            ax.axhline(position - 0.165, color=PLACES["line"], linewidth=0.5)
        ax.set_yticks(ticks, [name_of(table, row) for row in rows])
        ax.set_ylim(-0.16, position - 0.16)
        ax.set_xlabel(_axis(table))
        if any(is_calibrated(row.group.method) for row in rows):
            _legend(figure, sources)
        svg = to_svg(figure, f"{table.model}: {table.title}, by method and source")
    return Drawing(
        f"{table.model}-{table.outcome}-by-source",
        f"{table.model}: {table.title}",
        "Mean over draws with its 95 % interval over items and draws; a method that sees no calibration data has one "
        "mark. Sources share their documents, so two may differ surely although their intervals touch.",
        svg,
        _cells_csv(table),
    )


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
        relative = any(row.outcome is not None and row.outcome.relative for row in table.rows)
        return "damage: nats a token above the dense model" if relative else "loss, nats a token (no dense record)"
    return "accuracy lost against the dense model, points"


def _legend(figure: Any, sources: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=series(k)[0], marker=series(k)[1], linewidth=1.4, markersize=4.6, label=source)
        for k, source in enumerate(sources)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(6, len(handles)), handlelength=1.4, columnspacing=1.2
    )


def every_draw(table: Table) -> Drawing | None:
    """A strip a source for each calibrated method, on the method's own scale; None without a second draw."""
    rows = [
        row
        for row in table.rows
        if is_calibrated(row.group.method) and any(c.sd is not None for c in row.cells.values())
    ]
    if not rows:
        return None
    columns = min(3, len(rows))
    down = -(-len(rows) // columns)
    most = max(len(row.cells) for row in rows)
    with canvas(WIDTH, 0.2 + down * (0.75 + 0.2 * most), down, columns) as (figure, axes):
        for ax in axes.flat[len(rows) :]:
            ax.set_visible(False)
        for ax, row in zip(axes.flat, rows, strict=False):
            _strip(ax, table, row)
        for ax in axes[-1] if len(rows) == axes.size else axes.flat[max(0, len(rows) - columns) : len(rows)]:
            ax.set_xlabel("nats a token above dense" if table.outcome == "loss" else "points lost")
        svg = to_svg(figure, f"{table.model}: every draw of every source")
    return Drawing(
        f"{table.model}-{table.outcome}-every-draw",
        f"{table.model}: every draw",
        "One mark a draw; the bar is the mean of the source. Each method has its own scale; a source far outside it is "
        "named at the edge.",
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
    ax.set_yticks(range(len(cells)), [c.source for c in cells])
    ax.locator_params(axis="x", nbins=5)
    ax.set_title(name_of(table, row))


def _cells_csv(table: Table) -> str:
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


@dataclass(frozen=True)
class Components:
    """Standard deviations by cause, in the unit of the table."""

    method: str
    source: float | None
    draw: float | None
    draw_low: float | None
    draw_high: float | None
    items: float | None


def components(table: Table) -> list[Components]:
    """Source, draw and item floor of every calibrated method with a judged variance gate."""
    found = []
    for row in table.rows:
        verdict = row.variance
        if verdict is None or verdict.estimate is None:
            continue
        observed = verdict.details["observed_sd"]
        text = [c for c in row.cells.values() if c.source not in CONTROLS]
        source = None
        if len(text) > 1:
            # What the means of sources would spread by draws alone is taken off.
            noise = observed**2 * float(np.mean([1 / len(c.values) for c in text]))
            source = max(0.0, float(np.var([c.mean for c in text], ddof=1)) - noise) ** 0.5
        found.append(
            Components(
                name_of(table, row), source, verdict.estimate, verdict.low, verdict.high, verdict.details["item_floor"]
            )
        )
    return found


def variance_components(table: Table) -> Drawing | None:
    """How far the source, the draw and the items alone move the result; None without a judged variance gate."""
    found = components(table)[::-1]
    if not found:
        return None
    k = table.scale
    with canvas(WIDTH, 0.95 + 0.36 * len(found)) as (figure, axes):
        ax = axes[0, 0]
        for y, part in enumerate(found):
            if part.source is not None:
                ax.plot([part.source * k], [y + 0.17], marker="s", color=PLACES["c1"], linestyle="none", markersize=5.5)
            low, high = (part.draw_low or 0) * k, (part.draw_high or 0) * k
            ax.plot([low, high], [y, y], color=PLACES["c0"], linewidth=1.6, solid_capstyle="round")
            ax.plot([(part.draw or 0) * k], [y], marker="o", color=PLACES["c0"], linestyle="none", markersize=5)
            ax.plot(
                [(part.items or 0) * k], [y - 0.17], marker="|", color=PLACES["ink"], linestyle="none", markersize=8
            )
        ax.set_yticks(range(len(found)), [part.method for part in found])
        ax.set_ylim(-0.5, len(found) - 0.5)
        ax.set_xlim(left=0)
        ax.set_xlabel("standard deviation, " + ("nats a token" if table.outcome == "loss" else "points"))
        _component_legend(figure)
        svg = to_svg(figure, f"{table.model}: components of variance")
    header = ["method", "source_sd", "draw_sd", "draw_low", "draw_high", "item_floor"]
    data = to_csv(header, ([p.method, p.source, p.draw, p.draw_low, p.draw_high, p.items] for p in found[::-1]))
    caption = (
        "Source: spread of the source means beyond draws. Draw: spread that the text of a draw causes, with its 95 % "
        "interval. Items: what unrelated noise of the scored items alone would show in the mean of a draw."
    )
    name = f"{table.model}-{table.outcome}-components"
    return Drawing(name, f"{table.model}: what moves the result", caption, svg, data)


def _component_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    kinds = [("source", "c1", "s", 0.0), ("draw", "c0", "o", 1.6), ("items alone", "ink", "|", 0.0)]
    handles = [
        Line2D([], [], color=PLACES[c], marker=m, linewidth=w, markersize=5.5, label=label) for label, c, m, w in kinds
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1.4, columnspacing=1.2)
