"""Families A and B, the sweeps: amount, sparsity, structure, length and packing, model size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.claims.common import Settings, component_of, gather, generator, resampled, shown
from benchmarks.claims.evidence import Bootstrap, Cell, Effect, Order
from benchmarks.claims.sourcewise import interaction_of
from benchmarks.claims.world import NoEvidence, Panel, World, ordinary
from fixtures.records import label
from reports.groups import is_calibrated
from reports.statistics import Interval
from reports.statistics.group_contrast import group_contrast

TOLERANCE = {"nll": 0.01, "bpb": 0.01, "acc9": 0.25, "acc_inf": 0.25}  # "no effect": nats, bits, points
OUTCOMES = ("nll", "bpb", "acc9")


def amounts(world: World, least: int = 3) -> Iterator[tuple[str, list[Panel]]]:
    """(model, panels that differ in the number of sequences alone, fewest first), where there are ``least`` amounts."""
    for model in world.models:
        groups: dict[Any, list[Panel]] = {}
        for panel in world.panels:
            draw = panel.case["draw"]
            if panel.model == model and ordinary(panel.case):
                key = draw["sequence_length"], draw["slices"], repr(panel.case["evaluation"]), panel.case["batch_size"]
                groups.setdefault(key, []).append(panel)
        for panels in groups.values():
            if len(panels) >= least:
                yield model, sorted(panels, key=lambda panel: panel.tokens)


def stack(panels: Sequence[Panel], method: str, outcome: str) -> tuple[np.ndarray, list[str]]:
    """Damage ``[n_panels, n_sources, n_draws]`` of sources and draws that all panels have, and the sources."""
    sources = [s for s in panels[0].sources([method]) if all((method, s) in panel.cells for panel in panels)]
    if not sources:
        raise NoEvidence(f"{panels[0].name}: no source of {method} at every setting")
    seeds = set.intersection(*(set(p.cells[method, s]) for p in panels for s in sources))
    if len(seeds) < 2:
        raise NoEvidence(f"{panels[0].name}: fewer than two draws of {method} that every setting has")
    views = [panel.view(outcome) for panel in panels]
    rows = [
        [[v.means(method, s)[v.seeds(method, s).index(seed)] for seed in sorted(seeds)] for s in sources] for v in views
    ]
    return np.array(rows), sources


def _methods(panels: Sequence[Panel], settings: Settings) -> list[str]:
    shared = [m for m in panels[0].methods if is_calibrated(m) and all(m in panel.methods for panel in panels)]
    return [m for m in shared if m in settings.get("methods", shared)]


def column_tokens(model: str, panel: Panel) -> str:
    return f"{panel.amount} ({panel.tokens:,} tokens)"


def nearest(panels: Sequence[Panel], tokens: float) -> Panel:
    return min(panels, key=lambda panel: abs(np.log(panel.tokens / tokens)))


def width(model: str) -> int:
    """Inputs of a linear of the model (the narrow ones): its hidden size."""
    from fixtures.recipes import RecipeError, named

    try:
        recipe = named(model)
    except RecipeError:
        recipe = None
    return recipe.hidden if recipe else {"smollm2-135m": 576}.get(label(model), 4096)


def matched(model: str, sequences: int) -> float:
    """Tokens that are for this model what ``sequences`` x 2,048 are for a width of 4,096."""
    return sequences * 2048 * width(model) / 4096


def saturation(world: World, settings: Settings) -> list[Cell]:
    """A7 and B9: damage at one amount minus that at another, both matched in tokens a column to a 7B model."""
    return gather(_steps(world, settings, 1.0))


def still_better(world: World, settings: Settings) -> list[Cell]:
    """A8: how much less damage the larger amount does."""
    return gather(_steps(world, settings, 1.0))


def _steps(world: World, settings: Settings, sign: float) -> Iterator[Cell]:
    for model, panels in amounts(world):
        for method in _methods(panels, settings):
            for few, many in settings["steps"]:
                first, second = nearest(panels, matched(model, few)), nearest(panels, matched(model, many))
                apart = np.log(second.tokens / first.tokens) / np.log(many / few)
                if first is second or not 0.5 < apart < 2:
                    continue  # the sweep does not reach these amounts
                for outcome in OUTCOMES:
                    try:
                        table, sources = stack([first, second], method, outcome)
                    except NoEvidence:
                        continue
                    evidence = Effect(_paired(sign * (table[0] - table[1])))
                    name = f"{label(model)} {method} {first.amount} to {second.amount}"
                    margin, unit = TOLERANCE[outcome], first.view(outcome).unit
                    yield Cell(name, outcome, evidence, unit, margin, ", ".join(sources), None, shown(outcome))


def _paired(table: np.ndarray) -> Interval:
    """Mean of ``table`` ``[n_sources, n_draws]`` with the interval that draws give."""
    return group_contrast(list(table), [1 / len(table)] * len(table))


def mean_constant(world: World, settings: Settings) -> list[Cell]:
    """B8: the largest deviation of the mean at any amount of a range from that at the largest."""

    def cells() -> Iterator[Cell]:
        for model, panels in amounts(world):
            low, high = (matched(model, n) for n in settings["range"])
            inside = [p for p in panels if 0.7 * low <= p.tokens <= 1.4 * high]
            if len(inside) < 3:
                continue
            for method in _methods(inside, settings):
                for outcome in OUTCOMES:
                    try:
                        table, _ = stack(inside, method, outcome)
                    except NoEvidence:
                        continue
                    found = [_paired(held - table[-1]) for held in table[:-1]]
                    worst = max(range(len(found)), key=lambda k: abs(found[k].estimate) + found[k].error)
                    name = f"{label(model)} {method} {inside[worst].amount} minus {inside[-1].amount}"
                    unit, margin = inside[0].view(outcome).unit, TOLERANCE[outcome]
                    yield Cell(name, outcome, Effect(found[worst]), unit, margin, "", None, shown(outcome))

    return gather(cells())


def spread_law(world: World, settings: Settings) -> list[Cell]:
    """A9: slope of log SD over draws on log amount, net of a constant; -.5 is the sampling law."""

    def cells() -> Iterator[Cell]:
        for model, panels in amounts(world, 4):
            logs = np.log([panel.tokens for panel in panels])
            weights = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
            for method in _methods(panels, settings):
                for outcome in OUTCOMES:
                    try:
                        table, _ = stack(panels, method, outcome)
                    except NoEvidence:
                        continue
                    if not table.var(axis=2).all():
                        continue

                    def slope(held: np.ndarray, weights: np.ndarray = weights) -> float:
                        sds = np.log(held.var(axis=2, ddof=1).mean(axis=1)) / 2
                        return -float((weights * sds).sum())

                    evidence = resampled(table, slope, generator("A9", model, method, outcome))
                    law = settings["laws"]
                    inside = [name for name, value in law.items() if evidence.low <= value <= evidence.high]
                    detail = f"{len(panels)} amounts; within the interval: {', '.join(inside) or 'no law'}"
                    name = f"{label(model)} {method}"
                    yield Cell(name, outcome, evidence, "-d log SD / d log n", 0.0, detail, None, shown(outcome))

    return gather(cells())


def gap_by_sparsity(world: World, settings: Settings) -> list[Cell]:
    """B5: slope of the SD between sources on sparsity; and of that SD as a share of the damage."""

    def cells() -> Iterator[Cell]:
        for panel in world.panels:
            for algorithm in settings["algorithms"]:
                methods = sorted(m for m in panel.methods if _unstructured(m, algorithm))
                sources = panel.sources(methods)
                if len(methods) < 4 or len(sources) < 3 or not ordinary(panel.case):
                    continue
                levels = np.array([float(m.rpartition("-")[2]) for m in methods])
                weights = (levels - levels.mean()) / ((levels - levels.mean()) ** 2).sum()
                for outcome in OUTCOMES:
                    try:
                        table = panel.view(outcome).table(methods, sources)
                    except NoEvidence:
                        continue
                    for share in (False, True):
                        rng = generator("B5", panel.name, algorithm, outcome, share)
                        evidence = resampled(table, lambda t, w=weights, s=share: _slope(t, w, s), rng)
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
                if not set(order) <= set(panel.methods) or len(panel.sources(order)) < 3:
                    continue
                for outcome in OUTCOMES:
                    try:
                        table = panel.view(outcome).table(order, panel.sources(order))
                    except NoEvidence:
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
                for method in _methods(panels, settings):
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
    return _paired(table[int(means.argmax())] - table[int(means.argmin())])


def _differing(world: World, axis: str) -> Iterator[list[Panel]]:
    """Panels of one model with equal tokens that differ in one setting of the draw."""
    groups: dict[str, list[Panel]] = {}
    for panel in world.panels:
        draw = {k: v for k, v in panel.case["draw"].items() if k not in ("source", "seed", axis)}
        if axis == "sequence_length":
            draw["n_sequences"] = panel.tokens
        key = repr((panel.model, draw, panel.case["evaluation"], panel.case["propagation"], panel.case["batch_size"]))
        groups.setdefault(key, []).append(panel)
    for panels in groups.values():
        if len({panel.case["draw"][axis] for panel in panels}) > 1:
            yield sorted(panels, key=lambda panel: str(panel.case["draw"][axis]))


def size(world: World, settings: Settings) -> list[Cell]:
    """A6: slope of log(SD of draws / damage) on log parameters; negative is "larger is more robust"."""

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
                        row = (np.log(width(model)) * 2, float(np.log(sd / view.damage(method, sources))))
                        points.setdefault((method, outcome), []).append(row)
        for (method, outcome), rows in points.items():
            x, y = np.array(rows).T
            if len(set(x)) < 4 or len(rows) < 8:
                continue
            yield Cell(f"{method}, {len(rows)} models of {len(set(x))} sizes", outcome, _line(x, y), "d log / d log")

    return gather(cells())


def _line(x: np.ndarray, y: np.ndarray) -> Effect:
    """Least squares; positive: larger models spread more for their damage."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    rest = y - y.mean() - slope * centred
    df = len(x) - 2
    error = float(np.sqrt((rest**2).sum() / df / (centred**2).sum()))
    return Effect(Interval.of_t(-slope, error, df))


__all__ = [
    "Bootstrap",
    "amounts",
    "gap_by_sparsity",
    "gap_by_structure",
    "mean_constant",
    "packing_and_length",
    "saturation",
    "size",
    "spread_law",
    "still_better",
]
