"""B23 to B25: reconstruction error of the final block on calibration text and on held-out text (arXiv 2406.15524)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from benchmarks.claims.amounts import amounts, fullest, left_out, swept
from benchmarks.claims.common import Settings, gather
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.panels import Panel
from benchmarks.claims.world import World
from fixtures.records import Record, label
from reports.statistics.group_contrast import group_contrast


def final(record: Record) -> dict[str, dict[str, float]] | None:
    """``pruned`` and ``reconstructed`` mean squared error of the last block, by ``calibration`` and ``held_out``."""
    blocks = (record.compression.get("details") or {}).get("reconstruction") or []
    return blocks[-1] if blocks and "reconstructed" in blocks[-1] else None


def _errors(panel: Panel, method: str, text: str, stage: str = "reconstructed") -> dict[str, dict[int, float]] | None:
    """Log error by source and seed; None if a record lacks it."""
    found: dict[str, dict[int, float]] = {}
    for source in panel.sources([method]):
        entries = {seed: final(record) for seed, record in panel.cells[method, source].items()}
        values = {seed: entry[stage].get(text) if entry else None for seed, entry in entries.items()}
        if not all(values.values()):
            return None
        found[source] = {seed: math.log(value) for seed, value in values.items() if value}
    return found or None


def _change(panel: Panel, after: str, before: str, text: str, stage: str = "reconstructed") -> Effect | None:
    """Mean of log(error with / error without), of the draws that both have: the longer one may have been run on few."""
    first, second = _errors(panel, after, text), _errors(panel, before, text, stage)
    if first is None or second is None:
        return None
    shared = {source: sorted(held.keys() & second.get(source, {}).keys()) for source, held in first.items()}
    paired = [
        np.array([first[source][seed] - second[source][seed] for seed in seeds])
        for source, seeds in shared.items()
        if len(seeds) >= 2
    ]
    return Effect(group_contrast(paired, [1 / len(paired)] * len(paired))) if paired else None


def overfit(world: World, settings: Settings) -> list[Cell]:
    """B23: log of the held-out error with the last technique over that without; positive: it overfits."""

    def cells() -> Iterator[Cell]:
        for panel in world.all():
            for after in panel.calibrated:
                before = after.rpartition("+")[0]
                if after.endswith(settings["suffix"]) and before in panel.methods:
                    test = _change(panel, after, before, "held_out")
                    train = _change(panel, after, before, "calibration")
                    if test is not None and train is not None:
                        detail = (
                            f"calibration error: log ratio {train.estimate:.3g} [{train.low:.3g}, {train.high:.3g}]"
                        )
                        name = f"{panel.name} {after} over {before}"
                        yield Cell(name, "", test, "log ratio of held-out errors", 0.0, detail)

    return gather(cells())


def reductions(world: World, settings: Settings) -> list[Cell]:
    """B24: how much each technique lowers the calibration error of what stood before it, minus the published bound."""

    def cells() -> Iterator[Cell]:
        for panel in world.all():
            for after in panel.calibrated:
                before, plus, technique = after.rpartition("+")
                bound = settings["bounds"].get(technique) if plus else None
                if bound is None:
                    continue
                stage = "pruned" if "+" not in before else "reconstructed"
                change = _change(panel, after, after if stage == "pruned" else before, "calibration", stage)
                if change is not None:
                    limit = -float(np.log(1 - bound))  # a reduction by half is a log ratio of .69
                    name = f"{panel.name} {after}"
                    detail = f"reduction {1 - np.exp(change.estimate):.0%}, bound {bound:.0%}"
                    yield Cell(name, "", _negated(change), "log of error before over error after", limit, detail)

    return gather(cells())


def more_of_it(world: World, settings: Settings) -> list[Cell]:
    """B25: slope of the log held-out error on log n, sign turned, where amounts are prefixes of the same draws."""

    def cells() -> Iterator[Cell]:
        for model, every in amounts(world):
            for method, panels in swept(every, settings):
                for source in panels[0].sources([method]):
                    reached = [p for p in panels if (method, source) in p.cells]
                    held = fullest(reached, method, 3, source=source)
                    errors = _by_amount(held, method, source)
                    if not re.match(settings["sources"], source) or errors is None or errors.shape[1] < 3:
                        continue
                    x = np.log([panel.tokens for panel in held])
                    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
                    evidence = Effect(group_contrast([-(weights[:, None] * errors).sum(axis=0)], [1.0]))
                    name = f"{label(model)} {method} {source}, {held[0].amount} to {held[-1].amount}"
                    detail = left_out(reached, held, method)
                    yield Cell(name, "", evidence, "-d log error / d log n", detail=detail)

    return gather(cells())


def _by_amount(panels: list[Panel], method: str, source: str) -> np.ndarray | None:
    """Log held-out errors ``[n_panels, n_draws]`` of the draws that every panel has; None below three panels."""
    if len(panels) < 3:
        return None
    draws = sorted(set.intersection(*(set(panel.cells[method, source]) for panel in panels)))
    entries = [[final(panel.cells[method, source][seed]) for seed in draws] for panel in panels]
    values = [[(entry or {}).get("reconstructed", {}).get("held_out") for entry in row] for row in entries]
    return np.log(np.array(values, float)) if draws and all(value for row in values for value in row) else None


def _negated(effect: Effect) -> Effect:
    from reports.statistics import Interval

    held = effect.interval
    return Effect(Interval.of_t(-held.estimate, held.error, held.df, held.confidence))
