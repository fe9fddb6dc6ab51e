"""Where tasks were scored: flips against the dense model, expected calibration error, Brier score, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fixtures.records import Record
from reports import statistics
from reports.drawing import Drawing, only_first, to_csv
from reports.groups import Group, chosen
from reports.svg import PLACES, canvas, series, to_svg

BINS = 10
LINES = 8  # in one diagram


@dataclass(frozen=True)
class ConfidenceRow:
    """Means over draws; accuracies, flips and ECE as shares. ``worse`` and ``better`` are None for the dense model."""

    method: str
    task: str
    n: int
    draws: int
    accuracy: float
    worse: float | None
    better: float | None
    ece: float
    brier: float
    confidence: float


@dataclass(frozen=True)
class ConfidenceTable:
    model: str
    rows: list[ConfidenceRow]
    uninformative: list[str]
    data: str


def confidence_tables(groups: Sequence[Group]) -> list[ConfidenceTable]:
    """One table a model that has tasks; the dense model first."""
    models: dict[str, list[Group]] = {}
    for group in groups:
        if group.tasks:
            models.setdefault(group.title, []).append(group)
    return [_table(model, members) for model, members in models.items()]


def _table(model: str, groups: Sequence[Group]) -> ConfidenceTable:
    rows: list[ConfidenceRow] = []
    dense = next((group.dense for group in groups if group.dense), None)
    for task in groups[0].tasks:
        if dense is not None and task in dense.tasks:
            rows.append(_row("dense", task, [dense], None))
        for group in groups:
            records = [r for r in group.records.values() if task in r.tasks]
            if records:
                rows.append(_row(group.method_name, task, records, dense))
    names = list(ConfidenceRow.__dataclass_fields__)
    data = to_csv(names, ([getattr(row, name) for name in names] for row in rows))
    informative = set(groups[0].informative)
    return ConfidenceTable(model, rows, [t for t in groups[0].tasks if t not in informative], data)


def _row(method: str, task: str, records: Sequence[Record], dense: Record | None) -> ConfidenceRow:
    right = np.array([chosen(r.tasks[task]) for r in records], int)
    eces, briers, confidences = [], [], []
    for record in records:
        scores = record.tasks[task]
        top, hit = top_choice(scores)
        eces.append(statistics.expected_calibration_error(top, hit, BINS))
        briers.append(statistics.brier(scores.probabilities, scores.target))
        confidences.append(float(np.mean(top)))
    worse = better = None
    if dense is not None and task in dense.tasks:
        before = np.array(chosen(dense.tasks[task]), int)
        if before.size == right.shape[1]:
            worse = float(((before == 1) & (right == 0)).mean())
            better = float(((before == 0) & (right == 1)).mean())
    return ConfidenceRow(
        method, task, right.shape[1], len(records), float(right.mean()), worse, better,
        float(np.mean(eces)), float(np.mean(briers)), float(np.mean(confidences)),
    )  # fmt: skip


def top_choice(scores) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the likeliest choice of every item, and whether the answer was right.

    With a single continuation (last-word tasks) that is the probability of the right word.
    """
    return np.array([max(p) for p in scores.probabilities]), np.array(chosen(scores), float)


def reliability_drawing(groups: Sequence[Group]) -> Drawing | None:
    """Accuracy against confidence on the informative tasks, a line a method, the dense model in ink."""
    tasks = groups[0].informative
    dense = groups[0].dense
    if not tasks or dense is None:
        return None
    lines = [("dense", [dense])] + [(g.method_name, list(g.records.values())) for g in groups]
    model, data = groups[0].name, []
    with canvas(4.6, 3.9) as (figure, axes):
        ax = axes[0, 0]
        ax.plot([0, 1], [0, 1], color=PLACES["soft"], linewidth=0.9, linestyle=(0, (4, 3)))
        for k, (name, records) in enumerate(lines):
            picked = [top_choice(r.tasks[t]) for r in records for t in tasks if t in r.tasks]
            if not picked:
                continue
            bins = statistics.reliability(
                np.concatenate([p[0] for p in picked]), np.concatenate([p[1] for p in picked]), BINS
            )
            data += [[name, b.confidence, b.accuracy, b.n] for b in bins]
            if k >= LINES:
                continue
            colour, marker = (PLACES["ink"], "o") if k == 0 else series(k - 1)
            ax.plot(
                [b.confidence for b in bins],
                [b.accuracy for b in bins],
                color=colour,
                marker=marker,
                linewidth=1.3,
                markersize=4.2,
                label=name,
            )
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.grid(True, axis="y")
        ax.set_xlabel("confidence in the likeliest answer")
        ax.set_ylabel("share right")
        figure.legend(loc="outside right upper", fontsize=8.5)
        svg = to_svg(figure, f"{model}: reliability diagram")
    where = ", ".join(tasks)
    caption = f"{BINS} bins of equal width over {where}, draws pooled; on the dashed line confidence equals accuracy."
    caption += only_first(len(lines), LINES, "methods")
    title = f"{model}: confidence against accuracy"
    return Drawing(
        f"{model}-reliability", title, caption, svg, to_csv(["method", "confidence", "accuracy", "items"], data)
    )
