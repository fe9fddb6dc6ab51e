"""Family C, what several cells of a study say together: images a class, backbones, mask ratios, training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from operator import itemgetter

import numpy as np

from benchmarks.claims.common import Settings, gather
from benchmarks.claims.distilled import (
    DECIDING,
    Row,
    Sets,
    _after,
    _beyond,
    _masked,
    _paired,
    _plain,
    decided,
    distilled,
    masked_gains,
    studies,
    twins,
)  # fmt: skip
from benchmarks.claims.distilled_controls import as_many, control
from benchmarks.claims.evidence import Cell, Effect, Exact, Order
from benchmarks.claims.proper import ECE, contrary
from benchmarks.claims.world import World
from reports.statistics.group_contrast import group_contrast

BACKBONES = ("dc", "dsa", "mtt", "rtp")  # those that the paper says it holds for
TREATMENTS = ("+mdt", "+mixup", "+cutmix", "+cutout")
MATCHED_SOURCE = "real-matched"


def absent(name: str, why: str) -> Cell:
    """What a claim is about and no record has: nothing can be told of it."""
    return Cell(name, "", Exact(0, 0), "", 0.0, why, rule="exact")


def each_backbone(world: World, settings: Settings) -> list[Cell]:
    """C14: C6 for each backbone of the paper; one that is not there, or was cut in budget, cannot tell."""
    found = [sets for sets in distilled(world) if not sets.first["mdt"] and sets.first["backbone"] in BACKBONES]
    cells = decided(masked_gains(found), each=True)
    missing = [name for name in BACKBONES if all(sets.first["backbone"] != name for sets in found)]
    return cells + [absent(f"{DECIDING} {name}", "no cell of this backbone") for name in missing]


def gain_by_count(world: World, settings: Settings) -> list[Cell]:
    """C9: gain of MTS (honest ratio) over exact TS, %, at one image a class minus that at more, paired by seed."""

    def relative(row: Row, column: int = ECE) -> float:
        plain = _after(row, MATCHED_SOURCE, "exact", 0, column)
        return 100 * (plain - _masked(row, MATCHED_SOURCE, "exact", "honest", column)) / plain

    def cells() -> Iterator[Cell]:
        for one, more in counts(distilled(world)):
            if sorted(more.rows) == sorted(one.rows) and one.has(MATCHED_SOURCE) and more.has(MATCHED_SOURCE):
                evidence = _paired(one.values(relative) - more.values(relative))
                against = contrary(partial(_beyond, one, relative, more, relative))
                name = f"{one.name} minus {more.name}"
                yield shorter(one, more).cell(evidence, "% of the ECE", more=name, contrary=against)

    return decided(cells())


def counts(among: Sequence[Sets]) -> Iterator[tuple[Sets, Sets]]:
    """(cell of one image a class, the same with more): of one budget, or of two where neither has its like in the
    other's.
    """
    for one in (sets for sets in among if sets.first["ipc"] == 1):
        for more in among:
            same = all(more.first[k] == one.first[k] for k in ("model", "backbone", "mdt", "epochs"))
            if same and more.first["ipc"] > 1 and not (_other(one, more, among) or _other(more, one, among)):
                yield one, more


def _other(sets: Sets, beside: Sets, among: Sequence[Sets]) -> bool:
    """Whether there is the cell of ``sets`` with the budget of ``beside``, which is another."""
    found = [s for s in among if s.name == sets.name and all(s.first[k] == sets.first[k] for k in ("model", "epochs"))]
    return any(s is not sets and s.first["share"] == beside.first["share"] for s in found)


def shorter(*among: Sets) -> Sets:
    """The cell made with the least share of the published budget: what is said of several is said of it."""
    return min(among, key=lambda sets: 1.0 if sets.first["share"] is None else float(sets.first["share"]))


def one_is_worse(world: World, settings: Settings) -> list[Cell]:
    """C20: how much uncalibrated ECE falls with every tenfold of images a class; the same beyond controls of equal
    accuracy. The claim is about several data sets: on one alone it cannot be told, and a cut budget is no other one.
    """
    cells = gather(_over_counts(world))
    cells = [cell for cell in cells if not cell.cut] or cells
    models = dict.fromkeys(cell.name.split(" ")[0] for cell in cells)
    return cells + [absent("any other data set", f"only {model}") for model in models if len(models) == 1]


def _over_counts(world: World) -> Iterator[Cell]:
    everything = studies(world)
    plain = [sets for sets in distilled(world) if not sets.first["mdt"]]
    groups: dict[tuple[str, ...], dict[tuple[str, float], Sets]] = defaultdict(dict)
    for one, more in counts(plain):
        first = one.first
        both = {(sets.name, sets.first["share"]): sets for sets in (one, more)}
        groups[first["model"], first["backbone"], first["epochs"]] |= both
    for found in groups.values():
        full = [sets for sets in found.values() if not sets.cut]
        many = full if len(full) > 1 and any(s.first["ipc"] == 1 for s in full) else list(found.values())
        yield _fall(many, [None] * len(many))
        pairs = [(sets, control(sets, everything)) for sets in many]
        matched = [(sets, other) for sets, other in pairs if other]
        if len(matched) > 1:
            yield _fall([sets for sets, _ in matched], [other for _, other in matched])


def _fall(among: Sequence[Sets], controls: Sequence[Sets | None]) -> Cell:
    """Minus the slope of ECE over log10 of the images a class, of ``among`` or of what they have beyond controls."""
    x = np.log10([sets.first["ipc"] for sets in among])
    weights = -(x - x.mean()) / ((x - x.mean()) ** 2).sum()
    weight = {id(sets): (sets, float(w)) for sets, w in zip(among, weights, strict=True)}
    for other, w in zip(controls, weights, strict=True):
        if other:  # one control may stand beside two counts, and is still one group
            weight[id(other)] = (other, weight.get(id(other), (other, 0.0))[1] - float(w))
    groups = [(sets.values(_plain), w) for sets, w in weight.values()]

    def fall(column: int) -> float:
        return sum(w * sets.mean(_plain, column) for sets, w in weight.values())

    evidence = Effect(group_contrast([values for values, _ in groups], [w for _, w in groups]))
    names = ", ".join(other.name for other in controls if other)
    detail = "; ".join(f"{sets.name} {sets.values(_plain).mean():.1f}" for sets in among)
    what = f"over {', '.join(str(sets.first['ipc']) for sets in among)} images a class"
    beyond = f"{what}, beyond controls" if names else what
    detail += f"; controls {names}" if names else ""
    unit = "points of ECE a tenfold"
    return shorter(*among).cell(evidence, unit, detail=detail, more=beyond, contrary=contrary(fall))


def concentrated_spectra(world: World, settings: Settings) -> list[Cell]:
    """C4: effective rank of the images, and of their features, random real ones of the same count minus distilled."""

    def cells() -> Iterator[Cell]:
        everything = studies(world)
        for sets in distilled(world):
            other = as_many(sets, everything)
            if not other or sets.first["mdt"]:
                continue
            for what in ("images", "features"):
                name = f"rank_{what}"
                if all(s.first.get(name) is not None for s in (sets, other)):
                    groups = [s.values(itemgetter(name)) for s in (other, sets)]
                    detail = f"against {other.name}, {other.first['epochs']} epochs"
                    # What networks make of images depends on how they were trained; the images do not.
                    beside = what == "features" and other.first["epochs"] != sets.first["epochs"]
                    evidence = Effect(group_contrast(groups, [1, -1]))
                    yield sets.cell(evidence, "effective rank", detail=detail, more=what, shown_only=beside)

    return decided(cells())


def masked_spreads(world: World, settings: Settings) -> list[Cell]:
    """C11: effective rank of the images of masked distillation, every ratio, minus that of the same seeds without."""

    def cells() -> Iterator[Cell]:
        for masked, plain in twins(world, every=True):
            if masked.first["rank_images"] is not None:
                difference = masked.values(_rank) - plain.values(_rank)
                yield masked.cell(_paired(difference), "effective rank", more=f"minus {plain.name}")

    return decided(cells())


def _rank(row: Row) -> float:
    return float(row["rank_images"])


def treatments_ordered(world: World, settings: Settings) -> list[Cell]:
    """C19: uncalibrated ECE of MDT, mixup, CutMix and cutout, paired by set. No order is expected: that which is found
    must hold in every one of its pairs, so that having chosen it costs nothing.
    """

    def cells() -> Iterator[Cell]:
        held = {(s.first["model"], s.first["epochs"], s.first["share"], s.name): s for s in studies(world)}
        for (*rest, name), plain in held.items():
            found = [held.get((*rest, name + treatment)) for treatment in TREATMENTS]
            same = [sets for sets in found if sets and sorted(sets.rows) == sorted(plain.rows)]
            if "+" in name or name.startswith("random") or len(same) < len(TREATMENTS):
                continue
            ranked = sorted(same, key=lambda sets: float(sets.values(_plain).mean()))
            pairs = [_paired(b.values(_plain) - a.values(_plain)) for a, b in combinations(ranked, 2)]
            means = ", ".join(f"{s.name.split('+')[1]} {s.values(_plain).mean():.1f}" for s in ranked)
            yield plain.cell(
                Order(pairs, [s.name for s in ranked]),
                "points of ECE",
                detail=f"{means}; none {plain.values(_plain).mean():.1f}",
            )

    return decided(cells())
