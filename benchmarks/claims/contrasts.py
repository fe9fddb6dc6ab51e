"""Claims that one kind of calibration text is better than another: perturbed, selected, mixed or made by the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.amounts import TOLERANCE
from benchmarks.claims.common import (
    SHARE,
    Settings,
    chosen_methods,
    gather,
    generator,
    of_samples,
    resampled,
    shown,
    views,
)
from benchmarks.claims.evidence import Cell, Effect, Rank
from benchmarks.claims.world import NoEvidence, View, World
from reports.statistics.group_contrast import group_contrast
from reports.statistics.rank_association import rank_association


def better(world: World, settings: Settings) -> list[Cell]:
    """Damage of each ``worse`` source minus that of each ``better`` one; with ``match`` only where the group agrees.

    ``worse`` and ``better`` are patterns of source names; a group in both (say the text that is perturbed) pairs them.
    """

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                for first, second in _pairs(view.panel.sources([method], controls=True), settings):
                    groups = [view.means(method, first), view.means(method, second)]
                    if min(map(len, groups)) < 2:
                        continue
                    damage = view.damage(method)
                    margin = {"zero": 0.0, "share": SHARE * max(0.0, damage), "fixed": TOLERANCE[view.outcome]}
                    evidence = Effect(group_contrast(groups, [1, -1]))
                    name = f"{view.panel.name} {method} {first} minus {second}"
                    chosen = margin[settings.get("margin", "zero")]
                    yield Cell(name, view.outcome, evidence, view.unit, chosen, "", damage, shown(view.outcome))

    return gather(cells())


def _pairs(sources: Sequence[str], settings: Settings) -> list[tuple[str, str]]:
    found = []
    for first in sources:
        for second in sources:
            a, b = re.fullmatch(settings["worse"], first), re.fullmatch(settings["better"], second)
            if a and b and first != second and _key(a) == _key(b):
                found.append((first, second))
    return found


def _key(match: re.Match[str]) -> str:
    """The first group that matched anything: what both names must share."""
    return next((group for group in match.groups() if group), "")


def setting_slope(world: World, settings: Settings) -> list[Cell]:
    """Slope of the damage on the log of a number in the source's name, for instance the prefix length of selfgen."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                found: dict[float, str] = {}
                for source in view.panel.sources([method]):
                    if match := re.fullmatch(settings["pattern"], source):
                        found[float(match.group(1))] = source
                if len(found) < 3:
                    continue
                x = np.log(sorted(found))
                weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
                groups = [view.means(method, found[key]) for key in sorted(found)]
                evidence = Effect(group_contrast(groups, list(-weights)))
                name = f"{view.panel.name} {method}, {len(found)} settings"
                yield Cell(name, view.outcome, evidence, f"{view.unit} a log step", 0.0, "", None, shown(view.outcome))

    return gather(cells())


def selection_spread(world: World, settings: Settings) -> list[Cell]:
    """A18: log of the SD of random draws over that of selected ones of the same pool; positive: those are steadier."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                for first, second in _pairs(view.panel.sources([method]), settings):
                    table = view.table([method], [first, second])[0]
                    if table.shape[1] < 5:
                        continue

                    def ratio(held: np.ndarray) -> float:
                        return float(np.log(held[0].std(ddof=1) / held[1].std(ddof=1)))

                    rng = generator("A18", view.panel.name, method, first, second, view.outcome)
                    name = f"{view.panel.name} {method} {second} against {first}"
                    evidence = resampled(table, ratio, rng)
                    yield Cell(name, view.outcome, evidence, "log ratio of SDs", shown_only=shown(view.outcome))

    return gather(cells())


def similarity_order(world: World, settings: Settings) -> list[Cell]:
    """B14: rank correlation of a similarity measure of the calibration text with how little damage it does."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                for measure, values in _measures(view, method).items():
                    if measure in settings["measures"] and len(values) >= 5:
                        x = [values[source] for source in values]
                        y = [-view.means(method, source).mean() for source in values]
                        evidence = Rank(rank_association(x, y))
                        name = f"{view.panel.name} {method} {measure}, {len(values)} sources"
                        yield Cell(name, view.outcome, evidence, "Spearman's r", shown_only=shown(view.outcome))

    return gather(cells())


def best_measure(world: World, settings: Settings) -> list[Cell]:
    """B15: |rank correlation| of one measure minus that of the published one, bootstrap over sources."""

    def cells() -> Iterator[Cell]:
        first, second = settings["pair"]
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                held = _measures(view, method)
                if first not in held or second not in held or len(held[first]) < 8:
                    continue
                sources = sorted(set(held[first]) & set(held[second]))
                y = np.array([view.means(method, source).mean() for source in sources])
                a, b = (np.array([held[m][s] for s in sources]) for m in (first, second))
                yield Cell(
                    f"{view.panel.name} {method} {first} against {second}",
                    view.outcome,
                    _difference(a, b, y, generator("B15", view.panel.name, method, view.outcome)),
                    "difference of |Spearman's r|",
                    shown_only=shown(view.outcome),
                )

    return gather(cells())


def closer(world: World, settings: Settings) -> list[Cell]:
    """B21: similarity to the training text of one kind of source minus that of another, over draws."""

    def cells() -> Iterator[Cell]:
        for panel in world.all(settings.get("models", "")):
            method = panel.calibrated[0] if panel.calibrated else ""
            for second, first in _pairs(panel.sources([method]), settings) if method else []:
                for measure in settings["measures"]:
                    groups = [_of_draws(panel.cells[method, source], measure) for source in (first, second)]
                    if min(len(group) for group in groups) >= 2:
                        evidence = Effect(group_contrast(groups, [1, -1]))
                        yield Cell(f"{panel.name} {measure} {first} minus {second}", "", evidence, measure)

    return gather(cells())


def _of_draws(held: dict[int, Any], measure: str) -> np.ndarray:
    values = [(held[seed].draw.get("similarity") or {}).get(measure) for seed in sorted(held)]
    return np.array([value for value in values if isinstance(value, int | float)])


def _difference(a: np.ndarray, b: np.ndarray, y: np.ndarray, rng: np.random.Generator):
    from scipy.stats import spearmanr

    def gap(index: np.ndarray) -> float:
        if len(set(index)) < 4:
            return float("nan")
        return abs(spearmanr(a[index], y[index])[0]) - abs(spearmanr(b[index], y[index])[0])

    samples = np.array([gap(rng.integers(0, len(y), len(y))) for _ in range(500)])
    return of_samples(float(gap(np.arange(len(y)))), samples, len(y), len(y) - 1)


def _measures(view: View, method: str) -> dict[str, dict[str, float]]:
    """measure -> source -> mean over the draws of what the record says of the draw's similarity."""
    found: dict[str, dict[str, list[float]]] = {}
    for source in view.panel.sources([method]):
        for record in view.panel.cells[method, source].values():
            for measure, value in (record.draw.get("similarity") or {}).items():
                if isinstance(value, int | float):
                    found.setdefault(measure, {}).setdefault(source, []).append(float(value))
    return {m: {s: float(np.mean(v)) for s, v in held.items()} for m, held in found.items()}


__all__ = ["NoEvidence", "best_measure", "better", "closer", "selection_spread", "setting_slope", "similarity_order"]
