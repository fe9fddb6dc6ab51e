"""X3: does one temperature, fitted on other tasks' items, repair the confidence of a compressed model?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.claims.common import Settings, chosen_methods, gather
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.outcomes import informative
from benchmarks.claims.world import World
from fixtures.records import Record
from reports.choice_confidence import across_tasks, at_temperature
from reports.statistics.group_contrast import group_contrast


def one_temperature(world: World, settings: Settings) -> list[Cell]:
    """ECE before minus after, points, mean over the informative tasks; draws nested in sources."""

    def cells() -> Iterator[Cell]:
        for panel in world.some(settings.get("models", "")):
            if panel.dense is None:
                continue
            tasks = [t for t in informative(panel.dense) if len(panel.dense.tasks[t].probabilities[0]) > 1]
            if len(tasks) < 2:
                continue
            for method in chosen_methods(panel, settings):
                groups, warm, squares = [], [], []
                for source in panel.sources([method]):
                    found = [_gain(record, tasks) for _, record in sorted(panel.cells[method, source].items())]
                    groups.append(np.array([gain for gain, _, _ in found]))
                    warm += [t for _, t, _ in found]
                    squares += [brier for _, _, brier in found]
                if groups and min(map(len, groups)) >= 2:
                    evidence = Effect(group_contrast(groups, [1 / len(groups)] * len(groups)))
                    detail = f"T {min(warm):.2f} to {max(warm):.2f}; Brier score lower by {np.mean(squares):.3f}"
                    yield Cell(f"{panel.name} {method}", "", evidence, "points of ECE", 0.0, detail)

    return gather(cells())


def _gain(record: Record, tasks: list[str]) -> tuple[float, float, float]:
    """(points of ECE gained, mean temperature, Brier score gained), means over the tasks."""
    after = across_tasks(record, tasks)
    before = {task: at_temperature(record.tasks[task], 1.0) for task in tasks}
    ece, brier = (float(np.mean([before[t][name] - after[t][name] for t in tasks])) for name in ("ece", "brier"))
    return 100 * ece, float(np.mean([after[t]["temperature"] for t in tasks])), brier
