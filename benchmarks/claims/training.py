"""Family B on models whose training text is known: is calibration text better that is like it? (B10, B11, B13, A15)"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from benchmarks.claims import rules
from benchmarks.claims.common import SHARE, Settings, gather, shown, source_component, views
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.sourcewise import far
from benchmarks.claims.world import World, training_sources
from reports.statistics import Interval
from reports.statistics.group_contrast import group_contrast
from reports.statistics.heterogeneity import heterogeneity


def training_text(world: World, settings: Settings) -> list[Cell]:
    """B10 and B11: how much less damage the training text does as calibration text, in nats and by method.

    In the same regression stand model x evaluation domain, calibration source, and "calibration = evaluation domain".
    Only domains outside the training text of the model are evaluated. One coefficient a training seed; the interval is
    over training seeds, since the trained model is the unit.
    """

    def cells() -> Iterator[Cell]:
        panels = _trained(world)
        for method in sorted({m for held in panels.values() for p in held for m in p.calibrated}):
            if method not in settings.get("methods", [method]):
                continue
            coefficients, own = [], []
            for held in panels.values():
                found = _coefficients([panel for panel in held if method in panel.methods], method)
                if found is not None:
                    coefficients.append(-found[0])
                    own.append(-found[1])
            if len(coefficients) >= 3:
                evidence = Effect(_over_seeds(coefficients))
                similar = _over_seeds(own)
                detail = f"being the evaluation domain: {similar.estimate:.3g} [{similar.low:.3g}, {similar.high:.3g}]"
                damage = float(
                    np.mean([p.view("nll").damage(method) for h in panels.values() for p in h if method in p.methods])
                )
                name = f"{method}, {len(coefficients)} training seeds"
                yield Cell(name, "nll", evidence, "nats a token", SHARE * damage, detail, damage)

    found = gather(cells())
    p = heterogeneity([cell.evidence.interval for cell in found if isinstance(cell.evidence, Effect)])
    return [replace(cell, detail=f"{cell.detail}; cells differ: p = {p:.2g} (Cochran's Q)") for cell in found]


def _trained(world: World) -> dict[str, list[Panel]]:
    """Panels of known-corpus models of one shape by training seed, where the seeds trained on different text."""
    found: dict[str, list[Panel]] = defaultdict(list)
    for panel in world.some("^known-corpus-1m", least=2):
        if training_sources(panel.model) and not any(word in panel.model for word in ("neox", "opt", "languages")):
            found[panel.model.partition("@")[2] or "0"].append(panel)
    return {seed: held for seed, held in found.items() if len({training_sources(p.model) for p in held}) >= 2}


def _coefficients(panels: list[Panel], method: str) -> tuple[float, float] | None:
    """(calibration = training text, calibration = evaluation domain) by least squares; None if not identified."""
    rows, values = [], []
    for panel in panels:
        trained = set(training_sources(panel.model))
        assert panel.dense is not None
        for domain in sorted(set(panel.dense.nll) - trained - far(panel)):
            view = panel.view(f"domain:{domain}")
            for source in panel.real([method]):
                rows.append((f"{panel.model} {domain}", source, float(source in trained), float(source == domain)))
                values.append(float(view.means(method, source).mean()))
    if len({row[1] for row in rows}) < 3 or len({row[2] for row in rows}) < 2:
        return None
    blocks, sources = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    design = np.zeros((len(rows), len(blocks) + len(sources) - 1 + 2))
    for k, (block, source, same, own) in enumerate(rows):
        design[k, blocks.index(block)] = 1
        if sources.index(source):
            design[k, len(blocks) + sources.index(source) - 1] = 1
        design[k, -2:] = same, own
    solution, _, rank, _ = np.linalg.lstsq(design, np.array(values), rcond=None)
    if rank < design.shape[1]:
        return None
    return float(solution[-2]), float(solution[-1])


def _over_seeds(values: list[float]) -> Interval:
    array = np.array(values)
    return Interval.of_t(float(array.mean()), float(array.std(ddof=1) / len(array) ** 0.5), len(array) - 1)


def winner_flips(world: World, settings: Settings) -> list[Cell]:
    """B13 (a): damage of web minus encyclopedia calibration on encyclopedia-trained models, minus the same on
    web-trained ones, by training seed; positive: each does better where it was the training text.
    """

    def cells() -> Iterator[Cell]:
        first, second = settings["pair"]
        panels = _trained(world)
        for method in sorted({m for held in panels.values() for p in held for m in p.calibrated}):
            values = []
            for held in panels.values():
                by_text = {training_sources(p.model): p for p in held if method in p.methods}
                if (first,) in by_text and (second,) in by_text:
                    gaps = [_gap(by_text[(text,)], method, second, first) for text in (first, second)]
                    values.append(gaps[0] - gaps[1])
            if len(values) >= 3:
                name = f"{method}, {len(values)} training seeds"
                yield Cell(name, "nll", Effect(_over_seeds(values)), "nats a token", detail=_labels(world, settings))

    return gather(cells())


def _labels(world: World, settings: Settings) -> str:
    """(b) of B13: pages of one crawl that people judged bad minus those judged good; equal within 2 % of the damage?"""
    bad, good = settings["labels"]
    found = []
    for panel in world.all():
        for method in panel.calibrated:
            if not {bad, good} <= set(panel.sources([method])):
                continue
            for outcome in ("nll", "bpb"):
                try:
                    view = panel.view(outcome)
                except NoEvidence:
                    continue
                effect = Effect(group_contrast([view.means(method, bad), view.means(method, good)], [1, -1]))
                verdict = rules.no_effect(effect, SHARE * max(0.0, view.damage(method, [bad, good])))
                words = f"{effect.estimate:.2g} [{effect.low:.2g}, {effect.high:.2g}] {view.unit} ({verdict})"
                found.append(f"{panel.name} {method} {words}")
    return "; ".join(["quality labels, bad minus good, E(2 % of the damage)", *(found or ["no records"])])


def _gap(panel: Panel, method: str, worse: str, better: str) -> float:
    view = panel.view("nll")
    return float(view.means(method, worse).mean() - view.means(method, better).mean())


def families(world: World, settings: Settings) -> list[Cell]:
    """A15: the SD between sources as a share of the damage, in every architecture; whether the shares differ by more
    than their errors (of log SDs: half the F ratio's spread) stands beside it.
    """

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, ("nll", "bpb")):
            for method in settings["methods"]:
                if method not in view.panel.methods or len(view.panel.real([method])) < 3:
                    continue
                evidence = source_component(view, method, view.panel.real([method]))
                damage = view.damage(method)
                name = f"{view.panel.name} {method}"
                yield Cell(name, view.outcome, evidence, view.unit, SHARE * max(0.0, damage), "", damage)

    found = gather(cells())
    if len({cell.name.split(" ")[0] for cell in found}) < settings["least"]:
        raise NoEvidence(f"{settings['least']} architectures are needed")
    p = heterogeneity([share for share in map(_log_share, found) if share is not None])
    return [replace(cell, detail=f"shares of the damage differ between cells: p = {p:.2g}") for cell in found]


def _log_share(cell: Cell) -> Interval | None:
    """Log of the component's share of the damage, with the error that its interval has on that scale."""
    found = cell.evidence
    if not cell.damage or cell.damage <= 0 or found.low <= 0 or cell.shown_only:
        return None
    return Interval.of_t(math.log(found.estimate / cell.damage), math.log(found.high / found.low) / 3.92, 30)


__all__ = ["families", "shown", "training_text", "winner_flips"]
