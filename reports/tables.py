"""Cells of the table method x source: mean, SD over draws and an interval over items and draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fixtures.records import Record, Verdict, label
from reports import statistics
from reports.groups import OUTCOMES, Group, Outcome, is_calibrated, make_groups, planned_outcomes

MOST_ACROSS = 8  # columns of mean and SD that a page shows without scrolling
MOST_DIGITS = 6  # decimals: float32 losses carry no more


@dataclass(frozen=True)
class Cell:
    """One source under one method. ``values`` has one entry a draw; ``sd`` is None with one draw."""

    source: str
    values: tuple[float, ...]
    mean: float
    sd: float | None
    low: float
    high: float


@dataclass
class Row:
    """One method of a model on one outcome; ``problem`` says why there are no cells."""

    group: Group
    outcome: Outcome | None
    cells: dict[str, Cell] = field(default_factory=dict)
    problem: str = ""
    source: Verdict | None = None
    variance: Verdict | None = None

    @property
    def best(self) -> str | None:
        """The source that the source gate names, known to be better than some other."""
        return self.source.details.get("best") if self.source else None

    @property
    def tied(self) -> list[str]:
        return list(self.source.details.get("tied", [])) if self.source else []

    @property
    def decided(self) -> bool:
        """Whether one source was told apart from every other."""
        return self.best is not None and not self.tied

    @property
    def draw_sd(self) -> float | None:
        """SD over draws of one source, pooled; read from the variance gate, else from the cells."""
        if self.variance is not None and "observed_sd" in self.variance.details:
            return float(self.variance.details["observed_sd"])
        spread = [(c.sd**2, len(c.values) - 1) for c in self.cells.values() if c.sd is not None]
        total = sum(df for _, df in spread)
        return math.sqrt(sum(v * df for v, df in spread) / total) if total else None


@dataclass
class Table:
    """All methods of one model and evaluation on one outcome, with the dense model's own level."""

    model: str
    outcome: str
    unit: str
    dense: float | None
    rows: list[Row]

    @property
    def sources(self) -> list[str]:
        """Every source that some row has a figure of, in the order of the manifest."""
        planned = dict.fromkeys(label(case["draw"]["source"]) for row in self.rows for case in row.group.cases)
        held = {source for row in self.rows for source in row.cells}
        return [source for source in planned if source in held]

    @property
    def settings(self) -> list[str]:
        """Settings of the rows, for instance amounts; the one with the most records first: it gives the answer."""
        counts: dict[str, int] = {}
        for row in self.rows:
            calibrated = is_calibrated(row.group.method)
            counts[row.group.setting] = counts.get(row.group.setting, 0) + calibrated * len(row.group.records)
        return sorted(counts, key=lambda setting: -counts[setting])

    def of(self, setting: str) -> list[Row]:
        """Rows of one setting that hold figures."""
        return [row for row in self.rows if row.group.setting == setting and row.cells]

    @property
    def held(self) -> list[Row]:
        """Rows that hold figures, setting after setting."""
        return [row for setting in self.settings for row in self.of(setting)]

    @property
    def without(self) -> list[tuple[str, list[str]]]:
        """(reason, names) of rows without a figure."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if not row.cells:
                found.setdefault(row.problem or "no draw has a record", []).append(row.group.method_name)
        return list(found.items())

    @property
    def upright(self) -> bool:
        """Sources down and methods across: where sources are many and methods few, that is what fits a page."""
        return len(self.sources) > MOST_ACROSS and len(self.held) < len(self.sources)

    @property
    def relative(self) -> bool:
        """Whether figures are differences from the dense model; without its record they are losses themselves."""
        return any(row.outcome is not None and row.outcome.relative for row in self.rows)

    @property
    def title(self) -> str:
        if self.outcome == "loss":
            return "damage, nats a token" if self.relative else "loss, nats a token (no record of the dense model)"
        return "accuracy lost on informative tasks, points"

    @property
    def scale(self) -> float:
        """Accuracies are shown in points."""
        return 1.0 if self.outcome == "loss" else 100.0

    @property
    def digits(self) -> int:
        return 3 if self.outcome == "loss" else 1

    def digits_of(self, row: Row) -> int:
        """Decimals of a method's figures: more where three would leave of a small damage, or its SD, a zero."""
        if self.outcome != "loss":
            return self.digits
        mean = max((abs(cell.mean) for cell in row.cells.values()), default=0.0)
        sd = max((cell.sd or 0.0 for cell in row.cells.values()), default=0.0)
        digits = self.digits
        while digits < MOST_DIGITS and (0 < mean < 10 ** (1 - digits) or 0 < sd < 10**-digits):
            digits += 1
        return digits


def cell(source: str, matrix: np.ndarray) -> Cell:
    """Interval by items and draws; with one draw it speaks of that draw alone, with one item it has no width."""
    values = matrix.mean(axis=0)
    # Both against the first draw, so that equal draws have its very mean, however many they are, and no spread at all.
    apart = values - values[0]
    mean = float(values[0] + apart.mean())
    low = high = mean
    if matrix.shape[0] > 1:
        interval = statistics.contrast([matrix])
        low, high = interval.low, interval.high
    sd = float(apart.std(ddof=1)) if values.size > 1 else None
    return Cell(source, tuple(float(v) for v in values), mean, sd, low, high)


def make_tables(
    manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict]
) -> tuple[list[Group], list[Table]]:
    """Groups of the manifest, and a table for each model and outcome that has a number in it."""
    groups = make_groups(manifest, records)
    by_subject = {(v.gate, v.subject): v for v in verdicts}
    tables: dict[tuple[str, str], Table] = {}
    for group in groups:
        for name in planned_outcomes(group):
            row = _row(group, name, by_subject)
            key = (group.title, name)
            unit = "nats a token" if name == "loss" else "share"
            table = tables.setdefault(key, Table(group.title, name, unit, None, []))
            table.rows.append(row)
            if table.dense is None and group.dense is not None and row.outcome is not None:
                table.dense = _dense_level(group, name)
    return groups, [table for table in tables.values() if any(row.cells for row in table.rows)]


def _row(group: Group, name: str, by_subject: dict[tuple[str, str], Verdict]) -> Row:
    subject = group.label if name == "loss" else f"{group.label} {name}"
    row = Row(group, None, source=by_subject.get(("source", subject)), variance=by_subject.get(("variance", subject)))
    if not group.records:
        row.problem = "not run"
        return row
    try:
        row.outcome = OUTCOMES[name](group)
    except ValueError as error:
        row.problem = str(error)
        return row
    row.cells = {source: cell(source, matrix) for source, matrix in row.outcome.values.items()}
    return row


def _dense_level(group: Group, name: str) -> float:
    from reports.groups import answers

    assert group.dense is not None
    return float(group.dense_loss.mean() if name == "loss" else answers(group.dense, group.informative).mean())
