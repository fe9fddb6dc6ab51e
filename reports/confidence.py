"""Where tasks were scored: accuracy, flips against the dense model, and whether confidence matches accuracy.

Calibration errors need a choice: a last-word task scores one continuation, whose probability is no confidence in the
answer that the model gave. It has an accuracy, flips and a negative log-likelihood, and no ECE or Brier score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.records import Record, TaskScores
from reports import statistics
from reports.drawing import to_csv
from reports.groups import Group, chosen

BINS = 10
LEAST = 1e-30  # of a probability that was stored as 0
MEASURES = ("accuracy", "worse", "better", "confidence", "gap", "ece", "brier", "nll")


@dataclass(frozen=True)
class TaskFigures:
    """Of one record on one task: shares, ``nll`` in nats, ``brier`` 0 to 2; None where there is none."""

    n: int
    accuracy: float
    worse: float | None
    better: float | None
    confidence: float | None
    gap: float | None
    ece: float | None
    brier: float | None
    nll: float


@dataclass(frozen=True)
class ConfidenceRow:
    """Means over draws and their SD (None with one draw). ``worse`` and ``better``: answers lost and gained, as shares
    of all items; None for the dense model. ``gap``: confidence minus accuracy, above 0 is over-confident.
    """

    method: str
    task: str
    n: int
    draws: int
    accuracy: float
    worse: float | None
    better: float | None
    ece: float | None
    brier: float | None
    confidence: float | None
    gap: float | None
    nll: float | None
    accuracy_sd: float | None
    ece_sd: float | None
    brier_sd: float | None
    nll_sd: float | None


@dataclass(frozen=True)
class ConfidenceTable:
    """``overall`` has a row a method, means over ``tasks`` of equal weight; ``rows`` has one a task and method."""

    model: str
    rows: list[ConfidenceRow]
    overall: list[ConfidenceRow]
    tasks: list[str]
    words: list[str]  # tasks without a choice
    uninformative: list[str]
    data: str
    overall_data: str
    compared: bool  # whether there is a dense record


def confidence_tables(groups: Sequence[Group]) -> list[ConfidenceTable]:
    """One table a model and evaluation that has tasks; the dense model first."""
    models: dict[str, list[Group]] = {}
    for group in groups:
        if group.tasks:
            models.setdefault(group.title, []).append(group)
    return [_table(model, members) for model, members in models.items()]


def _table(model: str, groups: Sequence[Group]) -> ConfidenceTable:
    tasks, dense = groups[0].tasks, groups[0].dense
    members: list[tuple[str, list[Record]]] = [("dense", [dense])] if dense is not None else []
    members += [(g.method_name, list(g.records.values())) for g in groups if g.records]
    found = {(name, task): _figures(records, task, dense) for name, records in members for task in tasks}
    rows = [summarized(name, task, found[name, task]) for task in tasks for name, _ in members if found[name, task]]
    overall = []
    for name, _ in members:
        per_task = [found[name, task] for task in tasks if found[name, task]]
        if per_task and len({len(each) for each in per_task}) == 1:
            overall.append(_over(name, per_task))
    informative = set(groups[0].informative)
    first = members[0][1][0] if members else None
    words = [t for t in tasks if first is not None and t in first.tasks and not has_choice(first.tasks[t])]
    others = [t for t in tasks if t not in informative] if dense is not None else []
    data, summary = (_csv(part) for part in (rows, overall))
    return ConfidenceTable(model, rows, overall, tasks, words, others, data, summary, dense is not None)


def over_tasks(method: str, records: Sequence[Record], tasks: Sequence[str], dense: Record | None) -> ConfidenceRow:
    """Mean and SD over records of the means over tasks of equal weight; every record holds all of them."""
    return _over(method, [_figures(records, task, dense) for task in tasks])


def _over(method: str, per_task: Sequence[Sequence[TaskFigures]]) -> ConfidenceRow:
    return summarized(method, "mean", [_mean(each) for each in zip(*per_task, strict=True)])


def _csv(rows: Sequence[ConfidenceRow]) -> str:
    names = list(ConfidenceRow.__dataclass_fields__)
    return to_csv(names, ([getattr(row, name) for name in names] for row in rows))


def has_choice(scores: TaskScores) -> bool:
    return max((len(row) for row in scores.probabilities), default=0) > 1


def _figures(records: Sequence[Record], task: str, dense: Record | None) -> list[TaskFigures]:
    return [task_figures(record, task, dense) for record in records if task in record.tasks]


def task_figures(record: Record, task: str, dense: Record | None = None) -> TaskFigures:
    """Accuracy, flips against ``dense`` (None for itself, or if it has other items) and calibration of one record."""
    scores = record.tasks[task]
    right = np.array(chosen(scores), int)
    worse = better = confidence = gap = ece = brier = None
    if dense is not None and dense is not record and task in dense.tasks:
        before = dense.tasks[task]
        if (before.document_hash, before.prompt_hash) == (scores.document_hash, scores.prompt_hash):
            known = np.array(chosen(before), int)
            worse, better = float((known > right).mean()), float((known < right).mean())
    top = top_choice(scores)[0] if has_choice(scores) else None
    if top is not None:
        confidence, gap = float(top.mean()), statistics.signed_gap(top, right)
        ece = statistics.expected_calibration_error(top, right, BINS)
        brier = statistics.brier(scores.probabilities, scores.target)
    answered = np.array([row[t] for row, t in zip(scores.probabilities, scores.target, strict=True)])
    nll = float(-np.log(np.maximum(answered, LEAST)).mean())
    return TaskFigures(right.size, float(right.mean()), worse, better, confidence, gap, ece, brier, nll)


def _mean(found: Sequence[TaskFigures]) -> TaskFigures:
    """One record's figures over its tasks, of equal weight; calibration errors over those with a choice."""
    means = {}
    for name in MEASURES:
        values = [v for one in found if (v := getattr(one, name)) is not None]
        means[name] = float(np.mean(values)) if values else None
    return TaskFigures(n=sum(one.n for one in found), **means)  # type: ignore[arg-type]


def summarized(method: str, task: str, found: Sequence[TaskFigures]) -> ConfidenceRow:
    """Mean and SD over draws."""
    mean, sd = {}, {}
    for name in MEASURES:
        values = [v for one in found if (v := getattr(one, name)) is not None]
        mean[name] = float(np.mean(values)) if values else None
        # Against the first, so that equal draws have no spread at all and not that of rounding.
        sd[name] = float(np.std(np.array(values) - values[0], ddof=1)) if len(values) > 1 else None
    return ConfidenceRow(
        method, task, found[0].n, len(found), mean["accuracy"] or 0.0, mean["worse"], mean["better"], mean["ece"],
        mean["brier"], mean["confidence"], mean["gap"], mean["nll"], sd["accuracy"], sd["ece"], sd["brier"], sd["nll"],
    )  # fmt: skip


def top_choice(scores: TaskScores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probability of the likeliest choice of every item, and whether the answer was right."""
    return np.array([max(p) for p in scores.probabilities]), np.array(chosen(scores), float)
