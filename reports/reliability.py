"""Reliability diagrams: every line in a panel of its own beside what it is compared with, all of them on as many pages
as that takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fixtures.records import Record
from reports import statistics
from reports.confidence import BINS, has_choice, top_choice
from reports.drawing import WIDTH, Drawing, fitted, panels, to_csv
from reports.groups import Group
from reports.statistics.calibration_error import Bin
from reports.svg import PLACES, canvas, to_svg

PANELS = 20  # of one figure: more lines make more figures
ACROSS = 5


@dataclass(frozen=True)
class Line:
    """Bins of one method over all its items; ``reference`` is drawn thin beside it, None for a reference itself."""

    name: str
    bins: list[Bin]
    ece: float
    reference: Line | None = None


def line(
    name: str, confidence: ArrayLike, right: ArrayLike, reference: Line | None = None, rule: str = "width"
) -> Line:
    """From the confidence in the likeliest choice and the rightness of every item, ``[n_items]`` each."""
    ece = statistics.expected_calibration_error(confidence, right, BINS, rule)
    return Line(name, statistics.reliability(confidence, right, BINS, rule), ece, reference)


def pages(title: str, name: str, lines: Sequence[Line], caption: str) -> list[Drawing]:
    """A figure for every ``PANELS`` lines; each carries the data of all."""
    header = ["method", "confidence", "accuracy", "items"]
    data = to_csv(header, ([one.name, b.confidence, b.accuracy, b.n] for one in lines for b in one.bins))
    starts = range(0, len(lines), PANELS)
    found = []
    for number, start in enumerate(starts):
        shown = f"{title}, {number + 1} of {len(starts)}" if len(starts) > 1 else title
        svg = _figure(lines[start : start + PANELS], shown)
        key = f"{name}-{number + 1}" if number else name
        found.append(Drawing(key, shown, caption, svg, data, more=number > 0))
    return found


def reliability_drawings(groups: Sequence[Group]) -> list[Drawing]:
    """Accuracy against confidence on the informative tasks with a choice, of all methods of a model; none without."""
    dense = groups[0].dense
    tasks = [t for t in groups[0].informative if dense is not None and has_choice(dense.tasks[t])]
    reference = _of_records("dense", [dense], tasks, None) if dense is not None and tasks else None
    if reference is None:
        return []
    found = (_of_records(g.method_name, list(g.records.values()), tasks, reference) for g in groups)
    model = groups[0].title
    caption = (
        f"{BINS} bins of equal width over {', '.join(tasks)}, draws pooled; a mark's area is the share of items in its "
        "bin. On the dashed line confidence equals accuracy, below it answers are over-confident; the thin line is the "
        "dense model. ECE: of the pooled items, points."
    )
    lines = [reference, *(one for one in found if one is not None)]
    return pages(f"{model}: confidence against accuracy", f"{model}-reliability", lines, caption)


def _of_records(name: str, records: Sequence[Record], tasks: Sequence[str], reference: Line | None) -> Line | None:
    picked = [top_choice(r.tasks[t]) for r in records for t in tasks if t in r.tasks]
    if not picked:
        return None
    return line(name, np.concatenate([p[0] for p in picked]), np.concatenate([p[1] for p in picked]), reference)


def _figure(lines: Sequence[Line], title: str) -> str:
    down, across = panels(len(lines), ACROSS)
    size = WIDTH / ACROSS
    titles = [fitted(one.name, size - 0.2) for one in lines]
    tall = size + (0.34 if any("\n" in title for title in titles) else 0.2)
    with canvas(size * across + 0.3, 0.35 + tall * down, down, across, sharex=True, sharey=True) as drawn:
        figure, axes = drawn
        for ax in axes.flat[len(lines) :]:
            ax.set_visible(False)
        for ax, one, heading in zip(axes.flat, lines, titles, strict=False):
            _panel(ax, one)
            ax.set_title(heading, fontsize=8.5)
        for ax in axes.flat[max(0, len(lines) - across) : len(lines)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("confidence")
        for ax in axes[:, 0]:
            ax.set_ylabel("share right")
        return to_svg(figure, title)


def _panel(ax: Any, one: Line) -> None:
    ax.plot([0, 1], [0, 1], color=PLACES["soft"], linewidth=0.8, linestyle=(0, (4, 3)))
    if one.reference is not None:
        thin = one.reference.bins
        ax.plot([b.confidence for b in thin], [b.accuracy for b in thin], color=PLACES["soft"], linewidth=0.8)
    total = sum(b.n for b in one.bins)
    xs, ys = [b.confidence for b in one.bins], [b.accuracy for b in one.bins]
    colour = PLACES["ink" if one.reference is None else "c0"]
    ax.plot(xs, ys, color=colour, linewidth=1.2)
    ax.scatter(xs, ys, s=[4 + 60 * b.n / total for b in one.bins], color=colour, linewidths=0, clip_on=False, zorder=3)
    # Over-confident lines leave the upper left empty.
    ax.text(0.04, 0.96, f"ECE {100 * one.ece:.1f}", transform=ax.transAxes, va="top", fontsize=8, color=PLACES["soft"])
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid(True, axis="y")
