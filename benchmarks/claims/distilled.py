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

import numpy as np

from benchmarks.claims.common import Settings, gather
from benchmarks.claims.distilled_controls import as_many, control, full_data
from benchmarks.claims.distilled_sets import REAL, Row, Sets, right
from benchmarks.claims.evidence import Cell, Effect, Exact
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.proper import ACCURACY, ECE, GAP, contrary
from benchmarks.claims.world import World
from reports.statistics import Interval
from reports.statistics.group_contrast import group_contrast

DECIDING = "fashion-mnist"  # lossless and of published accuracy
MDT = 0.3  # the ratio that decides what masked distillation does; others stand beside
SOURCES = ("distilled", "real-matched")
FITS = ("exact", "legacy")
# Test accuracy and SD on FashionMNIST, points: github.com/VICO-UoE/DatasetCondensation; SDs: arXiv 2107.13034.
PUBLISHED = {"dc-ipc1": (70.5, 0.6), "dc-ipc10": (82.3, 0.4), "dsa-ipc1": (70.6, 0.6), "dsa-ipc10": (84.6, 0.3)}


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
    cells: dict[tuple[str, str, int, float], list[Row]] = defaultdict(list)
    for record in world.images:
        for row in record.checks.get("study", []):
            if row.get("probe", "") == probe:
                name = " on ".join([row["cell"], *([row["network"]] if "network" in row else [])])
                key = (record.case["model"], name, row["epochs"], -(row["share"] or 1.0))  # the full budget first
                cells[key].append({**row, "model": record.case["model"]})
    found = [Sets(name, rows) for (_, name, _, _), rows in sorted(cells.items()) if len({r["seed"] for r in rows}) > 1]
    if not found:
        command = f"distillation_probes --probes {probe}" if probe else "distillation_study"
        raise NoEvidence(f"no study of distilled images: python -m benchmarks.{command}")
    return found


def distilled(world: World, probe: str = "", every: bool = False) -> list[Sets]:
    """Cells of distilled images, plain training loss; without masks or of ratio ``MDT``, or of ``every`` ratio."""
    return [
        s for s in studies(world, probe)
        if s.first["backbone"] not in REAL and s.first["loss"] == "ce" and (every or s.first["mdt"] in (0, MDT))
    ]  # fmt: skip


def _paired(differences: np.ndarray) -> Effect:
    n = len(differences)
    return Effect(Interval.of_t(float(differences.mean()), float(differences.std(ddof=1)) / n**0.5, n - 1))


def _against_control(
    world: World, of: Callable[..., float], unit: str, sign: float = 1.0, source: str = "", proper: bool = False
) -> Iterator[Cell]:
    """Distilled minus the control of the same accuracy, which decides; beside it minus as many random real images and
    minus all of them, which says little but that accuracy is lower.

    ``proper``: ``of(row, column=...)`` has other scores too, which must not move the other way.
    """
    everything = studies(world)
    pairs = [(sets, control(sets, everything)) for sets in distilled(world) if sets.first["mdt"] == 0]
    for sets, matched in pairs if any(matched for _, matched in pairs) else ():
        others = (matched, as_many(sets, everything), full_data(sets, everything))
        for other in dict.fromkeys(filter(None, others)):
            if source and not (sets.has(source) and other.has(source)):
                continue
            evidence = Effect(group_contrast([sets.values(of), other.values(of)], [sign, -sign]))
            detail = f"against {other.name}; accuracy {100 * sets.accuracy:.1f} and {100 * other.accuracy:.1f}"

            against = contrary(partial(_beyond, sets, of, other, of)) if proper else ""
            more = "" if other is matched else f"against {'all' if other is others[-1] else 'as many'}"
            yield sets.cell(evidence, unit, detail=detail, more=more, shown_only=other is not matched, contrary=against)


def over_confident(world: World, settings: Settings) -> list[Cell]:
    """C1: confidence minus accuracy, uncalibrated, against random real images of the same accuracy."""
    return decided(_against_control(world, lambda row: 100 * row["none"][GAP], "points"))


def scaling_fails(world: World, settings: Settings) -> list[Cell]:
    """C2: ECE after exact temperature scaling, distilled minus a control of the same accuracy; beside it that of
    networks trained with mixup and other losses, which are to work on full data and fail on distilled.
    """
    from benchmarks.claims.distilled_beside import other_losses

    def cells() -> Iterator[Cell]:
        for source in SOURCES:
            after = partial(_after, source=source, fit="exact", index=0)
            for cell in _against_control(world, after, "points of ECE", source=source, proper=True):
                yield replace(cell, name=f"{cell.name} {source}")

    return [*decided(cells()), *other_losses(studies(world))]


def concentrated_logits(world: World, settings: Settings) -> list[Cell]:
    """C3: spread over mean of the maximum logits, control minus distilled."""
    return decided(_against_control(world, lambda row: row["max_logit"][1] / row["max_logit"][0], "ratio", -1.0))


def _after(row: Row, source: str, fit: str, index: int, column: int = ECE) -> float:
    """ECE on the test images, points, with the temperature of one mask ratio; or another score, times 100."""
    return 100 * row["sources"][source][fit]["test"][index][column]


def _masked(row: Row, source: str, fit: str, how: str, column: int = ECE) -> float:
    """ECE with the ratio of the least ECE on the calibration images (``honest``) or on the test images (``oracle``)."""
    held = row["sources"][source][fit]
    by = held["calibration_ece"] if how == "honest" else [test[ECE] for test in held["test"]]
    return _after(row, source, fit, int(np.argmin(by)), column)


def masked_beats_exact(world: World, settings: Settings) -> list[Cell]:
    """C6: ECE of exact temperature scaling minus that of MTS with an honest ratio, same source, paired by set.

    Beside it the ratio .3, chosen on nothing; and, since the published figure is a maximum over cells and ratios, ours.
    """
    from benchmarks.claims.distilled_beside import fixed_gains, greatest_fall

    among = distilled(world)
    return [*decided(masked_gains(among)), *fixed_gains(among), greatest_fall(among)]


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
            against = contrary(partial(_honest_gain, sets, source))
            yield sets.cell(_paired(plain - honest), "points of ECE", 0.5, detail, source, contrary=against)


def _honest_gain(sets: Sets, source: str, column: int) -> float:
    """What MTS with an honest ratio takes off a score of exact temperature scaling."""
    plain = partial(_after, source=source, fit="exact", index=0)
    return sets.mean(plain, column) - sets.mean(partial(_masked, source=source, fit="exact", how="honest"), column)


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
    made = [
        m.cell(
            _paired(m.values(right) - plain.values(right)), "points of accuracy", 1.0, "", "MDT", rule="E",
            rederived=True, shown_only=m.first["mdt"] != MDT,
        )
        for m, plain in twins(world, every=True)
    ]  # fmt: skip
    return cells + (decided(iter(made)) if made else [])


def twins(world: World, every: bool = False) -> Iterator[tuple[Sets, Sets]]:
    """(cell with MDT, the same without it), of the same seeds and budget; of ratio ``MDT``, or of ``every`` ratio."""
    yield from pairs(distilled(world, every=every))


def pairs(among: Sequence[Sets]) -> Iterator[tuple[Sets, Sets]]:
    """As :func:`twins`, of these cells."""
    for masked in (sets for sets in among if sets.first["mdt"]):
        for plain in among:
            same = all(plain.first[k] == masked.first[k] for k in ("model", "backbone", "ipc", "epochs", "share"))
            if same and not plain.first["mdt"] and sorted(plain.rows) == sorted(masked.rows):
                yield masked, plain


def _plain(row: Row, column: int = ECE) -> float:
    """A score of a network as it is, times 100."""
    return 100 * float(row["none"][column])


def masked_distillation(world: World, settings: Settings) -> list[Cell]:
    """C10: ECE without minus with MDT, uncalibrated, paired by seed; at ratios other than .3 shown beside."""

    def cells() -> Iterator[Cell]:
        for masked, plain in twins(world, every=True):
            detail = f"accuracy {100 * plain.accuracy:.1f} without, {100 * masked.accuracy:.1f} with"
            against = contrary(partial(_beyond, plain, _plain, masked, _plain))
            fall = plain.values(_plain) - masked.values(_plain)
            beside = masked.first["mdt"] != MDT
            yield masked.cell(_paired(fall), "points of ECE", 0.5, detail, contrary=against, shown_only=beside)

    return decided(cells())


def both_beat_either(world: World, settings: Settings) -> list[Cell]:
    """C13: ECE of the better of MDT alone and MTS alone, minus that of both, paired by seed."""

    def cells() -> Iterator[Cell]:
        for sets, plain in twins(world):
            for source in filter(sets.has, SOURCES):
                masked = partial(_masked, source=source, fit="exact", how="honest")
                alone: list[tuple[Sets, Callable[..., float]]] = [(sets, _plain), (plain, masked)]
                better, of = min(alone, key=lambda one: one[0].mean(one[1], ECE))
                against = contrary(partial(_beyond, better, of, sets, masked))
                fall = better.values(of) - sets.values(masked)
                yield sets.cell(_paired(fall), "points of ECE", more=source, contrary=against)

    return decided(cells())


def _beyond(first: Sets, of: Callable[..., float], second: Sets, then: Callable[..., float], column: int) -> float:
    return first.mean(of, column) - second.mean(then, column)


def published_accuracy(world: World, settings: Settings) -> list[Cell]:
    """C24: accuracy within two published SDs and our own interval of the published one; full budget only."""

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            if sets.name in PUBLISHED and sets.first["share"] >= 1 and sets.first["model"].endswith("fashion-mnist"):
                want, sd = PUBLISHED[sets.name]
                found = _paired(sets.values(right))
                off = abs(found.estimate - want) > 2 * sd + (found.high - found.estimate)
                detail = f"{found.estimate:.1f} [{found.low:.1f}, {found.high:.1f}], published {want} ± {sd}"
                yield sets.cell(Exact(1, int(off)), "points", detail=detail)

    return decided(cells())
