"""Family C, from `benchmarks.distillation_probes`: information removed, uneven classes, other networks, cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.claims.common import Settings
from benchmarks.claims.distilled import (
    DECIDING,
    Row,
    Sets,
    _paired,
    decided,
    distilled,
    masked_gains,
    studies,
)
from benchmarks.claims.distilled_controls import MATCHED
from benchmarks.claims.distilled_more import absent
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.proper import ACCURACY, CLASSWISE, contrary
from benchmarks.claims.world import World
from benchmarks.probes.sets import REMOVED
from reports.statistics.group_contrast import group_contrast

NETWORKS = ("resnet18", "vit")  # the claim is about both
SLOWER, PASSES = 1.1, 10  # times the seconds without MDT; forward passes of MTS beyond TS


def removal_hurts_more(world: World, settings: Settings) -> list[Cell]:
    """C5: points of accuracy lost with what was removed, distilled minus random real images: as many, and those of the
    same accuracy.
    """

    def cells() -> Iterator[Cell]:
        everything = studies(world, "removal")
        for sets in distilled(world, "removal"):
            if sets.first["mdt"]:
                continue
            for kind, other in _controls(sets, everything):
                for what in REMOVED[1:]:
                    groups = [100 * part.values(_lost(what)) for part in (sets, other)]
                    detail = f"loses {groups[0].mean():.1f} points, {other.name} {groups[1].mean():.1f}"
                    evidence = Effect(group_contrast(groups, [1, -1]))
                    yield sets.cell(evidence, "points of accuracy", 0.0, detail, f"{what}, {kind}")

    return decided(cells())


def _whole(row: Row) -> float:
    return float(row["removed"]["none"][ACCURACY])


def _lost(what: str) -> Callable[[Row], float]:
    return lambda row: _whole(row) - row["removed"][what][ACCURACY]


def _controls(sets: Sets, among: Sequence[Sets]) -> Iterator[tuple[str, Sets]]:
    """Random real images of the same count, and those whose accuracy is nearest and near enough."""
    random = [
        s for s in among
        if s.first["backbone"] == "random" and all(s.first[k] == sets.first[k] for k in ("model", "epochs"))
    ]  # fmt: skip
    accuracy = sets.values(_whole).mean()
    yield from (("same count", s) for s in random if s.first["ipc"] == sets.first["ipc"])
    near = min(random, key=lambda s: abs(s.values(_whole).mean() - accuracy), default=None)
    if near and abs(near.values(_whole).mean() - accuracy) <= MATCHED:
        yield "same accuracy", near


def uneven_is_worse(world: World, settings: Settings) -> list[Cell]:
    """C21: class-wise ECE, uncalibrated, of imbalanced sets minus that of balanced ones of the same size."""

    def difference(row: Row, column: int = CLASSWISE) -> float:
        return 100 * (row["scores"]["imbalanced"][column] - row["scores"]["balanced"][column])

    def cells() -> Iterator[Cell]:
        for sets in studies(world, "imbalance"):
            right = {name: 100 * sets.values(_right(name)).mean() for name in ("imbalanced", "balanced")}
            detail = f"accuracy {right['imbalanced']:.1f} and {right['balanced']:.1f}"
            beside = sets.first["backbone"] == "random"
            against = contrary(partial(sets.mean, difference), CLASSWISE)
            evidence = _paired(sets.values(difference))
            yield sets.cell(evidence, "points of ECE", 0.0, detail, shown_only=beside, contrary=against)

    return decided(cells())


def _right(name: str) -> Callable[[Row], float]:
    return lambda row: float(row["scores"][name][ACCURACY])


def other_networks(world: World, settings: Settings) -> list[Cell]:
    """C23: C6 on ResNet-18 and a small transformer that learned from images distilled on ConvNet."""
    found = [sets for sets in distilled(world, "network") if not sets.first["mdt"]]
    missing = [name for name in NETWORKS if all(sets.first["network"] != name for sets in found)]
    return decided(masked_gains(found)) + [absent(f"{DECIDING} {name}", "not trained") for name in missing]


def low_cost(world: World, settings: Settings) -> list[Cell]:
    """C16: MDT takes less than 1.1 times the time; MTS takes less than ten forward passes more than TS. In rounds."""

    def cells() -> Iterator[Cell]:
        for sets in studies(world, "cost"):
            slower, passes = sets.values(_slower), sets.values(_passes)
            model = sets.first["model"]
            name = f"{model} {sets.name}"
            detail = f"{slower.mean():.3f} times the time without"
            yield Cell(f"{name} MDT", "", _paired(SLOWER - slower), "times the time, below 1.1", 0.0, detail)
            detail = f"{passes.mean():.1f} forward passes"
            yield Cell(f"{name} MTS", "", _paired(PASSES - passes), "forward passes, below 10", 0.0, detail)

    return decided(cells())


def _slower(row: Row) -> float:
    return float(row["seconds"]["masked"] / row["seconds"]["plain"])


def _passes(row: Row) -> float:
    seconds = row["seconds"]
    return float((seconds["mts"] - seconds["ts"]) / seconds["forward"])
