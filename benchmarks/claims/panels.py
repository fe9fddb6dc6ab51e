"""Records as tables: all draws of a model in one setting are a panel; an outcome of a panel is a view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.claims import outcomes
from fixtures.records import Record, label
from reports.groups import CONTROLS, is_calibrated

MADE = (  # in names of sources that are made of others
    r"^[\d.]+\*|~(noise|mask|shuffle|distract|outliers)[\d.]*$|^selfgen\b|^corpus$"
    r"|^(cola|covercal|zipcal|lowppl|longest|unigram|train|examples)\("
)


class NoEvidence(ValueError):
    """The records do not hold what a claim needs; the message says what is missing."""


@dataclass
class Panel:
    """Cases of one model that differ in method, source and seed alone."""

    model: str
    case: dict[str, Any]  # of one of its records
    cells: dict[tuple[str, str], dict[int, Record]]
    dense: Record | None
    neutral: tuple[str, ...]  # domains that are neither a calibration source nor training text
    weights: str = ""  # content hash of the dense model
    others: bool = False  # whether most records of a model of this name are of other weights
    _views: dict[str, View] = field(default_factory=dict, repr=False, compare=False)

    @property
    def amount(self) -> str:
        return f"{self.case['draw']['n_sequences']} x {self.case['draw']['sequence_length']}"

    @property
    def tokens(self) -> int:
        return self.case["draw"]["n_sequences"] * self.case["draw"]["sequence_length"]

    @property
    def name(self) -> str:
        asked = self.case["evaluation"]
        whole = bool(asked["tasks"] and asked.get("items") is None)
        return f"{label(self.model)} {self.amount}{self.trained}{', all items' * whole}"

    @property
    def trained(self) -> str:
        """Which weights, where a model of this name was trained twice and most records are of the other."""
        return f" (weights {self.weights[:6]})" * self.others

    @property
    def draws(self) -> int:
        """Of the source that has most."""
        return max(map(len, self.cells.values()))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _ in self.cells))

    @property
    def calibrated(self) -> list[str]:
        return [method for method in self.methods if is_calibrated(method)]

    def sources(self, methods: Sequence[str] = (), controls: bool = False) -> list[str]:
        """Sources of which every one of the methods has two draws; controls (random tokens) only if asked for."""
        found = list(dict.fromkeys(source for _, source in self.cells))
        found = [s for s in found if all(len(self.cells.get((m, s), ())) >= 2 for m in methods)]
        return found if controls else [s for s in found if s not in CONTROLS]

    def real(self, methods: Sequence[str] = (), controls: bool = False) -> list[str]:
        """Of those, text as people wrote it: a statement about sources counts no mixture of them a second time, and
        nothing that was written by a model, chosen, corrupted or seen in training.
        """
        return [source for source in self.sources(methods, controls) if not re.search(MADE, source)]

    def view(self, outcome: str) -> View:
        """Raises :class:`NoEvidence` if the records do not have the outcome."""
        if outcome not in self._views:
            self._views[outcome] = View(self, outcome)
        return self._views[outcome]


@dataclass
class View:
    """One outcome of a panel: damage (compressed minus dense, higher is worse) by method, source, item and draw."""

    panel: Panel
    outcome: str
    _cache: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.panel.dense is None:
            raise NoEvidence(f"{self.panel.name}: no record of the dense model in the same setting")
        dense = outcomes.vector(self.panel.dense, self.panel.dense, self.outcome, self.panel.neutral)
        if dense is None:
            raise NoEvidence(
                f"{self.panel.name}: its records have no {outcomes.DESCRIBED.get(self.outcome, self.outcome)}"
            )
        self._dense = dense

    @property
    def unit(self) -> str:
        return outcomes.unit(self.outcome)

    def matrix(self, method: str, source: str) -> np.ndarray:
        """Damage ``[n_items, n_draws]``, draws in the order of their seeds."""
        if (method, source) not in self._cache:
            held = self.panel.cells[method, source]
            assert self.panel.dense is not None
            if other := next((r for r in held.values() if not outcomes.same_items(r, self.panel.dense)), None):
                raise NoEvidence(f"{other.id} was scored on other items than the dense model")
            columns = [self._vector(held[seed]) for seed in sorted(held)]
            self._cache[method, source] = np.stack(columns, axis=1) - self._dense[:, None]
        return self._cache[method, source]

    def _vector(self, record: Record) -> np.ndarray:
        assert self.panel.dense is not None
        found = outcomes.vector(record, self.panel.dense, self.outcome, self.panel.neutral)
        if found is None or found.shape != self._dense.shape:
            raise NoEvidence(f"{record.id} was scored on other items than the dense model")
        return found

    def of(self, record: Record) -> float:
        """The outcome of one record; raises :class:`NoEvidence` if it was scored on other items."""
        return float(self._vector(record).mean())

    def means(self, method: str, source: str) -> np.ndarray:
        """Damage of every draw."""
        return self.matrix(method, source).mean(axis=0)

    def seeds(self, method: str, source: str) -> list[int]:
        return sorted(self.panel.cells[method, source])

    def table(self, methods: Sequence[str], sources: Sequence[str]) -> np.ndarray:
        """Damage ``[n_methods, n_sources, n_draws]`` of the draws that all have; needs two (:class:`NoEvidence`)."""
        held = [set(self.seeds(m, s)) for m in methods for s in sources]
        shared = set.intersection(*held) if held else set()
        if len(shared) < 2:
            raise NoEvidence(f"{self.panel.name}: fewer than two draws that all methods and sources share")
        picks = {(m, s): [self.seeds(m, s).index(k) for k in sorted(shared)] for m in methods for s in sources}
        return np.stack([[self.means(m, s)[picks[m, s]] for s in sources] for m in methods])

    def damage(self, method: str, sources: Sequence[str] | None = None) -> float:
        """Mean damage of a method over real sources (those made of others, then controls, only if it has none)."""
        held = [source for m, source in self.panel.cells if m == method]
        text = [source for source in held if source not in CONTROLS]
        chosen = sources or [source for source in text if not re.search(MADE, source)] or text or held
        return float(np.mean([self.means(method, s).mean() for s in chosen]))
