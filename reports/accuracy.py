"""The papers' own table: mean accuracy over all tasks, every task with the same weight, by method and source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.records import Record
from reports.drawing import to_csv
from reports.groups import CONTROLS, Group, chosen, is_calibrated


@dataclass(frozen=True)
class AccuracyRow:
    """``draws[source]``: the mean accuracy of every draw, shares. ``sd`` is pooled over the sources, ``range`` the
    largest distance of two draws of one source; both are None without a second draw.
    """

    method: str
    draws: dict[str, NDArray[np.float64]]
    calibrated: bool

    @property
    def sd(self) -> float | None:
        spread = [(float(np.var(v - v[0], ddof=1)), v.size - 1) for v in self.draws.values() if v.size > 1]
        total = sum(df for _, df in spread)
        return math.sqrt(sum(v * df for v, df in spread) / total) if total else None

    @property
    def range(self) -> float | None:
        return max((float(np.ptp(v)) for v in self.draws.values() if v.size > 1), default=None)

    @property
    def ends(self) -> tuple[str, str] | None:
        """(best, worst) source by mean of two draws or more; None for one that sees no data, or without two sources."""
        text = {s: float(v.mean()) for s, v in self.draws.items() if s not in CONTROLS and v.size > 1}
        if not self.calibrated or len(text) < 2:
            return None
        return max(text, key=lambda s: text[s]), min(text, key=lambda s: text[s])

    def sd_of(self, source: str) -> float | None:
        values = self.draws[source]
        return float(np.std(values - values[0], ddof=1)) if values.size > 1 else None


@dataclass(frozen=True)
class AccuracyTable:
    """``items`` are those of all tasks together; ``dense`` is None without its record."""

    model: str
    tasks: list[str]
    items: int
    dense: float | None
    sources: list[str]
    rows: list[AccuracyRow]

    @property
    def data(self) -> str:
        header = ["model", "method", "source", "draws", "mean_accuracy", "sd"]
        return to_csv(header, (
            [self.model, row.method, source, values.size, float(values.mean()), row.sd_of(source)]
            for row in self.rows for source, values in row.draws.items()
        ))  # fmt: skip


def accuracy_table(groups: Sequence[Group]) -> AccuracyTable | None:
    """For the groups of one model and evaluation; None without tasks."""
    tasks, rows = groups[0].tasks, []
    if not tasks:
        return None
    for group in groups:
        draws = {s: np.array([mean_accuracy(r, tasks) for r in rs]) for s, rs in group.draws.items() if rs}
        if draws:
            rows.append(AccuracyRow(group.method_name, draws, is_calibrated(group.method)))
    if not rows:
        return None
    first = next(record for group in groups for record in group.records.values())
    dense = groups[0].dense
    return AccuracyTable(
        groups[0].title, tasks, sum(len(first.tasks[t].target) for t in tasks),
        mean_accuracy(dense, tasks) if dense is not None else None,
        list(dict.fromkeys(s for row in rows for s in row.draws)), rows,
    )  # fmt: skip


def mean_accuracy(record: Record, tasks: Sequence[str]) -> float:
    """Every task counts the same, however many items it has."""
    return float(np.mean([np.mean(chosen(record.tasks[task])) for task in tasks]))
