"""What every figure shares: its type, its data as CSV, its width."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reports.svg import series

WIDTH = 9.6  # inches: the card of a wide page; a narrow one scrolls
ROWS = 40  # a figure with more rows or panels is longer than anyone reads; the CSV beside it has them all


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


def only_first(count: int, most: int, what: str) -> str:
    """A sentence for the caption if not everything is drawn."""
    return f" Drawn for the first {most} of {count} {what}; the data has all." if count > most else ""


def legend(figure: Any, names: Sequence[str], columns: int = 6) -> None:
    """Colour and marker of each source, above the axes."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=series(k)[0], marker=series(k)[1], linewidth=1.4, markersize=4.6, label=name)
        for k, name in enumerate(names)
    ]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(columns, len(handles)), handlelength=1.4, columnspacing=1.2
    )


def panels(count: int, most: int = 3) -> tuple[int, int]:
    """(rows, columns) for so many panels."""
    across = min(most, count)
    return -(-count // across), across
