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
    shown,
    views,
)
from benchmarks.claims.evidence import Cell, Effect, Rank
from benchmarks.claims.outcomes import informative
from benchmarks.claims.panels import NoEvidence, Panel, View
from benchmarks.claims.sourcewise import far
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast
from reports.statistics.rank_association import rank_association
from reports.statistics.spread_ratio import spread_ratio


def better(world: World, settings: Settings) -> list[Cell]:
    """Damage of each ``worse`` source minus that of each ``better`` one.

    ``worse`` and ``better`` are patterns of source names; a group in both (say the text that is perturbed) pairs them;
    a ``worse`` one without a group (random tokens) is paired with each.
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
            if a and b and first != second and (_key(a) == _key(b) or not _key(a)):
                found.append((first, second))
    return found


def _key(match: re.Match[str]) -> str:
    """The first group that matched anything: what both names must share (any name, if none did)."""
    return next((group for group in match.groups() if group), "")


def selection_spread(world: World, settings: Settings) -> list[Cell]:
    """A18: log of the SD of random draws over that of selected ones of the same pool; and how much less the worst
    domain loses with them. Seconds to draw and compress stand beside.
    """

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                for first, second in _pairs(view.panel.sources([method]), settings):
                    try:
                        table = view.table([method], [first, second])[0]
                        evidence = Effect(spread_ratio([table[0]], [table[1]]))
                    except ValueError:  # too few draws that both have
                        continue
                    detail = _regret_and_cost(view.panel, method, (first, second))
                    name, beside = f"{view.panel.name} {method} {second} against {first}", shown(view.outcome)
                    yield Cell(name, view.outcome, evidence, "log ratio of SDs", 0.0, detail, None, beside)
                    if view.outcome == "nll" and detail:
                        worst = [worst_domain(view.panel, method, source) for source in (first, second)]
                        lower = Effect(group_contrast(worst, [1, -1]))
                        yield Cell(f"{name}, worst domain", "nll", lower, view.unit, 0.0, detail)

    return gather(cells())


def _regret_and_cost(panel: Panel, method: str, sources: tuple[str, str]) -> str:
    """How much worse each source is than the other where it is worst of all domains, and of all informative tasks if
    there are any; and the seconds of its draws.
    """
    if panel.dense is None:
        return ""
    domains = _regrets(panel, method, sources, [f"domain:{name}" for name in sorted(set(panel.dense.nll) - far(panel))])
    if not domains:
        return ""
    tasks = _regrets(panel, method, sources, [f"bpb:{task}" for task in informative(panel.dense)])
    words = []
    for source, regret in zip(sources, domains, strict=True):
        seconds = [record.seconds.get("draw") for record in panel.cells[method, source].values()]
        known = [value for value in seconds if value is not None]
        cost = f", {max(known):.2g} s a draw" if known else ""
        words.append(f"{source} {regret:.2g} nats{cost}")
    said = "worst-domain regret: " + "; ".join(words)
    if tasks:
        pairs = (f"{source} {regret:.2g} bits a byte" for source, regret in zip(sources, tasks, strict=True))
        said += ". Worst-task regret: " + "; ".join(pairs)
    return said


def _regrets(panel: Panel, method: str, sources: tuple[str, str], outcomes: Sequence[str]) -> list[float]:
    """Of each source, the most that it is worse than the best of them on any of the outcomes; none without records."""
    try:
        seen = [panel.view(outcome) for outcome in outcomes]
        means = np.array([[view.means(method, source).mean() for view in seen] for source in sources])
    except NoEvidence:
        return []
    return [float(value) for value in (means - means.min(axis=0)).max(axis=1)] if seen else []


def worst_domain(panel: Panel, method: str, source: str) -> np.ndarray:
    """Of every draw, the damage on the domain that loses most; domains that the dense model does not model are out."""
    assert panel.dense is not None
    domains = sorted(set(panel.dense.nll) - far(panel))
    return np.max([panel.view(f"domain:{domain}").means(method, source) for domain in domains], axis=0)


def similarity_order(world: World, settings: Settings) -> list[Cell]:
    """B14: rank correlation of a similarity measure of the calibration text with how little damage it does."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, everywhere=True):
            for method in chosen_methods(view.panel, settings):
                for measure, values in similarities(view, method, settings.get("leave_out", "")).items():
                    if measure in settings["measures"] and len(values) >= 5:
                        x = [values[source] for source in values]
                        y = [-view.means(method, source).mean() for source in values]
                        if len(set(x)) == 1:  # as LSH's, which finds no pair at all: it orders nothing
                            continue
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
                held = similarities(view, method, settings.get("leave_out", ""))
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


def similarities(view: View, method: str, leave_out: str = "") -> dict[str, dict[str, float]]:
    """measure -> source -> mean over the draws of what the record says of the draw's similarity.

    ``leave_out`` is a pattern: sources in whose names it is found do not count.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for source in view.panel.sources([method]):
        if leave_out and re.search(leave_out, source):
            continue
        for record in view.panel.cells[method, source].values():
            for measure, value in (record.draw.get("similarity") or {}).items():
                if isinstance(value, int | float):
                    found.setdefault(measure, {}).setdefault(source, []).append(float(value))
    return {m: {s: float(np.mean(v)) for s, v in held.items()} for m, held in found.items()}


__all__ = ["NoEvidence", "best_measure", "better", "closer", "selection_spread", "similarity_order"]
