"""Records as tables: all draws of a model in one setting are a panel; an outcome of a panel is a view."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.claims import outcomes
from fixtures.records import Case, Record, canonical_json, label
from reports.groups import CONTROLS, is_calibrated

SCALES = {  # what a verdict is a statement about
    "smollm2-135m": "135 M, Q4_1-restored weights",
    "known-corpus": "trained here, unquantized weights",
}
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
        return f"{label(self.model)} {self.amount}" + f" (weights {self.weights[:6]})" * self.others

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


class World:
    """All records that claims are decided from."""

    def __init__(self, records: Iterable[Record], published: Any = None) -> None:
        latest: dict[tuple[str, ...], Record] = {}
        self.images: list[Record] = []  # of distilled images
        for record in records:
            if record.case.get("kind") == "images":
                self.images.append(record)
                continue
            if record.case.get("draw") is None and record.case["method"] != "dense":
                continue
            key = (record.id, weights(record), canonical_json({k: v for k, v in record.case.items() if k != "id"}))
            if key not in latest or record.created >= latest[key].created:
                latest[key] = record
        self.records = list(latest.values())
        self.replays: dict[str, tuple[int, int]] = {}  # by model: draws made again from manifests, and how many differ
        self.published = published  # per-draw accuracies of arXiv 2410.17711, if the user has the file

    @cached_property
    def panels(self) -> list[Panel]:
        """Largest first. Weights trained twice under one name are two models: never in one panel."""
        cells: dict[str, dict[tuple[str, str], dict[int, Record]]] = defaultdict(lambda: defaultdict(dict))
        dense: dict[str, Record] = {}
        count = Counter((record.case["model"], weights(record)) for record in self.records)
        most = {model: held for (model, held), _ in reversed(count.most_common())}
        for record in self.records:
            case = record.case
            if case["draw"] is None:
                dense[_setting(record)] = record
            elif not case.get("control"):
                cells[_panel_key(record)][case["method"], case["draw"]["source"]][case["draw"]["seed"]] = record
        found = []
        for held in cells.values():
            first = next(iter(next(iter(held.values())).values()))
            model, own = first.case["model"], weights(first)
            same = dense.get(_setting(first))
            found.append(Panel(model, first.case, dict(held), same, self._scored(first.case), own, own != most[model]))
        return sorted(found, key=lambda panel: -sum(map(len, panel.cells.values())))

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(panel.model for panel in self.panels))

    def _scored(self, case: dict[str, Any]) -> tuple[str, ...]:
        """Of the model's neutral domains, those that this case is scored on: another run may have had more of them."""
        return tuple(name for name in self.neutral(case["model"]) if name in case["evaluation"]["domains"])

    def neutral(self, model: str) -> tuple[str, ...]:
        return self._neutral.get(model, ())

    @cached_property
    def _neutral(self) -> dict[str, tuple[str, ...]]:
        """Domains of a model that neither it nor another of its kind was calibrated or trained on, and that it models
        at all: models that are compared, of several sizes say, are read on the same text.
        """
        used: dict[str, set[str]] = defaultdict(set)
        held: dict[str, dict[str, float]] = defaultdict(dict)
        for record in self.records:
            model = record.case["model"]
            used[_kind(model)] |= (
                {record.case["draw"]["source"]} if record.case["draw"] else set(training_sources(model))
            )
            if not record.case["draw"] and not record.case["evaluation"].get("inputs"):
                held[model] |= {name: outcomes.loss(scores) for name, scores in record.nll.items()}
        return {
            model: tuple(
                sorted(
                    name
                    for name, value in losses.items()
                    if name not in used[_kind(model)] and value <= min(losses.values()) + outcomes.FAR
                )
            )
            for model, losses in held.items()
        }

    def main(self, model: str, methods: Sequence[str] = (), least: int = 2) -> Panel:
        """The model's largest panel of ordinary draws that has the methods; raises :class:`NoEvidence`."""
        for panel in self.panels:
            fits = panel.model == model and ordinary(panel.case) and set(methods) <= set(panel.methods)
            if fits and max(map(len, panel.cells.values())) >= least:
                return panel
        raise NoEvidence(f"no records of {label(model)} with {', '.join(methods) or 'two draws of a source'}")

    def some(self, pattern: str = "", least: int = 2) -> list[Panel]:
        """The main panel of every model whose name fits, largest first."""
        panels = []
        for model in self.models:
            if re.search(pattern, model):
                try:
                    panels.append(self.main(model, least=least))
                except NoEvidence:
                    continue
        return panels

    def all(self, pattern: str = "") -> list[Panel]:
        """Every panel of ordinary draws of the models whose name fits."""
        return [p for p in self.panels if re.search(pattern, p.model) and ordinary(p.case)]

    def sweep(self, model: str, **fixed: Any) -> list[Panel]:
        """Panels of a model in which these settings of the draw hold, fewest tokens first."""
        kept = [p for p in self.panels if p.model == model and all(p.case["draw"][k] == v for k, v in fixed.items())]
        return sorted(kept, key=lambda panel: panel.tokens)


def _kind(model: str) -> str:
    """Known-corpus models are one kind: what one is trained on is calibration text of another."""
    return "known-corpus" if label(model).startswith("known-corpus-") else model


def ordinary(case: dict[str, Any]) -> bool:
    """Stream packing, no BOS, our own draws, sequential propagation, inputs as they are; not made for its trace."""
    draw = case["draw"]
    plain = (draw["packing"], draw["bos"], draw["loader"]) == ("stream", False, "calibench")
    special = case["evaluation"].get("inputs") or case["evaluation"].get("trace")
    return plain and case["propagation"] == "sequential" and not special


def training_sources(model: str) -> tuple[str, ...]:
    """The training text of a known-corpus model; nothing for others."""
    from fixtures.recipes import RecipeError, named

    try:
        recipe = named(model)
    except RecipeError:
        return ()
    return recipe.sources if recipe else ()


def scale(model: str) -> str:
    """What a verdict on this model is a statement about."""
    name = label(model)
    for start, words in SCALES.items():
        if name.startswith(start):
            return f"{name}: {words}" if start not in words else words
    return name


def weights(record: Record) -> str:
    """Content hash of the dense model that a record is about."""
    return str(record.keys.get("model_hash", ""))


def _setting(record: Record) -> str:
    names = ("model", "evaluation", "dtype", "device", "threads", "batch_size")
    return canonical_json([weights(record), {name: record.case[name] for name in names}])


def _panel_key(record: Record) -> str:
    draw = {k: v for k, v in record.case["draw"].items() if k not in ("source", "seed")}
    return canonical_json([_setting(record), draw, record.case["propagation"]])


def as_case(case: dict[str, Any]) -> Case:
    return Case.from_dict({k: v for k, v in case.items() if k in {f.name for f in dataclasses.fields(Case)}})
