"""All records that claims are decided from, dealt into panels: which belong together, and which text is neutral."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from benchmarks.claims import outcomes
from benchmarks.claims.panels import NoEvidence, Panel
from fixtures.records import Record, canonical_json, label

SCALES = {  # what a verdict is a statement about
    "smollm2-135m": "135 M, Q4_1-restored weights",
    "known-corpus": "trained here, unquantized weights",
}


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
        """The model's largest panel of ordinary draws, of those that have one of the methods and, among these, those
        with tasks, as far as there are any; raises :class:`NoEvidence` if it has no panel.
        """
        held = [p for p in self.panels if p.model == model and ordinary(p.case) and p.draws >= least]
        if not held:
            raise NoEvidence(f"no records of {label(model)} with two draws of a source")
        return max(held, key=lambda panel: _suits(panel, methods))  # the first of equals: the largest

    def some(self, pattern: str = "", least: int = 2, methods: Sequence[str] = ()) -> list[Panel]:
        """The main panel of every model whose name fits, for a claim about these methods; largest first."""
        panels = []
        for model in self.models:
            if re.search(pattern, model):
                try:
                    panels.append(self.main(model, methods, least))
                except NoEvidence:
                    continue
        return panels

    def repeated(self, pattern: str = "", methods: Sequence[str] = ()) -> list[Panel]:
        """The main panels, and after each those that ask the same tasks after as many draws of its sources: of another
        amount, or scored on all items.
        """
        found = []
        for main in self.some(pattern, methods=methods):
            found.append(main)
            for panel in self.panels:
                same = (panel.model, panel.weights) == (main.model, main.weights)
                alike = same and ordinary(panel.case) and panel is not main
                tasks = panel.case["evaluation"]["tasks"]
                if alike and tasks and list(tasks) == list(main.case["evaluation"]["tasks"]):
                    fits = panel.draws >= main.draws and set(panel.sources()) <= set(main.sources())
                    found += [panel] * fits
        return found

    def all(self, pattern: str = "") -> list[Panel]:
        """Every panel of ordinary draws of the models whose name fits."""
        return [p for p in self.panels if re.search(pattern, p.model) and ordinary(p.case)]


def _suits(panel: Panel, methods: Sequence[str]) -> tuple[bool, bool]:
    """Whether a panel has one of the methods, if any is named, and whether it was asked tasks."""
    return not methods or not set(methods).isdisjoint(panel.methods), bool(panel.case["evaluation"]["tasks"])


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
