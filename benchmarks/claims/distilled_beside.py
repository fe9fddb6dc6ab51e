"""What stands beside claim C6 (masked scaling at a ratio that nothing chose, and the greatest fall of all cells) and
beside C2 (other losses, on distilled images and on all real ones).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from benchmarks.claims.distilled import SOURCES, _after, _beyond, _masked, _paired, _plain
from benchmarks.claims.distilled_controls import full_data
from benchmarks.claims.distilled_sets import REAL, Sets
from benchmarks.claims.evidence import Cell, Effect
from benchmarks.claims.proper import contrary
from reports.statistics.group_contrast import group_contrast

FIXED = 3  # place of the ratio .3


def fixed_gains(among: Sequence[Sets]) -> Iterator[Cell]:
    """ECE of exact temperature scaling minus that of masked scaling at .3, same source, paired by set."""
    for sets in among:
        for source in filter(sets.has, SOURCES):
            of = partial(_after, source=source, fit="exact")
            plain, masked = (partial(of, index=index) for index in (0, FIXED))
            if len(sets.first["sources"][source]["exact"]["test"]) > FIXED:
                before, after = sets.values(plain), sets.values(masked)
                detail = f"TS {before.mean():.1f}, MTS {after.mean():.1f}"
                against = contrary(partial(_beyond, sets, plain, sets, masked))
                more = f"{source} ratio .3"
                yield sets.cell(
                    _paired(before - after), "points of ECE", 0.5, detail, more, shown_only=True, contrary=against
                )


def greatest_fall(among: Sequence[Sets], shuffles: int = 2000) -> Cell:
    """The cell in which MTS with an honest ratio takes most off the ECE of exact scaling, %; the same with the ratio
    chosen on test images, and the maximum that names of the two methods shuffled within each set reach.
    """
    found: dict[str, list[tuple[float, str, np.ndarray]]] = {"honest": [], "oracle": []}
    for sets in among:
        for source in filter(sets.has, SOURCES):
            plain = sets.values(partial(_after, source=source, fit="exact", index=0))
            for how, into in found.items():
                fall = np.log(plain / sets.values(partial(_masked, source=source, fit="exact", how=how)))
                into.append((_percent(fall.mean()), f"{sets.label} {source}", fall))
    _, where, fall = max(found["honest"], key=itemgetter(0))
    free, there, _ = max(found["oracle"], key=itemgetter(0))
    random = np.random.default_rng(2307)
    tried = [_percent((random.choice((-1, 1), (shuffles, len(one))) * one).mean(1)) for _, _, one in found["honest"]]
    chance = np.quantile(np.max(tried, axis=0), 0.95)
    detail = f"{where}; ratio chosen on the test images {free:.0f} % ({there}); shuffled methods reach {chance:.0f} %"
    name = f"{where.split()[0]} greatest of {len(tried)} cells"
    return Cell(name, "", _paired(_percent(fall)), "% of the ECE of exact scaling", 0.0, detail, shown_only=True)


def _percent(fall: Any) -> Any:
    """Of a fall of the logarithm."""
    return 100 * (1 - np.exp(-fall))


def other_losses(among: Sequence[Sets]) -> Iterator[Cell]:
    """What mixup and the other losses leave of the ECE, uncalibrated: distilled minus all real images, same loss."""
    for sets in among:
        first = sets.first
        other = full_data(sets, among) if first["loss"] != "ce" and first["backbone"] not in REAL else None
        if other and not first["mdt"]:
            groups = [s.values(_plain) for s in (sets, other)]
            detail = f"{groups[0].mean():.1f} and {groups[1].mean():.1f} at accuracies of {100 * sets.accuracy:.1f}"
            detail += f" and {100 * other.accuracy:.1f}"
            evidence = Effect(group_contrast(groups, [1, -1]))
            yield sets.cell(evidence, "points of ECE", 0.0, detail, f"against {other.name}", shown_only=True)
