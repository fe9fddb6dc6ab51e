"""``python -m benchmarks.claims --store A --store B``: verdicts on every claim, as a table and as claims.json."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.judge import CORRECTED, ClaimError, judge, load
from benchmarks.claims.paper_table import paper_tables
from benchmarks.claims.replays import replayed
from benchmarks.claims.table import as_json, line, markdown
from benchmarks.claims.world import World
from fixtures.bundle import SUFFIX, BundleError, bundled, read_bundle
from fixtures.files import StoreError, write_bytes
from fixtures.records import Record
from fixtures.store import Store


def records_of(path: Path) -> Iterator[Record]:
    """The records of a store, or of a bundle (a folder of ``*.jsonl.xz``). Raises ``ClaimError`` if it has none."""
    if (path / "records").is_dir():
        found = Store(path).records()
    elif bundled(path):
        found = read_bundle(bundled(path))
    else:
        raise ClaimError(f"{path} is neither a store (a folder with 'records') nor a bundle (files *{SUFFIX})")
    empty = True
    for record in found:
        empty = False
        yield record
    if empty:
        raise ClaimError(f"{path} holds no readable record; pytest benchmarks --store {path} makes some")


def published(path: Path | None) -> dict[str, dict[str, np.ndarray]]:
    """Per-draw accuracies ``{"MODEL METHOD": {source: [draws]}}`` of a CSV: model, method, source, an accuracy.

    Empty without a file. Raises ``ClaimError`` for other columns, or a figure that is no number.
    """
    if path is None:
        return {}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with path.open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        names = rows.fieldnames or []
        value = next((name for name in names if "acc" in name.lower()), None)
        if value is None or not {"model", "method", "source"} <= set(names):
            raise ClaimError(f"{path}: columns model, method, source and an accuracy are expected, not {names}")
        for row in rows:
            try:
                figure = float(row[value] or "nan")
            except ValueError:
                figure = math.nan
            if not math.isfinite(figure):
                raise ClaimError(f"{path}, line {rows.line_num}: {value} is {row[value]!r}, expected a number")
            found[f"{row['model']} {row['method']}"][row["source"]].append(figure)
    return {name: {source: np.array(held) for source, held in groups.items()} for name, groups in found.items()}


def default_published() -> Path | None:
    folder = os.environ.get("CALIBENCH_DATA")
    path = Path(folder) / "ji2025_per_seed.csv" if folder else None
    return path if path and path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with a message for stores or claims that cannot be read, or hold no record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument(
        "--store", type=Path, action="append", required=True, help="a run's folder or a bundle; repeat it"
    )
    parser.add_argument("--out", type=Path, help="folder of claims.json and claims.md (default: the first store)")
    parser.add_argument("--only", help="ids, e.g. A1,B5")
    parser.add_argument("--published", type=Path, help="CSV of published per-draw accuracies (claim M4)")
    parser.add_argument(
        "--replay", type=int, default=0, metavar="N", help="make N draws a model again here (claim A24)"
    )
    options = parser.parse_args(arguments)
    try:
        claims = load()
        if options.only:
            wanted = [name.strip() for name in options.only.split(",")]
            if unknown := set(wanted) - {claim.id for claim in claims}:
                raise ClaimError(f"--only: no claim {sorted(unknown)[0]!r}")
            # The correction is over the whole family, whatever is asked for.
            families = {name[0] for name in wanted} & set(CORRECTED)
            claims = [claim for claim in claims if claim.id in wanted or claim.family in families]
        figures = published(options.published or default_published())
        held = [record for path in options.store for record in records_of(path)]
        world = World(held, figures)
        if options.replay:
            world.replays, problems = replayed(world.records, options.replay)
            print(*(f"not replayed: {problem}" for problem in problems), sep="\n", file=sys.stderr)
        results = [r for r in judge(claims, world) if not options.only or r.claim.id in wanted]
    except (ClaimError, BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    about: dict[str, Any] = {
        "records": len(held),
        "models": sorted({record.case["model"] for record in held}),
        "machines": sorted({str(record.environment.get("processor", "")) for record in held}),
    }
    out = options.out or options.store[0]
    text = json.dumps(as_json(results, about), indent=1, sort_keys=True, allow_nan=False) + "\n"
    files = {"claims.json": text, "claims.md": markdown(results, about)}
    if tables := paper_tables(world):
        files["accuracy.md"] = f"# Mean accuracy by method and calibration source\n\n{tables}\n"
    try:
        paths = [write_bytes(out / name, content.encode()) for name, content in files.items()]
    except (StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for result in results:
        print(line(result))
    print(*paths, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
