"""What every figure shares: its type, its data as CSV, its width."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.svg import series

WIDTH = 9.6  # inches: the card of a wide page; a narrow one scrolls
INCHES = 0.078  # a character of a label, about
LEGEND = 12  # more sources are named where they stand: nobody finds one of twenty in a legend
ROWS = 40  # a figure with more rows or panels is longer than anyone reads; the CSV beside it has them all


@dataclass(frozen=True)
class Drawing:
    """One figure: ``svg`` for the page, ``data`` as CSV text, both drawn from the records alone."""

    name: str
    title: str
    caption: str
    svg: str
    data: str
    more: bool = False  # a further page of the one before: closed until it is asked for


def shortened(name: str, most: int = 30) -> str:
    """A long name with its middle left out, for the margin of a figure; data and tables have it whole."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}\u2026{name[-half:]}"


def fitted(name: str, inches: float) -> str:
    """A title within the width of its panel: on two lines if need be, then cut; the data has it whole."""
    most = max(8, int(inches / 0.085))
    if len(name) <= most:
        return name
    words, first = name.split(" "), ""
    while words and len(f"{first} {words[0]}".strip()) <= most:
        first = f"{first} {words.pop(0)}".strip()
    if not first:  # a first word that is too long by itself
        return name[: most - 1] + "\u2026"
    rest = " ".join(words)
    return f"{first}\n{rest if len(rest) <= most else rest[: most - 1] + chr(0x2026)}"


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def only_first(count: int, most: int, what: str) -> str:
    """A sentence for the caption if not everything is drawn."""
    return f" Drawn for the first {most} of {count} {what}; the data has all." if count > most else ""


def legend(figure: Any, names: Sequence[str]) -> None:
    """Colour and marker of each source, above the axes, in as many columns as their names leave room for."""
    from matplotlib.lines import Line2D

    columns = max(1, int(WIDTH / (0.55 + INCHES * max(map(len, names), default=1))))

    handles = [
        Line2D([], [], color=series(k)[0], marker=series(k)[1], linewidth=1.4, markersize=4.6, label=name)
        for k, name in enumerate(names)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=max(1, min(columns, len(handles))), handlelength=1.4,
        columnspacing=1.2,
    )  # fmt: skip


def panels(count: int, most: int = 3, names: Sequence[str] = ()) -> tuple[int, int]:
    """(rows, columns) for so many panels; fewer columns where each has long ``names`` on its left."""
    margin = INCHES * max((len(shortened(name)) for name in names), default=0)
    across = max(1, min(most, count, int(WIDTH / (margin + 1.5))))
    return -(-count // across), across


def legend_height(names: Sequence[str]) -> float:
    """Inches that ``legend`` takes."""
    columns = max(1, int(WIDTH / (0.55 + INCHES * max(map(len, names), default=1))))
    return 0.17 * -(-len(names) // columns) + 0.1
