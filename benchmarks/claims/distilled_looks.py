"""Family C, from what a study looks at in its networks: features, attributions, logits of masked images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.claims.common import Settings
from benchmarks.claims.distilled import Row, Sets, _after, _paired, decided, distilled, twins
from benchmarks.claims.evidence import Cell
from benchmarks.claims.world import World
from benchmarks.study_looks import ATTRIBUTES, MASKED

RATIO = round(10 * MASKED)  # its place among the ratios of a study
SAME = 0.5  # points of ECE


def _has_looks(sets: Sets) -> bool:
    return all(row.get("looks") for rows in sets.rows.values() for row in rows)


def _against_twin(world: World, of: Callable[[Row], float], unit: str, more: str) -> Iterator[Cell]:
    """With MDT minus without, paired by set."""
    for masked, plain in twins(world):
        if _has_looks(masked) and _has_looks(plain):
            before, after = plain.values(of), masked.values(of)
            detail = f"{before.mean():.3g} without, {after.mean():.3g} with"
            yield masked.cell(_paired(after - before), unit, 0.0, detail, more)


def features_encode_more(world: World, settings: Settings) -> list[Cell]:
    """C12: accuracy of linear probes of the features, of the class and of attributes outside of it, MDT minus none."""

    def cells() -> Iterator[Cell]:
        for name in ("class", *ATTRIBUTES):
            yield from _against_twin(world, _probe(name), "points of probe accuracy", name)

    return decided(cells())


def _probe(name: str) -> Callable[[Row], float]:
    return lambda row: 100 * row["looks"]["probe"][name]


def attribution_spreads(world: World, settings: Settings) -> list[Cell]:
    """C22: share of the attribution inside the foreground (points) and its entropy (nats), MDT minus none."""

    def cells() -> Iterator[Cell]:
        yield from _against_twin(world, lambda row: 100 * row["looks"]["attribution"][0], "points", "inside")
        yield from _against_twin(world, lambda row: row["looks"]["attribution"][1], "nats", "entropy")

    return decided(cells())


def why_masking_works(world: World, settings: Settings) -> list[Cell]:
    """C15: masked images have smaller and more varied largest logits, and their T lies nearer to the one that the test
    images want; and masking does no more than a constant T would (rule E).
    """

    def cells() -> Iterator[Cell]:
        for sets in distilled(world):
            if sets.first["mdt"] or not _has_looks(sets):
                continue
            yield sets.cell(_paired(sets.values(_smaller)), "logits", more="smaller")
            yield sets.cell(_paired(sets.values(_varied)), "ratio", more="more varied")
            if len(sets.first["sources"]["distilled"]["exact"]["T"]) > RATIO:
                detail = f"median T of TS {_median(sets, 0):.2f}, of MTS {_median(sets, RATIO):.2f}"
                yield sets.cell(_paired(sets.values(_nearer)), "log T", 0.0, detail, "T nearer")
                # None of a set that was made by itself: there was no other whose temperature it could take.
                if all(row["looks"]["constant"] is not None for rows in sets.rows.values() for row in rows):
                    yield sets.cell(_paired(sets.values(_constant)), "points of ECE", SAME, "", "constant T", rule="E")

    return decided(cells())


def _smaller(row: Row) -> float:
    (plain, _), (masked, _) = row["looks"]["masked"]
    return float(plain - masked)


def _varied(row: Row) -> float:
    (mean, sd), (masked_mean, masked_sd) = row["looks"]["masked"]
    return float(masked_sd / masked_mean - sd / mean)


def _temperature(row: Row, index: int) -> float:
    return float(row["sources"]["distilled"]["exact"]["T"][index])


def _median(sets: Sets, index: int) -> float:
    return float(np.median([_temperature(row, index) for rows in sets.rows.values() for row in rows]))


def _nearer(row: Row) -> float:
    off = [abs(np.log(_temperature(row, k) / row["oracle_T"])) for k in (0, RATIO)]
    return float(off[0] - off[1])


def _constant(row: Row) -> float:
    """ECE of MTS minus that of the other sets' temperature, points."""
    return _after(row, "distilled", "exact", RATIO) - 100 * row["looks"]["constant"]
