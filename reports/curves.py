"""Damage against sparsity and against the amount of calibration data, where the records hold three points or more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reports.drawing import WIDTH, Drawing, legend, legend_height, only_first, panels, to_csv
from reports.figures import short_axis
from reports.groups import is_calibrated
from reports.svg import PLACES, canvas, series, to_svg
from reports.tables import Cell, Row, Table

POINTS = 3  # fewer make no curve
PANELS = 12
Curve = tuple[str, list[tuple[float, Row]]]


def sparsity_curves(table: Table) -> Drawing | None:
    """A panel an algorithm with its settings; lines are sources. None without three sparsities of one algorithm."""
    import compressors

    def place(row: Row) -> tuple[str, float] | None:
        method = compressors.parse(row.group.method)
        if method.target.sparsity is None:
            return None
        rest = dataclasses.replace(method.target, sparsity=0.0)
        label = row.group.label.replace(str(method), str(dataclasses.replace(method, target=rest)))
        name = label.removeprefix(f"{row.group.name} ").replace("-0.0", "", 1)
        return name, method.target.sparsity

    caption = "Mean damage by share of zeros; bars are the standard deviation over draws."
    return _figure(table, _curves(table, place), "sparsity", "share of zeros", caption)


def amount_curves(table: Table) -> Drawing | None:
    """A panel a method, tokens of a draw across. None without three amounts of one method."""
    caption = "Mean damage by calibration tokens of a draw; bars are the standard deviation over draws."
    return _figure(table, amounts(table), "amount", "calibration tokens of a draw", caption, log=True)


def amounts(table: Table) -> list[Curve]:
    """(method and setting, its rows by tokens of a draw), of methods with three amounts or more."""

    def place(row: Row) -> tuple[str, float] | None:
        draw = row.group.cases[0]["draw"]
        if not is_calibrated(row.group.method):
            return None
        own = {f"n{draw['n_sequences']}"}
        if row.group.usual.endswith(f"x{draw['sequence_length']}"):  # other lengths are no amounts of the same draw
            own.add(row.group.size)
        kept = ("-".join(part for part in word.split("-") if part not in own) for word in row.group.setting.split())
        name = " ".join(word for word in [row.group.method, *kept] if word)
        return name, float(draw["n_sequences"] * draw["sequence_length"])

    return _curves(table, place)


def _curves(table: Table, place: Callable[[Row], tuple[str, float] | None]) -> list[Curve]:
    found: dict[str, dict[float, Row]] = {}
    for row in table.rows:
        placed = place(row) if row.cells else None
        if placed is not None:
            found.setdefault(placed[0], {}).setdefault(placed[1], row)
    curves = [(name, sorted(points.items())) for name, points in found.items()]
    return [(name, points) for name, points in curves if len(points) >= POINTS]


def _figure(
    table: Table, curves: Sequence[Curve], kind: str, axis: str, caption: str, log: bool = False
) -> Drawing | None:
    if not curves:
        return None
    sources, drawn = table.sources, curves[:PANELS]
    down, across = panels(len(drawn))
    with canvas(WIDTH, 0.5 + 2.6 * down + legend_height(sources), down, across) as (figure, axes):
        for ax in axes.flat[len(drawn) :]:
            ax.set_visible(False)
        for ax, (name, points) in zip(axes.flat, drawn, strict=False):
            _panel(ax, table, points, sources, log)
            ax.set_title(name)
            ax.set_xlabel(axis)
        for ax in axes[:, 0]:
            ax.set_ylabel(short_axis(table))
        legend(figure, sources)
        svg = to_svg(figure, f"{table.model}: damage by {axis}")
    caption += only_first(len(curves), PANELS, "methods")
    title = f"{table.model}: damage by {kind}"
    return Drawing(f"{table.model}-{table.outcome}-by-{kind}", title, caption, svg, _csv(table, curves, kind))


def _panel(ax: Any, table: Table, points: list[tuple[float, Row]], sources: Sequence[str], log: bool) -> None:
    k = table.scale
    for number, source in enumerate(sources):
        line = [(x, row.cells[source]) for x, row in points if source in row.cells]
        if not line:
            continue
        colour, marker = series(number)
        xs, means = [x for x, _ in line], [cell.mean * k for _, cell in line]
        ax.errorbar(
            xs, means, yerr=[(cell.sd or 0.0) * k for _, cell in line], color=colour, marker=marker,
            markersize=4.2, linewidth=1.3, elinewidth=0.9,
        )  # fmt: skip
    ax.grid(True, axis="y")
    if log:
        ax.set_xscale("log", base=2)
        ax.set_xticks([x for x, _ in points], [_thousands(x) for x, _ in points])
        ax.minorticks_off()
    else:
        ax.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
    ax.axhline(0, color=PLACES["line"], linewidth=0.8)


def _thousands(tokens: float) -> str:
    return f"{tokens / 1024:g}k" if tokens >= 1024 else f"{tokens:g}"


def _csv(table: Table, curves: Sequence[Curve], kind: str) -> str:
    header = ["model", "method", kind, "source", "outcome", "unit", "draws", "mean", "sd", "low", "high"]

    def rows() -> Iterable[list[Any]]:
        for name, points in curves:
            for x, row in points:
                for c in row.cells.values():
                    yield [table.model, name, x, c.source, table.outcome, table.unit, *_numbers(c)]

    return to_csv(header, rows())


def _numbers(cell: Cell) -> list[Any]:
    return [len(cell.values), cell.mean, cell.sd, cell.low, cell.high]
