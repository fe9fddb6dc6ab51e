"""Reliability diagrams: every method in a panel of its own, the dense model in each for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fixtures.records import Record
from reports import statistics
from reports.confidence import BINS, has_choice, top_choice
from reports.drawing import WIDTH, Drawing, panels, to_csv
from reports.figures import fitted
from reports.groups import Group
from reports.statistics.calibration_error import Bin
from reports.svg import PLACES, canvas, to_svg

PANELS = 20  # of one figure: more methods make more figures
ACROSS = 5
Line = tuple[str, list[Bin], str]  # name, bins, ECE as text


def reliability_drawings(groups: Sequence[Group]) -> list[Drawing]:
    """Accuracy against confidence on the informative tasks with a choice, of all methods of a model; none without."""
    dense = groups[0].dense
    tasks = [t for t in groups[0].informative if dense is not None and has_choice(dense.tasks[t])]
    if dense is None or not tasks:
        return []
    lines = [line for g in groups if (line := _line(g.method_name, list(g.records.values()), tasks)) is not None]
    reference = _line("dense", [dense], tasks)
    if reference is None:
        return []
    header = ["method", "confidence", "accuracy", "items"]
    data = to_csv(header, ([name, b.confidence, b.accuracy, b.n] for name, bins, _ in [reference, *lines] for b in bins))
    pages = [lines[k : k + PANELS] for k in range(0, len(lines), PANELS)] or [[]]
    return [_page(groups[0].title, reference, page, k, len(pages), tasks, data) for k, page in enumerate(pages)]


def _line(name: str, records: Sequence[Record], tasks: Sequence[str]) -> Line | None:
    """Bins over all items of all draws; the ECE of them together."""
    picked = [top_choice(r.tasks[t]) for r in records for t in tasks if t in r.tasks]
    if not picked:
        return None
    confidence, right = (np.concatenate(parts) for parts in zip(*picked, strict=True))
    ece = statistics.expected_calibration_error(confidence, right, BINS)
    return name, statistics.reliability(confidence, right, BINS), f"{100 * ece:.1f}"


def _page(
    model: str, dense: Line, lines: Sequence[Line], number: int, of: int, tasks: Sequence[str], data: str
) -> Drawing:
    shown = [dense, *lines] if number == 0 else list(lines)
    down, across = panels(len(shown), ACROSS)
    size = WIDTH / ACROSS
    with canvas(size * across + 0.3, 0.35 + (size + 0.2) * down, down, across, sharex=True, sharey=True) as drawn:
        figure, axes = drawn
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax, line in zip(axes.flat, shown, strict=False):
            _panel(ax, line, dense)
            ax.set_title(fitted(line[0], size - 0.3), fontsize=8.5)
        for ax in axes.flat[max(0, len(shown) - across) : len(shown)]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel("confidence")
        for ax in axes[:, 0]:
            ax.set_ylabel("share right")
        svg = to_svg(figure, f"{model}: reliability diagrams")
    part = f" ({number + 1} of {of})" if of > 1 else ""
    caption = (
        f"{BINS} bins of equal width over {', '.join(tasks)}, draws pooled; a mark's area is the share of items in its "
        "bin. On the dashed line confidence equals accuracy, below it answers are over-confident; the thin line is the "
        "dense model. Figures in the panels are the ECE of the pooled items, points."
    )
    name = f"{model}-reliability" + (f"-{number + 1}" if number else "")
    return Drawing(name, f"{model}: confidence against accuracy{part}", caption, svg, data)


def _panel(ax: Any, line: Line, dense: Line) -> None:
    name, bins, ece = line
    ax.plot([0, 1], [0, 1], color=PLACES["soft"], linewidth=0.8, linestyle=(0, (4, 3)))
    if name != dense[0]:
        ax.plot([b.confidence for b in dense[1]], [b.accuracy for b in dense[1]], color=PLACES["soft"], linewidth=0.8)
    total = sum(b.n for b in bins)
    xs, ys = [b.confidence for b in bins], [b.accuracy for b in bins]
    colour = PLACES["ink" if name == dense[0] else "c0"]
    ax.plot(xs, ys, color=colour, linewidth=1.2)
    ax.scatter(xs, ys, s=[4 + 60 * b.n / total for b in bins], color=colour, linewidths=0, clip_on=False, zorder=3)
    ax.text(0.04, 0.96, f"ECE {ece}", transform=ax.transAxes, va="top", fontsize=8, color=PLACES["soft"])
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid(True, axis="y")
