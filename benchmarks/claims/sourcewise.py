"""Families A and B, the sources: do they matter, more than the method, alike for all methods, and for which text?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.claims.common import (
    SHARE,
    Settings,
    chosen_methods,
    component_of,
    gather,
    generator,
    resampled,
    shown,
    source_component,
    views,
)
from benchmarks.claims.evidence import Agreement, Cell, Component, Effect
from benchmarks.claims.outcomes import informative
from benchmarks.claims.world import NoEvidence, Panel, View, World
from reports.statistics import Interval, source_range
from reports.statistics.concordance import concordance
from reports.statistics.group_contrast import group_contrast
from reports.statistics.one_way import detectable_component
from reports.statistics.variance_component import tukey_williams


def component(world: World, settings: Settings) -> list[Cell]:
    """B1: SD between sources, by method; the gap stands beside it with what draws alone would make."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, ("nll", "bpb", "acc_inf", "acc9")):
            for method in chosen_methods(view.panel, settings):
                sources = view.panel.sources([method])
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
            sources = view.panel.sources(methods)
            if len(methods) >= 3 and len(sources) >= 3:
                table = view.table(methods, sources)
                yield _agreement(view.panel.name, view.outcome, table, sources, methods)
        if settings.get("tasks"):
            for panel in world.some(settings.get("models", "")):
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
    sources = panel.sources(methods)
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
    return Component(sd**0.5, (low / draws) ** 0.5, (high / draws) ** 0.5, p, reach)


def methods_differ(world: World, settings: Settings) -> list[Cell]:
    """B4: source x method interaction, as it is and of each method's share of its own damage."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings)
            sources = view.panel.sources(methods)
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
        for panel in world.some(settings.get("models", "")):
            if panel.dense is None or len(informative(panel.dense)) < 2:
                continue
            tasks = informative(panel.dense)
            try:
                seen = [panel.view(f"bpb:{task}") for task in tasks]
            except NoEvidence:
                continue
            for method in chosen_methods(panel, settings):
                sources = panel.sources([method])
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
        for panel in world.some(settings.get("models", "")):
            if panel.dense is None:
                continue
            for method in chosen_methods(panel, settings):
                sources = [s for s in panel.sources([method]) if s in panel.dense.nll and s not in far(panel)]
                if len(sources) < 3 or (settings.get("sources") and not set(settings["sources"]) <= set(sources)):
                    continue
                table = np.stack([panel.view(f"domain:{d}").table([method], sources)[0] for d in sources])
                evidence = Effect(own_domain(table))
                yield Cell(f"{panel.name} {method}", "nll", evidence, "nats a token", 0.0, ", ".join(sources))

    return gather(cells())


def own_domain(table: np.ndarray) -> Interval:
    """Off-diagonal minus diagonal of ``table`` ``[n_domains, n_sources, n_draws]`` (square), additive effects removed."""
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


def data_over_method(world: World, settings: Settings) -> list[Cell]:
    """B2: log of the SD between sources over the SD between methods; with random tokens too, shown beside."""

    def ratio(table: np.ndarray) -> float:
        sources = max(1e-12, np.mean([component_of(held) for held in table]))
        methods = max(1e-12, float(table.mean(axis=(1, 2)).var(ddof=1)))
        return 0.5 * float(np.log(sources / methods))

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings, 3)
            for controls in (False, True):
                sources = view.panel.sources(methods, controls)
                if len(sources) < 4 or (controls and sources == view.panel.sources(methods)):
                    continue
                name = (
                    f"{view.panel.name}, {len(methods)} methods x {len(sources)} sources" + ", random tokens" * controls
                )
                evidence = resampled(view.table(methods, sources), ratio, generator("B2", name, view.outcome))
                beside = shown(view.outcome) or controls
                detail = ", ".join(methods)
                yield Cell(name, view.outcome, evidence, "log ratio of SDs", 0.0, detail, None, beside)

    return gather(cells())


def bad_data_cancels(world: World, settings: Settings) -> list[Cell]:
    """B3: the best method on its worst source minus the worst method on its best; chosen on even draws, read on odd."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            methods = chosen_methods(view.panel, settings, 2)
            sources = view.panel.sources(methods)
            table = view.table(methods, sources)
            if table.shape[2] < 6 or len(sources) < 2:
                continue
            chosen, read = table[:, :, ::2], table[:, :, 1::2]
            means = chosen.mean(axis=2)
            best, worst = int(means.mean(axis=1).argmin()), int(means.mean(axis=1).argmax())
            bad, good = int(means[best].argmax()), int(means[worst].argmin())
            evidence = Effect(group_contrast([read[best, bad], read[worst, good]], [1, -1]))
            detail = f"{methods[best]} on {sources[bad]} minus {methods[worst]} on {sources[good]}"
            yield Cell(view.panel.name, view.outcome, evidence, view.unit, 0.0, detail, None, shown(view.outcome))

    return gather(cells())


def worse_than_magnitude(world: World, settings: Settings) -> list[Cell]:
    """B7: Wanda on its worst real source minus magnitude pruning at the same sparsity; source chosen on other draws."""

    def cells() -> Iterator[Cell]:
        for panel in world.panels:
            for method in panel.calibrated:
                target = method.removeprefix("wanda-")
                free = _free_panel(world, panel, f"magnitude-{target}")
                if method == target or target not in settings["targets"] or free is None:
                    continue
                sources = panel.sources([method])
                view, base = panel.view("nll"), free.view("nll")
                table = view.table([method], sources)[0]
                if table.shape[1] < 4 or len(sources) < 3:
                    continue
                worst = int(table[:, ::2].mean(axis=1).argmax())
                level = base.damage(f"magnitude-{target}")
                interval = group_contrast([table[worst, 1::2] - level], [1.0])
                detail = f"magnitude {level:.3g}, {method} on {sources[worst]}"
                yield Cell(f"{panel.name} {method}", "nll", Effect(interval), view.unit, 0.0, detail, level)

    return gather(cells())


def _free_panel(world: World, panel: Panel, method: str) -> Panel | None:
    """A panel of the same model and evaluation that has a calibration-free method."""
    same = (p for p in world.panels if p.model == panel.model and method in p.methods)
    return next((p for p in same if p.case["evaluation"] == panel.case["evaluation"]), None)


def quantization_wins(world: World, settings: Settings) -> list[Cell]:
    """A20: the best pruned model minus the worst quantized one of at most as many bits a weight."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            pruned = [m for m in view.panel.calibrated if m in settings["pruned"]]
            quantized = [m for m in view.panel.calibrated if m in settings["quantized"]]
            if not pruned or not quantized:
                continue
            best = min(pruned, key=view.damage)
            worst = max(quantized, key=view.damage)
            yield _difference(view, best, worst)

    return gather(cells())


def _difference(view: View, first: str, second: str) -> Cell:
    sources = view.panel.sources([first, second])
    table = view.table([first, second], sources)
    paired = table[0] - table[1]
    interval = group_contrast(list(paired), [1 / len(sources)] * len(sources))
    detail = f"{first} ({bits(first):.2f} bits) minus {second} ({bits(second):.2f} bits)"
    damage = view.damage(first)
    return Cell(view.panel.name, view.outcome, Effect(interval), view.unit, 0.0, detail, damage, shown(view.outcome))


def bits(method: str) -> float:
    """Bits a weight with masks and scales: 16-bit values, a bit a mask entry (3 for each four of 2:4), 16-bit scale and
    offset a group.
    """
    import compressors

    target = compressors.parse(method).target
    if target.bits is not None:
        group = target.group_size if target.group_size and target.group_size > 0 else 4096
        return target.bits + 32 / group * (0.5 if target.bits < 8 else 1)
    if target.keep is not None and target.group is not None:
        return 16 * target.keep / target.group + 3 / 4
    return 16 * (1 - (target.sparsity or 0)) + 1
