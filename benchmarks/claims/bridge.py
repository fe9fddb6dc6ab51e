"""Family X: does calibration data change whether the compressed model's confidence is right?

Confidence is the largest choice probability of an item; tasks are the informative ones with a choice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.claims.common import Settings, chosen_methods, gather
from benchmarks.claims.evidence import Agreement, Cell, Component, Effect
from benchmarks.claims.outcomes import informative
from benchmarks.claims.panels import Panel
from benchmarks.claims.world import World
from fixtures.records import Record
from reports.groups import chosen
from reports.statistics import expected_calibration_error
from reports.statistics.concordance import concordance
from reports.statistics.group_contrast import group_contrast
from reports.statistics.one_way import one_way

_MEASURED: dict[tuple[int, tuple[str, ...]], tuple[Record, dict[str, float]]] = {}  # holding a record keeps its id


def measures(record: Record, tasks: list[str]) -> dict[str, float]:
    """ECE (15 bins, mean over tasks, points), Brier score and NLL (nats) of the choice probabilities, accuracy."""
    key = id(record), tuple(tasks)
    if key not in _MEASURED:
        _MEASURED[key] = record, _measure(record, tasks)
    return _MEASURED[key][1]


def _measure(record: Record, tasks: list[str]) -> dict[str, float]:
    rows = []
    for task in tasks:
        scores = record.tasks[task]
        probabilities = [np.asarray(row) for row in scores.probabilities]
        confidence = np.array([row.max() for row in probabilities])
        right = np.array([row[t] for row, t in zip(probabilities, scores.target, strict=True)])
        squares = np.array([(row**2).sum() for row in probabilities])
        correct = np.asarray(chosen(scores), float)
        rows.append(
            (
                100 * expected_calibration_error(confidence, correct, 15),
                float((squares - 2 * right + 1).mean()),
                float(-np.log(np.maximum(right, 1e-12)).mean()),
                100 * float(correct.mean()),
            )
        )
    return dict(zip(("ece", "brier", "nll", "accuracy"), np.mean(rows, axis=0).tolist(), strict=True))


def _tables(world: World, settings: Settings) -> Iterator[tuple[Panel, list[str], str, list[str]]]:
    for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
        if panel.dense is None:
            continue
        tasks = [t for t in informative(panel.dense) if len(panel.dense.tasks[t].probabilities[0]) > 1]
        if not tasks:
            continue
        for method in chosen_methods(panel, settings):
            yield panel, tasks, method, panel.real([method])


def _values(panel: Panel, tasks: list[str], method: str, sources: list[str], name: str) -> list[np.ndarray]:
    held = [panel.cells[method, s] for s in sources]
    return [np.array([measures(draws[seed], tasks)[name] for seed in sorted(draws)]) for draws in held]


def source_changes_confidence(world: World, settings: Settings) -> list[Cell]:
    """X1: SD of ECE between sources, what accuracy explains taken out by regression over draws."""

    def cells() -> Iterator[Cell]:
        for panel, tasks, method, sources in _tables(world, settings):
            if len(sources) < 3:
                continue
            ece = _values(panel, tasks, method, sources, "ece")
            accuracy = _values(panel, tasks, method, sources, "accuracy")
            slope = _within_slope(accuracy, ece)
            grand = np.concatenate(accuracy).mean()
            found = one_way([e - slope * (a - grand) for e, a in zip(ece, accuracy, strict=True)])
            evidence = Component(found.between, found.low, found.high, found.p, found.detectable, found.p_below)
            detail = ", ".join(f"{s} {e.mean():.2f}" for s, e in zip(sources, ece, strict=True))
            yield Cell(f"{panel.name} {method}", "", evidence, "points of ECE", 0.0, detail)

    return gather(cells())


def _within_slope(x: list[np.ndarray], y: list[np.ndarray]) -> float:
    a = np.concatenate([group - group.mean() for group in x])
    b = np.concatenate([group - group.mean() for group in y])
    return float((a * b).sum() / (a**2).sum()) if (a**2).sum() > 0 else 0.0


def compression_costs_calibration(world: World, settings: Settings) -> list[Cell]:
    """X2: ECE and Brier score, compressed minus dense, mean over sources; both must rise. Beside them where the
    probability of the right choice falls: its change by that of the dense model.
    """

    def cells() -> Iterator[Cell]:
        for panel, tasks, method, sources in _tables(world, settings):
            assert panel.dense is not None
            dense = measures(panel.dense, tasks)
            for name, unit in (("ece", "points of ECE"), ("brier", "Brier score")):
                groups = [values - dense[name] for values in _values(panel, tasks, method, sources, name)]
                if min(map(len, groups)) >= 2:
                    evidence = Effect(group_contrast(groups, [1 / len(groups)] * len(groups)))
                    yield Cell(f"{panel.name} {method} {name}", "", evidence, unit, 0.0, f"dense {dense[name]:.3g}")
            held = [panel.cells[method, source] for source in sources]
            slopes = [np.array([_change_by_dense(r, panel.dense, tasks) for r in draws.values()]) for draws in held]
            if min(map(len, slopes)) >= 2 and np.isfinite(np.concatenate(slopes)).all():
                evidence = Effect(group_contrast(slopes, [1 / len(slopes)] * len(slopes)))
                detail = "above 0: falls most where it was low"
                name = f"{panel.name} {method} change by dense probability"
                yield Cell(name, "", evidence, "slope", 0.0, detail, shown_only=True)

    return gather(cells())


def _change_by_dense(record: Record, dense: Record, tasks: list[str]) -> float:
    """Slope, mean over tasks, of the change of the right choice's probability on what it was; NaN for other items."""
    slopes = []
    for task in tasks:
        now, before = record.tasks[task], dense.tasks[task]
        if now.document_hash != before.document_hash or len(now.target) != len(before.target):
            return np.nan
        p, q = (np.array([r[t] for r, t in zip(s.probabilities, s.target, strict=True)]) for s in (now, before))
        slopes.append(float(np.polyfit(q, p - q, 1)[0]))
    return float(np.mean(slopes))


def best_for_both(world: World, settings: Settings) -> list[Cell]:
    """X4: Kendall's W of accuracy lost and ECE over sources, all methods together as judges."""

    def cells() -> Iterator[Cell]:
        for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
            held = [entry for entry in _tables(world, settings) if entry[0] is panel]
            if not held:
                continue
            shared = [s for s in held[0][3] if all(s in entry[3] for entry in held)]
            if len(shared) < 3:
                continue
            rows = []
            for _, tasks, method, _ in held:
                lost = [-values for values in _values(panel, tasks, method, shared, "accuracy")]
                rows += [lost, _values(panel, tasks, method, shared, "ece")]
            draws = min(len(values) for row in rows for values in row)
            if draws < 2:
                continue
            table = np.array([[values[:draws] for values in row] for row in rows])
            found = concordance(table, np.random.default_rng(20231))
            won = ", ".join(shared[k] for k in found.winners)
            yield Cell(panel.name, "", Agreement(found), "Kendall's W", 0.0, f"best by judge: {won}")

    return gather(cells())
