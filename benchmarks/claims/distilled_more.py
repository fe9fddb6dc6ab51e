"""Family C, what several cells of a study say together: images a class, backbones, mask ratios, spectra."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.claims.common import Settings, gather
from benchmarks.claims.distilled import ECE, Row, Sets, _after, _paired, distilled
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast


def one_is_worse(world: World, settings: Settings) -> list[Cell]:
    """C20: uncalibrated ECE at one image a class minus that at more."""
    return gather(_one_against_more(world, lambda row: 100 * row["none"][ECE], "points of ECE"))


def _one_against_more(world: World, value: Callable[[Row], float], unit: str) -> Iterator[Cell]:
    plain = [sets for sets in distilled(world) if not sets.first["mdt"]]
    for one in (sets for sets in plain if sets.first["ipc"] == 1):
        for more in plain:
            same = all(more.first[k] == one.first[k] for k in ("model", "backbone"))
            if same and more.first["ipc"] > 1:
                evidence = Effect(group_contrast([one.values(value), more.values(value)], [1, -1]))
                yield Cell(f"{one.label} minus {more.name}", "", evidence, unit)


def masked_spreads(world: World, settings: Settings) -> list[Cell]:
    """C11: effective rank of the images of masked distillation minus that of the same seeds without."""

    def cells() -> Iterator[Cell]:
        for masked, plain in _twins(world):
            if masked.first["rank_images"] is not None:
                difference = masked.values(_rank) - plain.values(_rank)
                yield Cell(f"{masked.label} minus {plain.name}", "", _paired(difference), "effective rank")

    return gather(cells())


def _rank(row: Row) -> float:
    return float(row["rank_images"])


def _twins(world: World) -> Iterator[tuple[Sets, Sets]]:
    held = distilled(world)
    for masked in (sets for sets in held if sets.first["mdt"]):
        for plain in held:
            same = all(plain.first[k] == masked.first[k] for k in ("model", "backbone", "ipc", "epochs"))
            if same and not plain.first["mdt"] and sorted(plain.rows) == sorted(masked.rows):
                yield masked, plain


def ratio_optimum(world: World, settings: Settings) -> list[Cell]:
    """C17: curvature of test ECE over the mask ratio of masked scaling, and where the parabola is least."""

    def parabola(row: Row) -> np.ndarray:
        ratios = len(row["sources"]["distilled"]["exact"]["test"])
        x = np.arange(ratios) / 10
        return np.polyfit(x, [_after(row, "distilled", "exact", k) for k in range(ratios)], 2)

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            if sets.first["mdt"] or len(sets.first["sources"]["distilled"]["exact"]["test"]) < 5:
                continue
            bend = sets.values(lambda row: float(parabola(row)[0]))
            least = _paired(sets.values(lambda row: float(-parabola(row)[1] / (2 * parabola(row)[0]))))
            detail = f"least at r = {least.estimate:.2f} [{least.low:.2f}, {least.high:.2f}]"
            inside = least.low >= 0.1 and least.high <= 0.9
            detail += "" if inside else ": not inside .1 to .9"
            # A parabola whose least value lies at the edge says nothing about an optimum inside.
            unit = "points of ECE a squared ratio"
            yield Cell(sets.label, "", _paired(bend), unit, 0.0, detail, shown_only=not inside)

    return gather(cells())
