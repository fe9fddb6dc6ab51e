"""Families A and B, the sweeps: sparsity, structure, length and packing, model size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.claims.amounts import OUTCOMES, nearest, paired, shared_methods, stack, width
from benchmarks.claims.common import Settings, component_of, enough, gather, generator, resampled, shown
from benchmarks.claims.evidence import Cell, Effect, Order
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.sourcewise import interaction_of
from benchmarks.claims.world import World, ordinary
from benchmarks.estimate import parameters
from fixtures.records import label
from reports.statistics import Interval


def gap_by_sparsity(world: World, settings: Settings) -> list[Cell]:
    """B5: slope of the SD between sources on sparsity; and of that SD as a share of the damage."""

    def cells() -> Iterator[Cell]:
        for panel in world.panels:
            for algorithm in settings["algorithms"]:
                methods = sorted(m for m in panel.methods if _unstructured(m, algorithm))
                sources = panel.real(methods)
                if len(methods) < 4 or len(sources) < 3 or not ordinary(panel.case):
                    continue
                levels = np.array([float(m.rpartition("-")[2]) for m in methods])
                weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()
                for outcome in OUTCOMES:
                    try:
                        table = panel.view(outcome).table(methods, sources)
                    except NoEvidence:
                        continue
                    for share in (False, True) if enough(table) else ():
                        rng = generator("B5", panel.name, algorithm, outcome, share)
                        evidence = resampled(table, partial(_slope, weights=weights, share=share), rng)
                        unit = "share of the damage" if share else panel.view(outcome).unit
                        name = f"{panel.name} {algorithm} {levels[0]:g} to {levels[-1]:g}" + ", as a share" * share
                        yield Cell(name, outcome, evidence, f"{unit} for 1.0 of sparsity", shown_only=shown(outcome))

    return gather(cells())


def _unstructured(method: str, algorithm: str) -> bool:
    name, _, target = method.rpartition("-")
    return name == algorithm and target.startswith("0.") and target[2:].isdigit()


def _spread(table: np.ndarray) -> np.ndarray:
    """SD between sources of every method, unbiased under the root as far as it can be."""
    return np.sqrt([max(0.0, component_of(held)) for held in table])


def _slope(table: np.ndarray, weights: np.ndarray, share: bool) -> float:
    sds = _spread(table)
    if share:
        sds = sds / table.mean(axis=(1, 2))
    return float((weights * sds).sum())


def gap_by_structure(world: World, settings: Settings) -> list[Cell]:
    """B6: the SD between sources at unstructured, 4:8 and 2:4, all at half the weights."""

    def cells() -> Iterator[Cell]:
        for panel in world.panels:
            for algorithm in settings["algorithms"]:
                order = [f"{algorithm}-{target}" for target in settings["targets"]]
                if not set(order) <= set(panel.methods) or len(panel.real(order)) < 3:
                    continue
                for outcome in OUTCOMES:
                    try:
                        table = panel.view(outcome).table(order, panel.real(order))
                    except NoEvidence:
                        continue
                    if not enough(table):
                        continue
                    pairs = [
                        resampled(table[[i, i + 1]], _growth, generator("B6", panel.name, algorithm, outcome, i))
                        for i in range(len(order) - 1)
                    ]
                    names = [f"{b} > {a}" for a, b in pairwise(order)]
                    detail = ", ".join(f"{m} {sd:.3g}" for m, sd in zip(order, _spread(table), strict=True))
                    unit = panel.view(outcome).unit
                    evidence = Order(pairs, names)
                    yield Cell(f"{panel.name} {algorithm}", outcome, evidence, unit, 0.0, detail, None, shown(outcome))

    return gather(cells())


def _growth(table: np.ndarray) -> float:
    first, second = _spread(table)
    return float(second - first)


def packing_and_length(world: World, settings: Settings) -> list[Cell]:
    """A23 and B27: source x setting interaction, and the effect of the setting, at equal tokens and equal sources."""

    def cells() -> Iterator[Cell]:
        for axis in settings["axes"]:
            for panels in _differing(world, axis):
                for method in shared_methods(panels, settings):
                    for outcome in OUTCOMES:
                        try:
                            table, sources = stack(panels, method, outcome)
                        except NoEvidence:
                            continue
                        values = [str(panel.case["draw"][axis]) for panel in panels]
                        name = f"{label(panels[0].model)} {method} {axis} {', '.join(values)}"
                        unit, beside = panels[0].view(outcome).unit, shown(outcome)
                        if settings["about"] == "ranking" and len(sources) >= 3:
                            evidence: Any = interaction_of(table)
                        elif settings["about"] == "level":
                            evidence = Effect(_largest(table))
                        else:
                            continue
                        yield Cell(name, outcome, evidence, unit, 0.0, ", ".join(sources), None, beside)

    return gather(cells())


def _largest(table: np.ndarray) -> Interval:
    """The largest difference between two settings, of the draws that both have; the pair is the claim's own."""
    means = table.mean(axis=(1, 2))
    return paired(table[int(means.argmax())] - table[int(means.argmin())])


def _differing(world: World, axis: str) -> Iterator[list[Panel]]:
    """Panels of one model with equal tokens that differ in one setting of the draw."""
    groups: dict[str, list[Panel]] = {}
    for panel in world.panels:
        draw = {k: v for k, v in panel.case["draw"].items() if k not in ("source", "seed", axis)}
        if axis == "sequence_length":
            draw["n_sequences"] = panel.tokens
        rest = [panel.case[name] for name in ("evaluation", "propagation", "batch_size")]
        key = repr((panel.model, panel.weights, draw, rest))
        groups.setdefault(key, []).append(panel)
    for panels in groups.values():
        if len({panel.case["draw"][axis] for panel in panels}) > 1:
            yield sorted(panels, key=lambda panel: str(panel.case["draw"][axis]))


def size(world: World, settings: Settings) -> list[Cell]:
    """A6: how fast log(SD of draws / damage) falls with log parameters; positive is "larger is more robust"."""

    def cells() -> Iterator[Cell]:
        points: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for model in world.models:
            stem, _, _ = model.partition("@")
            if "(" in model or not stem.startswith("known-corpus-"):
                continue
            panels = [p for p in world.panels if p.model == model and ordinary(p.case)]
            panel = nearest(panels, 64 * width(model)) if panels else None
            if panel is None or abs(np.log(panel.tokens / (64 * width(model)))) > 0.1:
                continue
            for outcome in ("nll",):
                view = panel.view(outcome)
                for method in panel.calibrated:
                    sources = [s for s in settings["sources"] if s in panel.sources([method])]
                    if len(sources) == len(settings["sources"]):
                        sd = np.sqrt(np.mean([view.means(method, s).var(ddof=1) for s in sources]))
                        damage = view.damage(method, sources)
                        if damage <= 0 or not sd > 0:
                            continue  # no damage to take a share of, or one draw
                        row = (float(np.log(parameters(stem) or width(model) ** 2)), float(np.log(sd / damage)))
                        points.setdefault((method, outcome), []).append(row)
        for (method, outcome), rows in points.items():
            x, y = np.array(rows).T
            if len(set(x)) < 4 or len(rows) < 8:
                continue
            yield Cell(f"{method}, {len(rows)} models of {len(set(x))} sizes", outcome, _line(x, y), "d log / d log")

    return gather(cells())


def _line(x: np.ndarray, y: np.ndarray) -> Effect:
    """Minus the slope of least squares; positive: larger models spread less for their damage."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    rest = y - y.mean() - slope * centred
    df = len(x) - 2
    error = float(np.sqrt((rest**2).sum() / df / (centred**2).sum()))
    return Effect(Interval.of_t(-slope, error, df))
