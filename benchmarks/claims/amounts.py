"""Families A and B, the amount of calibration data: does more of it help, or make results steadier?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.claims.common import Settings, enough, gather, generator, resampled, shown
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.world import World, ordinary
from fixtures.records import canonical_json, label
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
                rest = [panel.case[name] for name in ("evaluation", "batch_size", "dtype", "device")]
                key = draw["sequence_length"], draw["slices"], panel.weights, canonical_json(rest)
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


def shared_methods(panels: Sequence[Panel], settings: Settings) -> list[str]:
    shared = [m for m in panels[0].methods if is_calibrated(m) and all(m in panel.methods for panel in panels)]
    return [m for m in shared if m in settings.get("methods", shared)]


def swept(panels: Sequence[Panel], settings: Settings) -> Iterator[tuple[str, list[Panel]]]:
    """Every calibrated method that the claim names, with the panels that have it: not all need have all."""
    for method in dict.fromkeys(m for panel in panels for m in panel.methods if is_calibrated(m)):
        if method in settings.get("methods", [method]):
            yield method, [panel for panel in panels if method in panel.methods]


def fullest(
    panels: Sequence[Panel], method: str, least: int, *, largest: bool = False, source: str | None = None
) -> list[Panel]:
    """``least`` or more of them, without those that cost more results than they bring, as amounts of three draws beside
    some of ten. With ``largest`` the last stays, for rules that hold the others against it.

    What all panels share is what is compared (``stack``, or of one ``source``); which results there are decides, not
    what they are.
    """
    kept = list(panels)
    best, most = kept, _results(kept, method, source)
    while len(kept) > least:
        fewer = [kept[:k] + kept[k + 1 :] for k in range(len(kept) - largest)]
        own = [_results([panel], method, source) for panel in kept]
        k = max(range(len(fewer)), key=lambda k: (_results(fewer[k], method, source), -own[k]))
        kept = fewer[k]
        if (found := _results(kept, method, source)) > most:
            best, most = kept, found
    return best


def _results(panels: Sequence[Panel], method: str, source: str | None = None) -> int:
    """How many results of the method there are of what all panels share: none of fewer than two draws."""
    asked = panels[0].sources([method]) if source is None else [source]
    sources = [s for s in asked if all((method, s) in panel.cells for panel in panels)]
    seeds = [set(panel.cells[method, s]) for panel in panels for s in sources]
    shared = len(set.intersection(*seeds)) if seeds else 0
    return len(panels) * len(sources) * shared if shared > 1 else 0


def left_out(panels: Sequence[Panel], kept: Sequence[Panel], method: str) -> str:
    """``without 4 x 256 (2 sources x 3 draws)``, of the panels that are not kept."""
    here, gone = {id(panel) for panel in kept}, []
    for panel in panels:
        if id(panel) not in here:
            held = [len(draws) for (name, _), draws in panel.cells.items() if name == method]
            gone.append(f"{panel.amount} ({len(held)} source{'s' * (len(held) > 1)} x {max(held)} draws)")
    return f"without {', '.join(gone)}" if gone else ""


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
    """A7, A8 and B9: damage at one amount minus that at a larger, both matched in tokens a column to a 7B model."""
    return gather(_steps(world, settings))


def _steps(world: World, settings: Settings) -> Iterator[Cell]:
    for model, every in amounts(world):
        for method, panels in swept(every, settings):
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
                    evidence = Effect(paired(table[0] - table[1]))
                    name = f"{label(model)} {method} {first.amount} to {second.amount}"
                    margin, unit = TOLERANCE[outcome], first.view(outcome).unit
                    yield Cell(name, outcome, evidence, unit, margin, ", ".join(sources), None, shown(outcome))


def paired(table: np.ndarray) -> Interval:
    """Mean of ``table`` ``[n_sources, n_draws]`` with the interval that draws give."""
    return group_contrast(list(table), [1 / len(table)] * len(table))


def mean_constant(world: World, settings: Settings) -> list[Cell]:
    """B8: the largest deviation of the mean at any amount of a range from that at the largest."""

    def cells() -> Iterator[Cell]:
        for model, panels in amounts(world):
            low, high = (matched(model, n) for n in settings["range"])
            for method, held in swept(panels, settings):
                reached = [p for p in held if 0.7 * low <= p.tokens <= 1.4 * high]
                if len(reached) < 3:
                    continue
                inside = fullest(reached, method, 3, largest=True)
                for outcome in OUTCOMES:
                    try:
                        table, _ = stack(inside, method, outcome)
                    except NoEvidence:
                        continue
                    found = [paired(row - table[-1]) for row in table[:-1]]
                    worst = max(range(len(found)), key=lambda k: abs(found[k].estimate) + found[k].error)
                    name = f"{label(model)} {method} {inside[worst].amount} minus {inside[-1].amount}"
                    unit, margin = inside[0].view(outcome).unit, TOLERANCE[outcome]
                    detail = left_out(reached, inside, method)
                    yield Cell(name, outcome, Effect(found[worst]), unit, margin, detail, None, shown(outcome))

    return gather(cells())


def spread_law(world: World, settings: Settings) -> list[Cell]:
    """A9: slope of log SD over draws on log amount, net of a constant; -.5 is the sampling law."""

    def cells() -> Iterator[Cell]:
        for model, every in amounts(world, 4):
            for method, held in swept(every, settings):
                if len(held) < 4:
                    continue
                panels = fullest(held, method, 4)
                logs = np.log([panel.tokens for panel in panels])
                weights = (logs - logs.mean()) / ((logs - logs.mean()) ** 2).sum()
                for outcome in OUTCOMES:
                    try:
                        table, _ = stack(panels, method, outcome)
                    except NoEvidence:
                        continue
                    if not table.var(axis=2).all() or not enough(table):
                        continue

                    def slope(table: np.ndarray, weights: np.ndarray = weights) -> float:
                        with np.errstate(divide="ignore", invalid="ignore"):  # a draw taken every time: no sample
                            sds = np.log(table.var(axis=2, ddof=1).mean(axis=1)) / 2
                            return -float((weights * sds).sum())

                    evidence = resampled(table, slope, generator("A9", model, method, outcome))
                    law = settings["laws"]
                    inside = [name for name, value in law.items() if evidence.low <= value <= evidence.high]
                    detail = f"{len(panels)} amounts; within the interval: {', '.join(inside) or 'no law'}"
                    detail = "; ".join(filter(None, (detail, left_out(held, panels, method))))
                    name = f"{label(model)} {method}"
                    yield Cell(name, outcome, evidence, "-d log SD / d log n", 0.0, detail, None, shown(outcome))

    return gather(cells())
