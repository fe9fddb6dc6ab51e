"""X3: does one temperature, fitted on other tasks' items, repair the confidence of a compressed model?

Beside the verdict: the same with the temperature fitted on items whose words are masked (masked scaling), where the
same cases were scored on such items too (profile ``confidence``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.claims.common import Settings, chosen_methods, gather
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.inputs import perturbed_twins
from benchmarks.claims.outcomes import informative
from benchmarks.claims.panels import Panel
from benchmarks.claims.world import World
from fixtures.records import Record
from reports.choice_confidence import across_tasks, at_temperature, fit_temperature
from reports.statistics.group_contrast import group_contrast

GAIN = 0.5  # points of ECE, as in C6
FIXED = "mask0.3"


def one_temperature(world: World, settings: Settings) -> list[Cell]:
    """ECE before minus after, points, mean over the informative tasks; draws nested in sources. Beside it, masked
    scaling: ECE after temperature scaling minus after it was fitted on masked items.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
            for method in chosen_methods(panel, settings) if len(_tasks(panel)) > 1 else ():
                yield from _repaired(panel, method)
        for panel, masked in _masked_panels(world):
            for method in panel.calibrated:
                yield from _masked_gain(panel, masked, method)

    return gather(cells())


def _tasks(panel: Panel) -> list[str]:
    """Informative tasks with a choice."""
    if panel.dense is None:
        return []
    return [t for t in informative(panel.dense) if len(panel.dense.tasks[t].probabilities[0]) > 1]


def _groups(panel: Panel, method: str, of: Callable[[int, str, Record], float]) -> list[np.ndarray]:
    """``of(seed, source, record)`` of every draw, by source; empty if a source has one draw alone."""
    groups = [
        np.array([of(seed, source, record) for seed, record in sorted(panel.cells[method, source].items())])
        for source in panel.sources([method])
    ]
    return groups if groups and min(map(len, groups)) >= 2 else []


def _mean(groups: list[np.ndarray]) -> Effect:
    return Effect(group_contrast(groups, [1 / len(groups)] * len(groups)))


def _repaired(panel: Panel, method: str) -> Iterator[Cell]:
    tasks, found = _tasks(panel), []

    def gain(seed: int, source: str, record: Record) -> float:
        found.append(_gain(record, tasks))
        return found[-1][0]

    if groups := _groups(panel, method, gain):
        _, warm, brier = (np.array(column) for column in zip(*found, strict=True))
        detail = f"T {warm.min():.2f} to {warm.max():.2f}; Brier score lower by {brier.mean():.3f}"
        yield Cell(f"{panel.name} {method}", "", _mean(groups), "points of ECE", 0.0, detail)


def _gain(record: Record, tasks: list[str]) -> tuple[float, float, float]:
    """(points of ECE gained, mean temperature, Brier score gained), means over the tasks."""
    after = across_tasks(record, tasks)
    before = {task: at_temperature(record.tasks[task], 1.0) for task in tasks}
    ece, brier = (float(np.mean([before[t][name] - after[t][name] for t in tasks])) for name in ("ece", "brier"))
    return 100 * ece, float(np.mean([after[t]["temperature"] for t in tasks])), brier


def _masked_panels(world: World) -> Iterator[tuple[Panel, dict[str, Panel]]]:
    """(panel, the same scored on masked items by how they are masked)."""
    found: dict[int, tuple[Panel, dict[str, Panel]]] = {}
    for plain, other in perturbed_twins(world):
        inputs = other.case["evaluation"]["inputs"]
        if inputs.startswith("mask") and len(_tasks(plain)) > 1:
            found.setdefault(id(plain), (plain, {}))[1][inputs] = other
    yield from found.values()


def _masked_gain(panel: Panel, masked: Mapping[str, Panel], method: str) -> Iterator[Cell]:
    """Temperature scaling minus masked scaling: the ratio fixed, and chosen on the items that it is fitted on."""
    tasks = _tasks(panel)
    every = {how: other.cells for how, other in masked.items()}

    def twins(seed: int, source: str) -> dict[str, Record]:
        held = {how: cells.get((method, source), {}).get(seed) for how, cells in every.items()}
        return {how: record for how, record in held.items() if record is not None}

    def fixed(seed: int, source: str, record: Record) -> float:
        other = twins(seed, source).get(FIXED)
        return np.nan if other is None else ece_after(record, tasks, record) - ece_after(record, tasks, other)

    def honest(seed: int, source: str, record: Record) -> float:
        return ece_after(record, tasks, record) - ece_honest(record, tasks, twins(seed, source))

    for name, of in ((FIXED, fixed), ("ratio chosen on the other tasks", honest)):
        groups = [group[np.isfinite(group)] for group in _groups(panel, method, of)]
        if groups and min(map(len, groups)) >= 2:
            label = f"{panel.name} {method} masked scaling, {name}"
            yield Cell(label, "", _mean(groups), "points of ECE", GAIN, "against plain scaling", shown_only=True)


def ece_after(record: Record, tasks: list[str], fitted_on: Record) -> float:
    """ECE in points, mean over tasks, each at the temperature of the other tasks' items of ``fitted_on``."""
    after = across_tasks(record, tasks, fitted_on)
    return 100 * float(np.mean([after[task]["ece"] for task in tasks]))


def ece_honest(record: Record, tasks: list[str], masked: Mapping[str, Record]) -> float:
    """The same where each task's temperature is that of the mask (or none) with the least ECE on the other tasks."""
    found = []
    for task in tasks:
        others = [other for other in tasks if other != task]
        tried = [fit_temperature(source, others) for source in (record, *masked.values())]
        errors = [np.mean([at_temperature(record.tasks[o], t)["ece"] for o in others]) for t in tried]
        found.append(at_temperature(record.tasks[task], tried[int(np.argmin(errors))])["ece"])
    return 100 * float(np.mean(found))
