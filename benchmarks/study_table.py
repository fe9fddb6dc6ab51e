"""The rows of `benchmarks.distillation_study` as tables: ``python -m benchmarks.study_table FOLDER > README.md``.

Points of ECE (ten bins) on the test images, mean ± SD over distilled sets, the networks of a set averaged first.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.claims.distilled import ACCURACY, ECE, GAP, Sets, _after, _masked, studies
from benchmarks.claims.world import World
from benchmarks.study_records import read_studies, to_records

Row = dict[str, Any]
FIXED = 3  # index of the ratio .3
CALIBRATORS: dict[str, Callable[..., float]] = {
    "TS legacy": partial(_after, fit="legacy", index=0),
    "TS exact": partial(_after, fit="exact", index=0),
    "MTS .3": partial(_after, fit="exact", index=FIXED),
    "MTS honest": partial(_masked, fit="exact", how="honest"),
    "MTS oracle": partial(_masked, fit="exact", how="oracle"),
    "MTS oracle, legacy": partial(_masked, fit="legacy", how="oracle"),
}


def cell(sets: Sets, of: Callable[[Row], float], digits: int = 1) -> str:
    values = sets.values(of)
    return f"{values.mean():.{digits}f} ±{values.std(ddof=1):.{digits}f}"


def plain_table(found: Sequence[Sets]) -> list[str]:
    """What networks are before anything is calibrated, and what the best temperature on the test images would leave."""
    head = ["trained on", "iterations", "epochs", "sets × nets", "accuracy", "ECE", "confidence − accuracy", "NLL"]
    head += ["best T", "ECE at best T"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for s in found:
        first = s.first
        share = "–" if first["share"] is None else f"{100 * first['share']:.3g} %"
        nets = max(map(len, s.rows.values()))
        cells = [
            s.name, share, str(first["epochs"]), f"{len(s.rows)} × {nets}",
            cell(s, lambda r: 100 * r["none"][ACCURACY]),
            cell(s, lambda r: 100 * r["none"][ECE]), cell(s, lambda r: 100 * r["none"][GAP]),
            cell(s, lambda r: r["none"][1], 2), cell(s, lambda r: r["oracle_T"], 2),
            cell(s, lambda r: 100 * r["oracle"][ECE]),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def calibrated_table(found: Sequence[Sets], source: str) -> list[str]:
    """ECE after each calibrator, fitted on one source."""
    lines = ["| trained on | none | " + " | ".join(CALIBRATORS) + " | T exact |", "|---" * (len(CALIBRATORS) + 3) + "|"]
    for s in found:
        cells = [cell(s, lambda r: 100 * r["none"][ECE])]
        cells += [cell(s, partial(of, source=source)) for of in CALIBRATORS.values()]
        cells.append(cell(s, lambda r: r["sources"][source]["exact"]["T"][0], 2))
        lines.append(f"| {s.name} ({s.first['epochs']} epochs) | " + " | ".join(cells) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_table", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    records = [record for study in read_studies(options.folder) for record in to_records(study)]
    found = studies(World(records))
    parts = ["\n".join(plain_table(found))]
    parts += [
        f"Calibrated on `{s}`:\n\n" + "\n".join(calibrated_table(found, s)) for s in ("distilled", "real-matched")
    ]
    print("\n\n".join(parts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
