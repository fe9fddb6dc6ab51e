"""Rows of `benchmarks.distillation_study` and its probes as records of a store, where claims look for them.

    python -m benchmarks.study_records reports/out/study --store reports/out/study

One record a distilled set and cell; ``checks["study"]`` holds its networks' rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fixtures.records import Record, fingerprint
from fixtures.store import Store, StoreError


def to_records(study: dict[str, Any], created: str = "") -> Iterator[Record]:
    """Records of one file of rows."""
    sets: dict[tuple[str, str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in study["rows"] if "rows" in study else study["probes"]:
        sets[row["cell"], row.get("probe", "study"), row["epochs"], row["seed"]].append(row)
    for (cell, kind, epochs, seed), rows in sets.items():
        case = {
            "id": f"{study['model']}-{cell}-e{epochs}-{kind}-s{seed}", "kind": "images", "model": study["model"],
            "method": cell, "source": None, "seed": seed, "draw": {"source": "", "seed": seed},
        }  # fmt: skip
        yield Record(
            case=case, keys={"record": fingerprint([case, rows])}, draw=dict(case["draw"]),
            compression={"share": rows[0]["share"], "epochs": epochs}, checks={"study": rows},
            seconds={"compress": study["seconds"]}, created=created,
        )  # fmt: skip


def read_studies(folder: Path) -> Iterator[dict[str, Any]]:
    """The files of rows in a folder, ``*.json`` or ``*.json.gz``; other JSON is left out.

    Raises ``ValueError`` naming a file that is damaged.
    """
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.json.gz")]):
        data = path.read_bytes()
        try:
            study = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
        except (ValueError, EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        if isinstance(study, dict) and not {"rows", "probes"}.isdisjoint(study):
            yield study


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_records", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    options = parser.parse_args(arguments)
    store, count = Store(options.store), 0
    try:
        for study in read_studies(options.folder):
            for record in to_records(study, datetime.now(UTC).isoformat(timespec="seconds")):
                store.save(record.keys["record"], record)
                count += 1
    except (ValueError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not count:
        print(f"error: {options.folder}: no rows of benchmarks.distillation_study (*.json, *.json.gz)", file=sys.stderr)
        return 2
    print(f"{count} records in {store.root}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
