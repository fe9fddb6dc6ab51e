"""Family A, mixtures: does text of many sources make results steadier, and the worst domain better? (A14, A19)"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from benchmarks.claims.common import SHARE, Settings, chosen_methods, gather, generator, views
from benchmarks.claims.contrasts import worst_domain as worst
from benchmarks.claims.evidence import Cell, Effect, Pivots
from benchmarks.claims.panels import Panel
from benchmarks.claims.world import World
from fixtures.records import label
from reports.statistics import Interval


def parts(source: str) -> tuple[str, ...]:
    """The sources that a mixture holds in equal shares; of one that is no mixture itself; none of unequal shares.

    >>> parts("0.5*web+0.5*news"), parts("web"), parts("0.75*web+0.25*news")
    (('web', 'news'), ('web',), ())
    """
    if not re.match(r"[\d.]+\*", source):
        return (source,)
    shares, names = zip(*(piece.split("*", 1) for piece in source.split("+")), strict=True)
    return tuple(names) if len({float(share) for share in shares}) == 1 else ()


def sensitivity_removed(world: World, settings: Settings) -> list[Cell]:
    """A14: log of the SD of one draw of one source (drawn at random) over that of a draw of the mixture of them all.

    The verdict is taken at the largest amount that has both; smaller ones stand beside it. Sources count as a sample.
    """

    def cells() -> Iterator[Cell]:
        found: dict[tuple[str, str, str], list[tuple[int, Cell]]] = {}
        for view in views(world, settings, ("nll", "bpb"), everywhere=True):
            panel = view.panel
            for method in chosen_methods(panel, settings):
                for mixture, singles in _mixtures(panel, method, settings["least"]):
                    one = [view.means(method, s) for s in singles]
                    all_of_them = view.means(method, mixture)
                    if min(map(len, [*one, all_of_them])) < 5:
                        continue
                    rng = generator("A14", panel.name, method, mixture, view.outcome)
                    evidence, left = spread_of_one(one, all_of_them, rng)
                    damage = view.damage(method, singles)
                    words = f"left with the mixture: SD {left[0]:.2g}, at most {left[1]:.2g} {view.unit}"
                    words += f" (2 % of the damage: {SHARE * damage:.2g})"
                    cell = Cell(
                        f"{panel.name} {method}, {len(singles)} sources", view.outcome, evidence, RATIO, 0.0, words
                    )
                    found.setdefault((panel.model, method, view.outcome), []).append((panel.tokens, cell))
        for held in found.values():
            most = max(tokens for tokens, _ in held)
            for tokens, cell in held:
                yield cell if tokens == most else Cell(**{**vars(cell), "shown_only": True})

    return gather(cells())


RATIO = "log ratio of SDs"


def _mixtures(panel: Panel, method: str, least: int) -> Iterator[tuple[str, list[str]]]:
    """Mixtures of at least so many sources, all of which the panel has by themselves."""
    sources = panel.sources([method])
    for source in sources:
        singles = [one for one in parts(source) if one in sources]
        if len(singles) >= least and len(singles) == len(parts(source)):
            yield source, singles


def spread_of_one(
    singles: list[np.ndarray], mixture: np.ndarray, rng: np.random.Generator, rounds: int = 4000
) -> tuple[Pivots, tuple[float, float]]:
    """log(SD of a draw of a random single source / SD of a draw of the mixture) by generalized pivots; and the SD of
    the mixture with its upper 95 % bound.
    """
    n = min(map(len, singles))
    table = np.stack([values[:n] for values in singles])
    k = len(table)
    between = n * float(table.mean(axis=1).var(ddof=1)) * (k - 1)
    within = float(((table - table.mean(axis=1, keepdims=True)) ** 2).sum())
    draws = within / rng.chisquare(k * (n - 1), rounds)
    sources = np.maximum(0.0, between / rng.chisquare(k - 1, rounds) - draws) / n
    squares = float(((mixture - mixture.mean()) ** 2).sum())
    mixed = squares / rng.chisquare(mixture.size - 1, rounds)
    inside = within / (k * (n - 1))
    total = max(0.0, between / (k - 1) - inside) / n + inside
    estimate = 0.5 * float(np.log(total / (squares / (mixture.size - 1))))
    left = (squares / (mixture.size - 1)) ** 0.5, float(np.quantile(mixed, 0.95)) ** 0.5
    return Pivots(estimate, 0.5 * np.log((sources + draws) / mixed)), left


def worst_domain(world: World, settings: Settings) -> list[Cell]:
    """A19: slope of the worst domain's damage on log2 of the number of sources mixed, sign turned; the unit is the
    source or mixture. Seconds to compress stand beside it, by number of sources.
    """

    def cells() -> Iterator[Cell]:
        for panel in world.all(settings.get("models", "")):
            if panel.dense is None:
                continue
            for method in chosen_methods(panel, settings):
                chosen = _diverse(panel, method)
                if len({len(parts(s)) for s in chosen}) < 3:
                    continue
                lost = {s: float(worst(panel, method, s).mean()) for s in chosen}
                sizes = np.array([len(parts(s)) for s in chosen])
                values = np.array([lost[s] for s in chosen])
                interval = slope(np.log2(sizes), values)
                words = _by_size(panel, method, lost)
                name = f"{label(panel.model)} {panel.amount} {method}, {len(chosen)} sources and mixtures"
                yield Cell(name, "", Effect(interval), "nats a token a doubling", 0.0, words, float(values.mean()))

    return gather(cells())


def _diverse(panel: Panel, method: str) -> list[str]:
    """Equal mixtures, and by themselves the sources that they are made of."""
    sources = panel.sources([method])
    mixtures = [source for source in sources if len(parts(source)) > 1]
    inside = {one for mixture in mixtures for one in parts(mixture)}
    return [source for source in sources if source in mixtures or source in inside]


def slope(x: np.ndarray, y: np.ndarray) -> Interval:
    """Least squares, sign turned: positive if ``y`` falls with ``x``."""
    centred = x - x.mean()
    squares = float((centred**2).sum())
    fitted = float((centred * y).sum() / squares)
    rest = y - y.mean() - fitted * centred
    df = len(x) - 2
    return Interval.of_t(-fitted, float(np.sqrt((rest**2).sum() / df / squares)), df)


def _by_size(panel: Panel, method: str, worst: dict[str, float]) -> str:
    rows = []
    for size in sorted({len(parts(source)) for source in worst}):
        mine = [source for source in worst if len(parts(source)) == size]
        seconds = [r.seconds.get("compress", 0.0) for s in mine for r in panel.cells[method, s].values()]
        level = np.mean([worst[source] for source in mine])
        rows.append(f"{size}: {level:.3g} nats, {np.mean(seconds):.1f} s")
    return "worst domain by number of sources " + "; ".join(rows)
