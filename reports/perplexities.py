"""Perplexities of whole texts, by method and source: each of the numbers that papers call so, under its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fixtures.records import PERPLEXITIES, Record
from reports.drawing import to_csv
from reports.groups import Group, is_calibrated

WORDS = {
    "word_perplexity": "a word",
    "byte_perplexity": "a byte",
    "perplexity": "a token (exp of the mean loss)",
    "mean_perplexity": "arithmetic mean over texts",
}


@dataclass(frozen=True)
class PerplexityRow:
    """Mean and SD over draws (None with one) of each of ``PERPLEXITIES``; ``source`` is empty for the dense model and
    for methods that see no calibration data, whose draws are all alike.
    """

    method: str
    source: str
    draws: int
    mean: dict[str, float]
    sd: dict[str, float | None]


@dataclass(frozen=True)
class PerplexityTable:
    """One text of one model and evaluation."""

    model: str
    text: str
    texts: int
    rows: list[PerplexityRow]

    @property
    def data(self) -> str:
        names = [name for metric in PERPLEXITIES for name in (metric, f"{metric}_sd")]
        return to_csv(["model", "text", "method", "source", "draws", *names], (
            [self.model, self.text, r.method, r.source, r.draws,
             *(v for m in PERPLEXITIES for v in (r.mean[m], r.sd[m]))]
            for r in self.rows
        ))  # fmt: skip


def perplexity_tables(groups: Sequence[Group]) -> list[PerplexityTable]:
    """A table for each text that some record of the groups (of one model and evaluation) was scored on."""
    records = [record for group in groups for record in group.records.values()]
    texts = dict.fromkeys(name for record in records for name in record.perplexity)
    return [_table(groups, text) for text in texts]


def _table(groups: Sequence[Group], text: str) -> PerplexityTable:
    rows, dense = [], groups[0].dense
    if dense is not None and text in dense.perplexity:
        rows.append(_row("dense", "", [dense], text))
    for group in groups:
        held = {s: [r for r in records if text in r.perplexity] for s, records in group.draws.items()}
        if not is_calibrated(group.method):
            held = {"": [r for members in held.values() for r in members]}
        rows += [_row(group.method_name, source, members, text) for source, members in held.items() if members]
    first = next(r for g in groups for r in g.records.values() if text in r.perplexity)
    return PerplexityTable(groups[0].title, text, len(first.perplexity[text].nll), rows)


def _row(method: str, source: str, records: Sequence[Record], text: str) -> PerplexityRow:
    found = [record.perplexity[text].metrics for record in records]
    values = {metric: np.array([one[metric] for one in found]) for metric in PERPLEXITIES}
    return PerplexityRow(
        method, source, len(found), {m: float(v.mean()) for m, v in values.items()},
        {m: _sd(v) for m, v in values.items()},
    )  # fmt: skip


def _sd(values: NDArray[np.float64]) -> float | None:
    """Over draws, exactly zero where they are equal; None for one, or where some perplexity is infinite."""
    known = values.size > 1 and bool(np.isfinite(values).all())
    return float(np.std(values - values[0], ddof=1)) if known else None
