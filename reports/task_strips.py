"""Dispersion per task: every draw's accuracy on every task, a panel a task, the dense model as a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fixtures.records import Record
from reports.drawing import WIDTH, Drawing, legend, legend_height, only_first, panels, to_csv
from reports.groups import Group, chosen, is_calibrated
from reports.svg import PLACES, canvas, series, to_svg

METHODS = 14  # rows of a panel
TASKS = 12


def every_draw(groups: Sequence[Group]) -> Drawing | None:
    """For the groups of one model; None unless some calibrated method has two draws scored on a task."""
    tasks = groups[0].tasks
    shown = [g for g in groups if is_calibrated(g.method) and g.records]
    if not tasks or not any(len(records) > 1 for g in shown for records in g.draws.values()):
        return None
    drawn, sources = shown[:METHODS][::-1], list(dict.fromkeys(s for g in shown for s in g.sources))
    down, across = panels(min(len(tasks), TASKS))
    height = 0.4 + legend_height(sources) + down * (0.55 + 0.24 * len(drawn))
    with canvas(WIDTH, height, down, across, sharey=True) as (figure, axes):
        for ax in axes.flat[len(tasks) :]:
            ax.set_visible(False)
        for ax, task in zip(axes.flat, tasks, strict=False):
            _panel(ax, task, drawn, sources)
        for ax in axes[:, 0]:
            ax.set_yticks(range(len(drawn)), [g.method_name for g in drawn])
        legend(figure, sources)
        svg = to_svg(figure, f"{groups[0].title}: accuracy of every draw on every task")
    more = only_first(len(shown), METHODS, "methods") + only_first(len(tasks), TASKS, "tasks")
    caption = (
        "Accuracy in percent, one mark a draw; the dashed line is the dense model. A task in grey is not informative: "
        "the dense model is not surely above chance and majority class." + more
    )
    model = groups[0].title
    return Drawing(f"{model}-tasks-every-draw", f"{model}: every draw on every task", caption, svg, _csv(model, shown))


def _panel(ax: Any, task: str, groups: Sequence[Group], sources: Sequence[str]) -> None:
    dense = groups[0].dense
    if dense is not None and task in dense.tasks:
        ax.axvline(100 * _accuracy(dense, task), color=PLACES["ink"], linewidth=0.9, linestyle=(0, (4, 3)))
    for y, group in enumerate(groups):
        for number, source in enumerate(sources):
            values = [100 * _accuracy(r, task) for r in group.draws.get(source, []) if task in r.tasks]
            colour, marker = series(number)
            # Sources lie a little apart, so that equal accuracies stay visible.
            shift = 0.3 * (number / max(1, len(sources) - 1) - 0.5)
            ax.plot(
                values,
                np.full(len(values), y - shift),
                ls="none",
                marker=marker,
                color=colour,
                markersize=3.6,
                alpha=0.8,
            )
    ax.set_ylim(-0.6, len(groups) - 0.4)
    ax.locator_params(axis="x", nbins=4)
    ax.set_title(task, color=PLACES["ink" if task in groups[0].informative else "soft"])


def _accuracy(record: Record, task: str) -> float:
    return float(np.mean(chosen(record.tasks[task])))


def _csv(model: str, groups: Sequence[Group]) -> str:
    header = ["model", "method", "task", "source", "draw", "accuracy", "items", "informative"]
    return to_csv(header, (
        [model, g.method_name, task, source, record.case["draw"]["seed"], _accuracy(record, task),
         len(record.tasks[task].correct), int(task in g.informative)]
        for g in groups for source, records in g.draws.items() for record in records for task in record.tasks
    ))  # fmt: skip
