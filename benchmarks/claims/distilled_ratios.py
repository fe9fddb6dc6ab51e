"""Family C, mask ratios: the best one, where more of it harms, and whether one serves several cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations

import numpy as np

from benchmarks.claims.common import Settings
from benchmarks.claims.distilled import _after, _paired, _plain, decided, distilled, pairs
from benchmarks.claims.distilled_sets import Sets, right
from benchmarks.claims.evidence import Cell
from benchmarks.claims.proper import GAP
from benchmarks.claims.world import World

REGRET = 0.5  # points of ECE
FEWEST = 5  # ratios, none among them, that a parabola is fitted to
LOST = 1.0  # points of accuracy


def _ratios(sets: Sets, source: str = "distilled") -> np.ndarray:
    """Test ECE ``[sets, ratios]``, points, exact fit."""
    count = len(sets.first["sources"][source]["exact"]["test"])
    return np.stack([sets.values(partial(_after, source=source, fit="exact", index=k)) for k in range(count)], 1)


def ratio_optimum(world: World, settings: Settings) -> list[Cell]:
    """C17: curvature of test ECE over the mask ratio, of masked scaling and (uncalibrated) of masked distillation, and
    where the parabola is least.

    Where ECE at .9 has come back above that of no mask, masking has broken; the ratio where it does is in the detail.
    """

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            table = _ratios(sets)
            if not sets.first["mdt"] and table.shape[1] >= FEWEST:
                yield _parabola(sets, np.arange(table.shape[1]) / 10, table)
        for masked in by_ratio(distilled(world, every=True)):
            x = np.array([sets.first["mdt"] for sets in masked])
            table = np.stack([sets.values(_plain) for sets in masked], 1)
            yield _parabola(masked[0], x, table, "MDT", _signatures(masked), rederived=True)

    return decided(cells())


def by_ratio(among: Sequence[Sets]) -> Iterator[list[Sets]]:
    """Cells that differ only in how much was masked while they were distilled, that without a mask first."""
    found: dict[tuple[object, ...], list[Sets]] = {}
    for masked, plain in pairs(among):
        first = plain.first
        found.setdefault((first["model"], plain.name, first["epochs"], first["share"]), [plain]).append(masked)
    for held in found.values():
        if len(held) >= FEWEST:
            yield sorted(held, key=lambda sets: float(sets.first["mdt"]))


def _parabola(sets: Sets, x: np.ndarray, table: np.ndarray, more: str = "", what: str = "", **rest: bool) -> Cell:
    """Of ECE ``table [sets, ratios]`` over the ratios ``x``, one a set."""
    fitted = np.array([np.polyfit(x, row, 2) for row in table])
    bend, vertex = _paired(fitted[:, 0]), _paired(-fitted[:, 1] / (2 * fitted[:, 0]))
    inside = vertex.low >= 0.1 and vertex.high <= 0.9
    word = "least" if bend.estimate > 0 else "greatest"
    detail = f"{word} at r = {vertex.estimate:.2f} [{vertex.low:.2f}, {vertex.high:.2f}]"
    detail += "" if inside else ": not inside .1 to .9"
    # A parabola whose least value lies at the edge says nothing about an optimum inside; one that is bent the other way
    # has none.
    beside = not inside and bend.high >= 0
    unit = "points of ECE a squared ratio"
    return sets.cell(bend, unit, detail=detail + _breaking(x, table) + what, more=more, shown_only=beside, **rest)


def _breaking(x: np.ndarray, table: np.ndarray) -> str:
    """The first ratio past the best from which ECE lies above that of no mask, by set."""
    points = []
    for row in table:
        worse = [k for k in range(int(row.argmin()) + 1, len(row)) if (row[k:] > row[0]).all()]
        points.append(float(x[worse[0]]) if worse else np.nan)
    known = [point for point in points if np.isfinite(point)]
    if not known:
        return "; never worse than no mask"
    return (
        f"; worse than no mask from r = {min(known):.1f} to {max(known):.1f} on, in {len(known)} of {len(table)} sets"
    )


def _signatures(masked: Sequence[Sets]) -> str:
    """How masked distillation fails: the first ratios at which accuracy is lost, and confidence too low."""
    plain, *others = masked
    loses = [s.first["mdt"] for s in others if plain.values(right).mean() - s.values(right).mean() > LOST]
    under = [s.first["mdt"] for s in others if s.values(lambda row: float(row["none"][GAP])).mean() < 0]
    return "".join(
        f"; {what} {f'from r = {ratios[0]:.1f} on' if ratios else 'at no ratio'}"
        for what, ratios in (("a point of accuracy lost", loses), ("under-confident", under))
    )


def one_ratio(world: World, settings: Settings) -> list[Cell]:
    """C18: regret on one cell of the ratio that is best on another, against its own best by the other sets.

    Cells are others if data set, network or images a class differ; another backbone alone is none.
    """

    def cells() -> Iterator[Cell]:
        held = [(sets, _ratios(sets)) for sets in distilled(world) if not sets.first["mdt"]]
        for (chosen_on, first), (used_on, second) in permutations(held, 2):
            same = all(chosen_on.first[k] == used_on.first[k] for k in ("model", "ipc"))
            if same or first.shape[1] != second.shape[1] or len(second) < 3:
                continue
            ratio = int(first.mean(0).argmin())
            others = (second.sum(0) - second) / (len(second) - 1)
            own = second[np.arange(len(second)), others.argmin(1)]
            detail = f"r = {ratio / 10:.1f}, its own best {second.mean(0).argmin() / 10:.1f}"
            regret = _paired(second[:, ratio] - own)
            both = chosen_on if chosen_on.cut else used_on
            place = used_on.name if both is used_on else f"{used_on.first['model']} {used_on.name}"
            name = f"ratio of {chosen_on.first['model']} {chosen_on.name} used on {place}"
            yield both.cell(regret, "points of ECE", REGRET, detail, name)

    return decided(cells())
