"""The rows of `benchmarks.distillation_study` as tables: ``python -m benchmarks.study_table FOLDER > README.md``.

Points of ECE (ten bins) on the test images, mean ± SD over distilled sets, the networks of a set averaged first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.claims.distilled import ACCURACY, ECE, GAP, Sets, _after, _masked, studies
from benchmarks.claims.panels import NoEvidence
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
    for s in (sets for sets in found if sets.has(source)):
        cells = [cell(s, lambda r: 100 * r["none"][ECE])]
        cells += [cell(s, partial(of, source=source)) for of in CALIBRATORS.values()]
        cells.append(cell(s, lambda r: r["sources"][source]["exact"]["T"][0], 2))
        lines.append(f"| {s.name} ({s.first['epochs']} epochs) | " + " | ".join(cells) + " |")
    return lines


def diagnosed_table(found: Sequence[Sets]) -> list[str]:
    """What the paper finds behind it: largest logits on test images, spectra, and what a study looks at besides."""
    head = ["trained on", "largest logit", "its SD / mean", "effective rank of images", "of features"]
    head += ["probe of the class", "attribution in the foreground", "largest logit, masked"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for s in found:
        first, looked = s.first, all(row.get("looks") for rows in s.rows.values() for row in rows)
        names = ("rank_images", "rank_features")
        ranks = [cell(s, itemgetter(name)) if first[name] is not None else "" for name in names]
        cells = [
            s.name, cell(s, lambda r: r["max_logit"][0]), cell(s, lambda r: r["max_logit"][1] / r["max_logit"][0], 2),
            *ranks,
        ]  # fmt: skip
        if looked:
            cells += [
                cell(s, lambda r: 100 * r["looks"]["probe"]["class"]),
                cell(s, lambda r: 100 * r["looks"]["attribution"][0]),
                cell(s, lambda r: r["looks"]["masked"][1][0]),
            ]
        lines.append("| " + " | ".join(cells + [""] * (len(head) - len(cells))) + " |")
    return lines


def tables(found: Sequence[Sets]) -> str:
    """All tables of the cells of one network and image set."""
    parts = [f"## {found[0].first['model']}", "\n".join(plain_table(found))]
    for source in ("distilled", "real-matched"):
        parts += [f"Calibrated on `{source}`:", "\n".join(calibrated_table(found, source))]
    return "\n\n".join([*parts, "Diagnoses:", "\n".join(diagnosed_table(found))])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_table", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        records = [record for study in read_studies(options.folder) for record in to_records(study)]
        found = studies(World(records))
    except ValueError as error:
        named = f"{options.folder}: " if isinstance(error, NoEvidence) else ""
        print(f"error: {named}{error}", file=sys.stderr)
        return 2
    models = dict.fromkeys(sets.first["model"] for sets in found)
    print("\n\n".join(tables([sets for sets in found if sets.first["model"] == model]) for model in models))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
