"""Families A and B, the sources: do they matter, more than the method, alike for all methods, and for which text?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.claims.common import (
    SHARE,
    Settings,
    chosen_methods,
    gather,
    generator,
    shown,
    source_component,
    views,
)
from benchmarks.claims.evidence import Agreement, Cell, Component, Effect
from benchmarks.claims.outcomes import informative
from benchmarks.claims.panels import NoEvidence, Panel
from benchmarks.claims.world import World
from reports.statistics import Interval, source_range
from reports.statistics.concordance import concordance
from reports.statistics.group_contrast import group_contrast
from reports.statistics.one_way import detectable_component
from reports.statistics.variance_component import p_below, tukey_williams


def component(world: World, settings: Settings) -> list[Cell]:
    """B1: SD between sources, by method; the gap stands beside it with what draws alone would make."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, ("nll", "bpb", "acc_inf", "acc9")):
            for method in chosen_methods(view.panel, settings):
                sources = view.panel.real([method])
                if len(sources) < 3:
                    continue
                rng = generator("B1", view.panel.name, method, view.outcome)
                gap = source_range([view.means(method, s) for s in sources], rng)
                means = {s: view.means(method, s).mean() for s in sources}
                ends = f"{min(means, key=means.__getitem__)} to {max(means, key=means.__getitem__)}"
                detail = f"gap {gap.gap:.3g} ({ends}), draws alone {gap.expected:.3g}, 95th percentile {gap.high:.3g}"
                damage = view.damage(method)
                evidence = source_component(view, method, sources)
                beside = view.outcome in ("acc9", "acc_inf")
                name = f"{view.panel.name} {method}"
                yield Cell(name, view.outcome, evidence, view.unit, SHARE * max(0.0, damage), detail, damage, beside)

    return gather(cells())


def same_ranking(world: World, settings: Settings) -> list[Cell]:
    """A4 and B12: Kendall's W of methods over sources."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings)
            sources = view.panel.real(methods)
            if len(methods) >= 3 and len(sources) >= 3:
                table = view.table(methods, sources)
                yield _agreement(view.panel.name, view.outcome, table, sources, methods)
        if settings.get("tasks"):
            for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
                yield from _over_tasks(panel, settings)

    return gather(cells())


def _agreement(name: str, outcome: str, table: np.ndarray, sources: Sequence[str], judges: Sequence[str]) -> Cell:
    found = concordance(table, generator("W", name, outcome))
    won = ", ".join(f"{judge}: {sources[k]}" for judge, k in zip(judges, found.winners, strict=True))
    order = " < ".join(np.asarray(sources)[table.mean(axis=(0, 2)).argsort()])
    return Cell(
        name, outcome, Agreement(found), "Kendall's W", 0.0, f"{order}; best by judge: {won}", None, shown(outcome)
    )


def _over_tasks(panel: Panel, settings: Settings) -> Iterator[Cell]:
    if panel.dense is None:
        return
    tasks = informative(panel.dense)
    methods = chosen_methods(panel, settings)
    sources = panel.real(methods)
    if len(tasks) < 3 or len(sources) < 3:
        return
    try:
        tables = [panel.view(f"bpb:{task}").table(methods, sources) for task in tasks]
    except NoEvidence:
        return
    table = np.stack([held.mean(axis=0) for held in tables])
    yield _agreement(f"{panel.name}, over tasks", "bpb", table, sources, tasks)


def interaction_of(table: np.ndarray) -> Component:
    """SD of a source x column interaction; ``table`` ``[n_columns, n_sources, n_draws]``, draws nested in sources.

    Every column saw the same draws, so the error is draws-within-source x column.
    """
    from scipy.stats import f

    columns, sources, draws = table.shape
    cell = table.mean(axis=2)
    fitted = cell - cell.mean(axis=0) - cell.mean(axis=1, keepdims=True) + cell.mean()
    df, df_error = (columns - 1) * (sources - 1), (columns - 1) * sources * (draws - 1)
    crossed = draws * float((fitted**2).sum()) / df
    inside = table - table.mean(axis=2, keepdims=True)
    inside = inside - inside.mean(axis=0)
    error = float((inside**2).sum()) / df_error
    low, high, p = tukey_williams(crossed, error, df, df_error, 0.95)
    p = float(f.sf(crossed / error, df, df_error)) if error > 0 else p
    reach = detectable_component(error, df, df_error, draws)
    sd = max(0.0, crossed - error) / draws
    below = partial(p_below, draws=crossed, residual=error, df=df, df_residual=df_error, size=draws)
    return Component(sd**0.5, (low / draws) ** 0.5, (high / draws) ** 0.5, p, reach, below)


def methods_differ(world: World, settings: Settings) -> list[Cell]:
    """B4: source x method interaction, as it is and of each method's share of its own damage."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings)
            sources = view.panel.real(methods)
            if len(methods) < 2 or len(sources) < 3:
                continue
            table = view.table(methods, sources)
            name = f"{view.panel.name}, {len(methods)} methods x {len(sources)} sources"
            beside = shown(view.outcome)
            yield Cell(name, view.outcome, interaction_of(table), view.unit, shown_only=beside)
            share = table / table.mean(axis=(1, 2), keepdims=True)
            yield Cell(
                f"{name}, as shares", view.outcome, interaction_of(share), "share of the damage", shown_only=beside
            )

    return gather(cells())


def tasks_differ(world: World, settings: Settings) -> list[Cell]:
    """A12: source x task interaction of bits a byte on informative tasks, every task as a share of its damage."""

    def cells() -> Iterator[Cell]:
        for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
            if panel.dense is None or len(informative(panel.dense)) < 2:
                continue
            tasks = informative(panel.dense)
            try:
                seen = [panel.view(f"bpb:{task}") for task in tasks]
            except NoEvidence:
                continue
            for method in chosen_methods(panel, settings):
                sources = panel.real([method])
                if len(sources) < 3:
                    continue
                table = np.stack([view.table([method], sources)[0] for view in seen])
                table = table / np.abs(table.mean(axis=(1, 2), keepdims=True))
                regret = (table.mean(axis=2) - table.mean(axis=2).min(axis=1, keepdims=True)).max(axis=0)
                words = ", ".join(f"{s} {r:.2g}" for s, r in zip(sources, regret, strict=True))
                evidence = interaction_of(table)
                detail = f"worst-task regret: {words}"
                yield Cell(f"{panel.name} {method}", "bpb", evidence, "share of the damage", 0.0, detail)

    return gather(cells())


def statistics_missed(world: World, settings: Settings) -> list[Cell]:
    """A13 and A22: loss on other domains minus that on the source's own, row and column effects removed."""

    def cells() -> Iterator[Cell]:
        for panel in world.some(settings.get("models", ""), methods=settings.get("methods", ())):
            if panel.dense is None:
                continue
            for method in chosen_methods(panel, settings):
                sources = [s for s in panel.real([method]) if s in panel.dense.nll and s not in far(panel)]
                if len(sources) < 3 or (settings.get("sources") and not set(settings["sources"]) <= set(sources)):
                    continue
                table = np.stack([panel.view(f"domain:{d}").table([method], sources)[0] for d in sources])
                evidence = Effect(own_domain(table))
                yield Cell(f"{panel.name} {method}", "nll", evidence, "nats a token", 0.0, ", ".join(sources))

    return gather(cells())


def own_domain(table: np.ndarray) -> Interval:
    """Off-diagonal minus diagonal of ``table`` ``[n_domains, n_sources, n_draws]``, additive effects removed."""
    k = len(table)
    same = np.eye(k)
    weights = same - same.mean(axis=0) - same.mean(axis=1, keepdims=True) + same.mean()
    weights = -weights / (weights * same).sum()
    scores = (weights[:, :, None] * table).sum(axis=0)  # one number a draw of each source
    return group_contrast(list(scores), [1.0] * k)


def far(panel: Panel) -> set[str]:
    """Domains more than two nats above the dense model's best: it does not model them."""
    from benchmarks.claims.outcomes import FAR, loss

    assert panel.dense is not None
    losses = {name: loss(scores) for name, scores in panel.dense.nll.items()}
    return {name for name, value in losses.items() if value > min(losses.values()) + FAR}
