"""Rows of a study of distilled images by distilled set, which is the unit of family C."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.claims.evidence import Cell, Evidence
from benchmarks.claims.proper import ACCURACY

Row = dict[str, Any]
REAL = ("random", "full")  # nothing was distilled: some of the real images, all of them


def right(row: Row) -> float:
    """Accuracy in points."""
    return 100 * float(row["none"][ACCURACY])


class Sets:
    """Rows of one cell by seed of the distilled set."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name = name
        self.rows: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            self.rows[row["seed"]].append(row)
        self.first = rows[0]

    def values(self, of: Callable[[Row], float]) -> np.ndarray:
        """One value a set."""
        return np.array([np.mean([of(row) for row in self.rows[seed]]) for seed in sorted(self.rows)])

    def mean(self, of: Callable[..., float], column: int) -> float:
        """Over the sets, of one column: ``of(row, column=...)``."""
        return float(self.values(partial(of, column=column)).mean())

    def has(self, source: str) -> bool:
        """Whether its networks were calibrated on a source: too few images may be held out to match many distilled."""
        return all(source in row["sources"] for rows in self.rows.values() for row in rows)

    @property
    def accuracy(self) -> float:
        return float(self.values(right).mean()) / 100

    @property
    def label(self) -> str:
        share = self.first["share"]
        cut = f" ({100 * share:.2g} % of the iterations)" if self.cut else ""
        return f"{self.first['model']} {self.name}{cut}"

    @property
    def cut(self) -> bool:
        """Whether the images were made with less than the published budget."""
        return self.first["share"] is not None and self.first["share"] < 1

    def cell(
        self, evidence: Evidence, unit: str, margin: float = 0.0, detail: str = "", more: str = "", **rest: Any
    ) -> Cell:
        """A cell about these sets; ``more`` follows their label."""
        if against := rest.get("contrary"):
            detail = "; ".join(filter(None, [detail, f"{against} the other way"]))
        return Cell(f"{self.label} {more}".strip(), "", evidence, unit, margin, detail, cut=self.cut, **rest)
