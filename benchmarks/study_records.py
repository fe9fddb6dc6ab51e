"""Rows of `benchmarks.distillation_study` and its probes as records of a store, where claims look for them.

    python -m benchmarks.study_records reports/out/study --store reports/out/study
    python -m benchmarks.study_records reports/out/study --pack reports/reference/distillation

One record a distilled set and cell; ``checks["study"]`` holds its networks' rows. Packed, rows are small enough to be
kept: ``<images>-<file>[-share0.05].json.gz`` (of the published iterations), figures with five decimals.
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

from fixtures.files import StoreError, write_bytes
from fixtures.records import Record, fingerprint
from fixtures.store import Store

PLACES = 5


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


def study_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: {'a file, not a' if folder.exists() else 'no such'} folder")
    return sorted([*folder.glob("*.json"), *folder.glob("*.json.gz")])


def read_study(path: Path) -> dict[str, Any] | None:
    """A file of rows, or None for other JSON. Raises ``ValueError`` naming a file that is damaged."""
    data = path.read_bytes()
    try:
        study = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return study if isinstance(study, dict) and not {"rows", "probes"}.isdisjoint(study) else None


def read_studies(folder: Path) -> Iterator[dict[str, Any]]:
    """The files of rows in a folder, ``*.json`` or ``*.json.gz``; other JSON is left out.

    Raises ``ValueError`` naming a folder that is none, or a file that is damaged.
    """
    yield from filter(None, map(read_study, study_paths(folder)))


def rounded(value: Any) -> Any:
    """Rows with ``PLACES`` decimals; times and shares, of which some are less than that, with as many digits."""
    if isinstance(value, dict):
        return {
            key: {name: float(f"{time:.{PLACES}g}") for name, time in part.items()}
            if key == "seconds" and isinstance(part, dict)
            else float(f"{part:.{PLACES}g}") if key == "share" and part else rounded(part)
            for key, part in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, PLACES) if isinstance(value, float) else value


def pack(folder: Path, into: Path) -> list[Path]:
    """Writes the rows of every file of a study, small; the same rows give the same bytes."""
    found = []
    for path in study_paths(folder):
        study = read_study(path)
        if study is None:
            continue
        kept = {key: value for key, value in study.items() if key != "facts"}
        name = f"{study['model'].split('-', 1)[1]}-{path.name.split('.json')[0]}"
        # What was cut must not take the place of what was not; a packed name has its share already.
        share = min((row.get("share") or 1 for row in study.get("rows", study.get("probes", []))), default=1)
        name += f"-share{share:g}" if share < 1 and "-share" not in name else ""
        packed = gzip.compress(json.dumps(rounded(kept)).encode(), mtime=0)
        found.append(write_bytes(into / f"{name}.json.gz", packed))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_records", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write the rows there instead, compressed")
    options = parser.parse_args(arguments)
    if (options.store is None) == (options.pack is None):
        parser.error("give --store or --pack, where the rows are to go")
    try:
        return _packed(options) if options.pack else _stored(options)
    except (ValueError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


NOTHING = "{}: no rows of benchmarks.distillation_study (*.json, *.json.gz)"


def _packed(options: argparse.Namespace) -> int:
    found = pack(options.folder, options.pack)
    if not found:
        raise ValueError(NOTHING.format(options.folder))
    print("\n".join(map(str, found)))
    return 0


def _stored(options: argparse.Namespace) -> int:
    store, count = Store(options.store), 0
    for study in read_studies(options.folder):
        for record in to_records(study, datetime.now(UTC).isoformat(timespec="seconds")):
            store.save(record.keys["record"], record)
            count += 1
    if not count:
        raise ValueError(NOTHING.format(options.folder))
    print(f"{count} records in {store.root}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
