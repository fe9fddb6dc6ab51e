"""Family C: networks trained on distilled images (arXiv 2307.12463).

The unit is the distilled set; networks of a set are averaged first. Sets of two cells with one seed are paired.
Columns of the scores are those of ``benchmarks.confidence_scores``; ECE has ten bins. Cells of FashionMNIST at the full
budget decide; those of other images and budgets stand beside them, and decide nothing where the budget was cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.claims.common import Settings, gather
from benchmarks.claims.evidence import Cell, Effect, Evidence, Exact
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.world import World
from reports.statistics import Interval
from reports.statistics.group_contrast import group_contrast

ACCURACY, GAP, ECE = 0, 3, 4  # columns
DECIDING = "fashion-mnist"  # lossless and of published accuracy
MATCHED = 0.03  # a control of the same accuracy: within three points
SOURCES = ("distilled", "real-matched")
FITS = ("exact", "legacy")
# Test accuracy and SD on FashionMNIST, points: github.com/VICO-UoE/DatasetCondensation; SDs: arXiv 2107.13034.
PUBLISHED = {"dc-ipc1": (70.5, 0.6), "dc-ipc10": (82.3, 0.4), "dsa-ipc1": (70.6, 0.6), "dsa-ipc10": (84.6, 0.3)}
Row = dict[str, Any]


def _right(row: Row) -> float:
    """Accuracy in points."""
    return 100 * float(row["none"][ACCURACY])


class Sets:
    """Rows of one cell by seed of the distilled set."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name = name
        self.rows: dict[int, list[Row]] = defaultdict(list)
        for row in rows:
            self.rows[row["seed"]].append(row)
        self.first = rows[0]

    def values(self, of: Callable[[Row], float]) -> np.ndarray:
        """One value a set."""
        return np.array([np.mean([of(row) for row in self.rows[seed]]) for seed in sorted(self.rows)])

    def has(self, source: str) -> bool:
        """Whether its networks were calibrated on a source: too few images may be held out to match many distilled."""
        return all(source in row["sources"] for rows in self.rows.values() for row in rows)

    @property
    def accuracy(self) -> float:
        return float(self.values(_right).mean()) / 100

    @property
    def label(self) -> str:
        share = self.first["share"]
        cut = f" ({100 * share:.2g} % of the iterations)" if self.cut else ""
        return f"{self.first['model']} {self.name}{cut}"

    @property
    def cut(self) -> bool:
        """Whether the images were made with less than the published budget."""
        return self.first["share"] is not None and self.first["share"] < 1

    def cell(
        self, evidence: Evidence, unit: str, margin: float = 0.0, detail: str = "", more: str = "", **rest: Any
    ) -> Cell:
        """A cell about these sets; ``more`` follows their label."""
        return Cell(f"{self.label} {more}".strip(), "", evidence, unit, margin, detail, cut=self.cut, **rest)


def decided(parts: Iterator[Cell], each: bool = False) -> list[Cell]:
    """The cells, only the best of which decide: those on the images that decide, and at the full budget.

    A claim about ``each`` backbone is not settled by those with a full budget alone.
    """
    cells = gather(parts)
    for wanted in (lambda c: DECIDING in c.name, lambda c: each or not c.cut):
        if any(wanted(cell) and not cell.shown_only for cell in cells):
            cells = [cell if wanted(cell) else replace(cell, shown_only=True) for cell in cells]
    return cells


def studies(world: World, probe: str = "") -> list[Sets]:
    """All cells, or those of a probe; raises :class:`NoEvidence` without any."""
    cells: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for record in world.images:
        for row in record.checks.get("study", []):
            if row.get("probe", "") == probe:
                name = " on ".join([row["cell"], *([row["network"]] if "network" in row else [])])
                cells[record.case["model"], name, row["epochs"]].append({**row, "model": record.case["model"]})
    found = [Sets(name, rows) for (_, name, _), rows in sorted(cells.items()) if len({r["seed"] for r in rows}) > 1]
    if not found:
        command = f"distillation_probes --probes {probe}" if probe else "distillation_study"
        raise NoEvidence(f"no study of distilled images: python -m benchmarks.{command}")
    return found


def distilled(world: World, probe: str = "") -> list[Sets]:
    """Cells of distilled images, plain training loss."""
    return [s for s in studies(world, probe) if s.first["backbone"] != "random" and s.first["loss"] == "ce"]


def control(sets: Sets, among: Sequence[Sets]) -> Sets | None:
    """Random real images, trained alike, whose accuracy is nearest and near enough."""
    same = [
        s for s in among
        if (s.first["backbone"], s.first["loss"]) == ("random", "ce")
        and (s.first["model"], s.first["epochs"]) == (sets.first["model"], sets.first["epochs"])
    ]  # fmt: skip
    best = min(same, key=lambda s: abs(s.accuracy - sets.accuracy), default=None)
    return best if best and abs(best.accuracy - sets.accuracy) <= MATCHED else None


def _paired(differences: np.ndarray) -> Effect:
    n = len(differences)
    return Effect(Interval.of_t(float(differences.mean()), float(differences.std(ddof=1)) / n**0.5, n - 1))


def _against_control(
    world: World, of: Callable[[Row], float], unit: str, sign: float = 1.0, source: str = ""
) -> Iterator[Cell]:
    everything = studies(world)
    for sets in distilled(world):
        other = control(sets, everything)
        known = other and (not source or (sets.has(source) and other.has(source)))
        if other and known and sets.first["mdt"] == 0:
            evidence = Effect(group_contrast([sets.values(of), other.values(of)], [sign, -sign]))
            detail = f"against {other.name}; accuracy {100 * sets.accuracy:.1f} and {100 * other.accuracy:.1f}"
            yield sets.cell(evidence, unit, detail=detail)


def over_confident(world: World, settings: Settings) -> list[Cell]:
    """C1: confidence minus accuracy, uncalibrated, against random real images of the same accuracy."""
    return decided(_against_control(world, lambda row: 100 * row["none"][GAP], "points"))


def scaling_fails(world: World, settings: Settings) -> list[Cell]:
    """C2: ECE after exact temperature scaling, distilled minus a control of the same accuracy."""

    def cells() -> Iterator[Cell]:
        for source in SOURCES:
            after = partial(_after, source=source, fit="exact", index=0)
            for cell in _against_control(world, after, "points of ECE", source=source):
                yield replace(cell, name=f"{cell.name} {source}")

    return decided(cells())


def concentrated_logits(world: World, settings: Settings) -> list[Cell]:
    """C3: spread over mean of the maximum logits, control minus distilled."""
    return decided(_against_control(world, lambda row: row["max_logit"][1] / row["max_logit"][0], "ratio", -1.0))


def _after(row: Row, source: str, fit: str, index: int) -> float:
    """ECE on the test images, points, with the temperature of one mask ratio."""
    return 100 * row["sources"][source][fit]["test"][index][ECE]


def _masked(row: Row, source: str, fit: str, how: str) -> float:
    """ECE with the ratio of the least ECE on the calibration images (``honest``) or on the test images (``oracle``)."""
    held = row["sources"][source][fit]
    by = held["calibration_ece"] if how == "honest" else [test[ECE] for test in held["test"]]
    return _after(row, source, fit, int(np.argmin(by)))


def masked_beats_exact(world: World, settings: Settings) -> list[Cell]:
    """C6: ECE of exact temperature scaling minus that of MTS with an honest ratio, same source, paired by set."""
    return decided(masked_gains(distilled(world)))


def masked_gains(among: Sequence[Sets]) -> Iterator[Cell]:
    """The cells of :func:`masked_beats_exact` for every cell of ``among`` and source."""
    for sets in among:
        for source in filter(sets.has, SOURCES):
            plain = sets.values(partial(_after, source=source, fit="exact", index=0))
            honest, best = (
                sets.values(partial(_masked, source=source, fit="exact", how=how)) for how in ("honest", "oracle")
            )
            lower = 100 * (1 - best / plain).mean()
            detail = f"TS {plain.mean():.1f}; with the ratio chosen on the test images {lower:.0f} % lower"
            yield sets.cell(_paired(plain - honest), "points of ECE", 0.5, detail, source)


def two_by_two(world: World, settings: Settings) -> list[Cell]:
    """C7: gain of MTS over TS with either fit and either way to choose the ratio, paired by set."""

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            for fit in ("legacy", "exact"):
                plain = sets.values(partial(_after, source="distilled", fit=fit, index=0))
                for how in ("oracle", "honest"):
                    gain = plain - sets.values(partial(_masked, source="distilled", fit=fit, how=how))
                    yield sets.cell(_paired(gain), "points of ECE", more=f"{fit} fit, {how} ratio")

    return decided(cells())


def answers_kept(world: World, settings: Settings) -> list[Cell]:
    """C8: no temperature changes any accuracy; MDT by less than a point. The legacy fit, which can end below 0, is
    shown beside.
    """

    checked, broken = dict.fromkeys(FITS, 0), dict.fromkeys(FITS, 0)
    for sets in studies(world):
        for row in (row for rows in sets.rows.values() for row in rows):
            for fit in FITS:
                tests = [test for by in row["sources"].values() for test in by[fit]["test"]]
                checked[fit] += len(tests)
                broken[fit] += sum(test[ACCURACY] != row["none"][ACCURACY] for test in tests)
    cells = [
        Cell(f"{fit} fit", "", Exact(checked[fit], broken[fit]), "temperatures", 0.0, shown_only=fit != "exact")
        for fit in FITS
    ]
    pairs = [(m, m.values(_right) - plain.values(_right)) for m, plain in twins(world)]
    made = [m.cell(_paired(d), "points of accuracy", 1.0, "", "MDT", rule="E", rederived=True) for m, d in pairs]
    return cells + (decided(iter(made)) if made else [])


def twins(world: World) -> Iterator[tuple[Sets, Sets]]:
    """(cell with MDT, the same without it), of the same seeds."""
    held = distilled(world)
    for masked in (sets for sets in held if sets.first["mdt"]):
        for plain in held:
            same = all(plain.first[k] == masked.first[k] for k in ("model", "backbone", "ipc", "epochs"))
            if same and not plain.first["mdt"] and sorted(plain.rows) == sorted(masked.rows):
                yield masked, plain


def masked_distillation(world: World, settings: Settings) -> list[Cell]:
    """C10: ECE without minus with MDT, uncalibrated, paired by seed."""

    def of(row: Row) -> float:
        return 100 * row["none"][ECE]

    def cells() -> Iterator[Cell]:
        for masked, plain in twins(world):
            detail = f"accuracy {100 * plain.accuracy:.1f} without, {100 * masked.accuracy:.1f} with"
            yield masked.cell(_paired(plain.values(of) - masked.values(of)), "points of ECE", 0.5, detail)

    return decided(cells())


def both_beat_either(world: World, settings: Settings) -> list[Cell]:
    """C13: ECE of the better of MDT alone and MTS alone, minus that of both, paired by seed."""

    def cells() -> Iterator[Cell]:
        for sets, plain in twins(world):
            for source in filter(sets.has, SOURCES):
                masked = partial(_masked, source=source, fit="exact", how="honest")
                alone = [sets.values(lambda row: 100 * row["none"][ECE]), plain.values(masked)]
                better = min(alone, key=lambda values: float(values.mean()))
                yield sets.cell(_paired(better - sets.values(masked)), "points of ECE", more=source)

    return decided(cells())


def published_accuracy(world: World, settings: Settings) -> list[Cell]:
    """C24: accuracy within two published SDs and our own interval of the published one; full budget only."""

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            if sets.name in PUBLISHED and sets.first["share"] >= 1 and sets.first["model"].endswith("fashion-mnist"):
                want, sd = PUBLISHED[sets.name]
                found = _paired(sets.values(_right))
                off = abs(found.estimate - want) > 2 * sd + (found.high - found.estimate)
                detail = f"{found.estimate:.1f} [{found.low:.1f}, {found.high:.1f}], published {want} ± {sd}"
                yield sets.cell(Exact(1, int(off)), "points", detail=detail)

    return decided(cells())
