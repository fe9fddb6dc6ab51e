"""Family A and M, the draws: how much they move results, how that depends on the method, and what is item noise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np

from benchmarks.claims.common import (
    FEWEST,
    SHARE,
    Settings,
    chosen_methods,
    gather,
    generator,
    machine_noise,
    of_samples,
    shown,
    views,
)
from benchmarks.claims.evidence import Cell, Component, Effect, Order, Pivots, Rank
from benchmarks.claims.panels import NoEvidence, View
from benchmarks.claims.world import World
from fixtures.records import Record, TaskScores
from reports.statistics import VarianceComponent, variance_component
from reports.statistics.one_way import detectable_component
from reports.statistics.rank_association import correlation
from reports.statistics.spread_ratio import spread_ratio

POINTS = 0.1  # margin of an accuracy, from the claims


def parts(view: View, method: str) -> VarianceComponent:
    sources = view.panel.real([method])
    return variance_component([view.matrix(method, source) for source in sources])


def draw_component(world: World, settings: Settings) -> list[Cell]:
    """A1: the SD that draws cause, less the items' part; above what another batch size moves one draw by."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, ("nll", "bpb", "acc_inf", "acc9")):
            for method in chosen_methods(view.panel, settings):
                found = parts(view, method)
                size = found.ms_residual, found.df_draws, found.df_residual, float(found.n_items)
                noise = machine_noise(world, view, method)
                # Of few cases, so it is taken off the lower bound alone: it can withhold a verdict, not make one.
                low = max(0.0, found.low**2 - (noise or 0.0) ** 2) ** 0.5
                evidence = Component(found.sd, low, found.high, found.p, detectable_component(*size), found.p_below)
                damage = view.damage(method)
                margin = POINTS if view.unit == "points" else max(0.0, SHARE * damage)
                detail = f"observed SD {found.observed:.3g}, items alone {found.floor:.3g}"
                if noise is not None:
                    detail += f", another batch size alone {noise:.3g}"
                # The claim is about accuracy: nats are shown beside bits and points.
                beside = shown(view.outcome) or (view.outcome == "nll" and not settings.get("nll"))
                yield Cell(
                    f"{view.panel.name} {method}", view.outcome, evidence, view.unit, margin, detail, damage, beside
                )

    return gather(cells())


def spread_order(world: World, settings: Settings) -> list[Cell]:
    """A2: adjacent methods of a stated order by the SD of their draws, as it is and as a share of the damage."""

    def cells() -> Iterator[Cell]:
        for view, order in product(views(world, settings), settings["orders"]):
            if any(method not in view.panel.methods for method in order):
                continue
            sources = view.panel.real(order)
            means = {m: view.table([m], sources)[0] for m in order}
            raw = [spread_ratio(list(means[a]), list(means[b])) for a, b in pairwise(order)]
            logs = [float(np.log(view.damage(a) / view.damage(b))) for a, b in pairwise(order)]
            names = [f"{a} > {b}" for a, b in pairwise(order)]
            sds = ", ".join(f"{m} {means[m].std(axis=1, ddof=1).mean():.3g}" for m in order)
            yield Cell(
                f"{view.panel.name}, SD as it is, {order[2]}",
                view.outcome,
                Order([Effect(pair) for pair in raw], names),
                "log ratio of SDs",
                detail=f"SD {sds} {view.unit}",
                shown_only=shown(view.outcome),
            )
            shares = [Effect(_shifted(pair, log)) for pair, log in zip(raw, logs, strict=True)]
            name = f"{view.panel.name}, SD as a share of the damage, {order[2]}"
            yield Cell(name, view.outcome, Order(shares, names), "log ratio", shown_only=shown(view.outcome))

    return gather(cells())


def _shifted(interval, by: float):
    from reports.statistics import Interval

    return Interval.of_t(interval.estimate - by, interval.error, interval.df, interval.confidence)


def spread_smaller(world: World, settings: Settings) -> list[Cell]:
    """A21: log of SD(second) / SD(first), methods of the same bits and groups; the claim is that the first is less."""

    def cells() -> Iterator[Cell]:
        first, second = settings["pair"]
        for view in views(world, settings):
            if {first, second} <= set(view.panel.methods):
                sources = view.panel.real([first, second])
                table = view.table([first, second], sources)
                evidence = Effect(spread_ratio(list(table[1]), list(table[0])))
                name = f"{view.panel.name} {first} against {second}"
                yield Cell(name, view.outcome, evidence, "log ratio of SDs", shown_only=shown(view.outcome))

    return gather(cells())


def source_beyond_draw(world: World, settings: Settings) -> list[Cell]:
    """A3: SD between sources minus SD between draws of one source."""

    def cells() -> Iterator[Cell]:
        for view in views(world, settings):
            for method in chosen_methods(view.panel, settings):
                sources = view.panel.real([method])
                if len(sources) < 4:
                    continue
                table = view.table([method], sources)[0]
                rng = generator("A3", view.panel.name, method, view.outcome)
                evidence = pivots(table, rng)
                detail = f"{len(sources)} sources"
                name = f"{view.panel.name} {method}"
                damage = view.damage(method)
                yield Cell(name, view.outcome, evidence, view.unit, 0.0, detail, damage, shown(view.outcome))

    return gather(cells())


def pivots(table: np.ndarray, rng: np.random.Generator, rounds: int = 4000) -> Pivots:
    """SD between sources minus SD of draws, by generalized pivots (Weerahandi 1993): sources count as a sample.

    ``table`` ``[n_sources, n_draws]``. The quantities behind the mean squares are chi-square, whatever the sources.
    """
    k, n = table.shape
    between = n * float(table.mean(axis=1).var(ddof=1)) * (k - 1)
    within = float(((table - table.mean(axis=1, keepdims=True)) ** 2).sum())
    outer, inner = rng.chisquare(k - 1, rounds), rng.chisquare(k * (n - 1), rounds)
    draws = within / inner
    sources = np.sqrt(np.maximum(0.0, between / outer - draws) / n)
    estimate = max(0.0, between / (k - 1) - within / (k * (n - 1))) / n
    difference = sources - np.sqrt(draws)
    return Pivots(float(estimate**0.5 - (within / (k * (n - 1))) ** 0.5), difference)


def task_sensitivity(world: World, settings: Settings) -> list[Cell]:
    """A5: SD over draws of a task's accuracy, net of the items', minus the median of the other tasks. Of a task with
    two answers, the SD of what does not depend on a bias towards one of them stands beside it.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.repeated(settings.get("models", ""), settings.get("methods", ())):
            if panel.dense is None or not set(settings["tasks"]) <= set(panel.dense.tasks):
                continue
            tasks = sorted(panel.dense.tasks)
            seen = {task: panel.view(f"acc:{task}") for task in tasks}
            for method in chosen_methods(panel, settings):
                sources = [s for s in panel.real([method]) if len(panel.cells[method, s]) >= FEWEST]
                if not sources:
                    continue
                tables = {task: [seen[task].matrix(method, s) for s in sources] for task in tasks}
                for task in settings["tasks"]:
                    evidence = _above_median(tables, task, generator("A5", panel.name, method, task))
                    # Not an outcome of the verdict rule: the claim is about one task's accuracy.
                    held = [panel.cells[method, source] for source in sources]
                    yield Cell(f"{panel.name} {method} {task}", "", evidence, "points", 0.0, _bias_free(held, task))

    return gather(cells())


def _bias_free(held: list[dict[int, Record]], task: str) -> str:
    """SD over draws within sources, in points, of the area under the curve of the second answer's log-odds."""
    groups = [np.array([area_under_curve(record.tasks[task]) for record in draws.values()]) for draws in held]
    values = _centred(groups)
    if not np.isfinite(values).all() or len(values) <= len(groups):
        return ""
    sd = 100 * float(np.sqrt((values**2).sum() / (len(values) - len(groups))))
    return f"without the bias to one answer (AUC of the log-odds): SD {sd:.2g} points"


def area_under_curve(scores: TaskScores) -> float:
    """How often the log-odds of the second of two answers are higher where it is right; NaN for other tasks."""
    from scipy.stats import rankdata

    right = np.asarray(scores.target) == 1
    if {len(row) for row in scores.loglikelihoods} != {2} or right.all() or not right.any():
        return float("nan")
    logs = np.asarray(scores.loglikelihoods, float)
    ranks = rankdata(logs[:, 1] - logs[:, 0])
    least = right.sum() * (right.sum() + 1) / 2
    return float((ranks[right].sum() - least) / (right.sum() * (~right).sum()))


def _above_median(tables: dict[str, list[np.ndarray]], task: str, rng: np.random.Generator) -> Effect:
    def excess(matrices: dict[str, list[np.ndarray]]) -> float:
        sds = {name: variance_component(held).sd for name, held in matrices.items()}
        return sds[task] - float(np.median([sd for name, sd in sds.items() if name != task]))

    samples = []
    for _ in range(200):
        picks = [rng.integers(0, m.shape[1], m.shape[1]) for m in tables[task]]
        again = {t: [m[:, p] for m, p in zip(held, picks, strict=True)] for t, held in tables.items()}
        samples.append(excess(again))
    draws = [held.shape[1] for held in tables[task]]
    return of_samples(excess(tables), np.array(samples), min(draws), sum(draws) - len(draws))


def hidden_by_perplexity(world: World, settings: Settings) -> list[Cell]:
    """A10: .5 minus the largest |r| that the interval of r(nll, bpb of a task) within sources allows.

    Positive: the loss says little about the task, although draws move it.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.repeated(settings.get("models", ""), settings.get("methods", ())):
            if panel.dense is None or not panel.dense.tasks:
                continue
            try:
                loss = panel.view("nll")
                tasks = {t: panel.view(f"bpb:{t}") for t in _informative(panel)}
            except NoEvidence:
                continue
            for method in chosen_methods(panel, settings):
                sources = panel.real([method])
                x = _centred([loss.means(method, s) for s in sources])
                for task, view in tasks.items():
                    found = variance_component([view.matrix(method, s) for s in sources])
                    if found.p >= 0.05:
                        continue  # no draw component: there is nothing to hide
                    y = _centred([view.means(method, s) for s in sources])
                    evidence = Rank(correlation(x, y, len(sources)))
                    yield Cell(f"{panel.name} {method} {task}", "", evidence, "r(loss, bits a byte) within sources")

    return gather(cells())


def _informative(panel) -> list[str]:
    from benchmarks.claims.outcomes import informative

    return informative(panel.dense)


def _centred(groups: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([group - group.mean() for group in groups])


def item_share(world: World, settings: Settings) -> list[Cell]:
    """M1: the share of the variance of accuracies over draws that items alone would make."""
    from scipy.stats import f

    def cells() -> Iterator[Cell]:
        for view in views(world, settings, ("acc9", "acc_inf")):
            for method in chosen_methods(view.panel, settings):
                found = parts(view, method)
                if not found.ms_draws:
                    continue
                share = found.ms_residual / found.ms_draws
                low = share * float(f.ppf(0.025, found.df_draws, found.df_residual))
                high = share * float(f.ppf(0.975, found.df_draws, found.df_residual))
                reach = share * (float(f.ppf(0.975, found.df_draws, found.df_residual)) - 1)
                p = float(f.cdf(settings["margin"] / share, found.df_draws, found.df_residual))
                evidence = Component(min(1.0, share), min(1.0, low), min(1.0, high), p, reach)
                detail = (
                    f"observed SD {found.observed:.3g}, items alone {found.floor:.3g}, component {found.sd:.3g} points"
                )
                name = f"{view.panel.name} {method} {view.outcome}"
                yield Cell(name, "", evidence, "share of the variance", settings["margin"], detail)

    return gather(cells())
