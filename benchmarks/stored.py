"""``python -m benchmarks.stored``: judges and reports a run that was made elsewhere, from its store or bundle.

``pytest --judge-only`` takes only records that this machine would make again as they are. Those of a GPU machine, with
its own versions of torch and transformers, are judged here as they stand; the report says what made them. A record that
has the id of a case and other settings is named and left out; stores that hold one case of different experiments are
refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import gates, gates_images, judging
from benchmarks.claims.__main__ import records_of
from benchmarks.claims.judge import ClaimError
from benchmarks.controls import with_controls
from benchmarks.grid import QUESTIONS, GridError, Overrides, build_cases, build_questions, load_profile
from benchmarks.image_grid import build_image_cases
from fixtures.bundle import BundleError
from fixtures.records import Case, Record, Verdict
from fixtures.store import Store, StoreError
from reports.merging import MUST_AGREE


def collect(paths: Sequence[Path], planned: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Record], dict[str, str]]:
    """The latest record of each planned case; and of ids that were found with other settings alone, which those are.

    ``planned`` are cases as dictionaries, by id. Raises :class:`ClaimError` if two folders hold the same case made by
    other code, from another model or scored otherwise.
    """
    found: dict[str, tuple[Record, Path]] = {}
    others: dict[str, str] = {}
    for path in paths:
        for record in records_of(path):
            case = planned.get(record.id)
            if case is None:
                continue
            if differ := other_settings(record.case, case):
                others[record.id] = f"its record in {path} was made with other settings ({', '.join(differ)})"
                continue
            held, where = found.get(record.id, (record, path))
            differ = [key for key in MUST_AGREE if held.keys.get(key) != record.keys.get(key)]
            if differ and where != path:
                raise ClaimError(
                    f"{record.id} is in {where} and in {path} with another {' and '.join(differ)}: these are different "
                    "experiments; judge them apart, and see python -m reports compare"
                )
            if record.created >= held.created:
                found[record.id] = (record, path)
    records = {name: record for name, (record, _) in found.items()}
    return records, {name: why for name, why in others.items() if name not in records}


def other_settings(held: dict[str, Any], planned: dict[str, Any]) -> list[str]:
    """Settings that differ, such as ``draw.n_sequences 8, not 16``; those newer than a record had their default."""
    if held.get("kind") != "images":
        held = Case.from_dict(held).to_dict()
    flat = [dict(_flat(json.loads(json.dumps(case)))) for case in (held, planned)]
    names = [name for name in dict.fromkeys([*flat[1], *flat[0]]) if flat[0].get(name) != flat[1].get(name)]
    return [f"{name} {flat[0].get(name)}, not {flat[1].get(name)}" for name in names]


def _flat(case: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in case.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", v) for inner, v in _flat(value))
        else:
            yield name, value


def judge(profile: dict[str, Any], paths: Sequence[Path]) -> tuple[dict[str, Any], list[Record], list[Verdict]]:
    """Manifest, records and verdicts of a profile. Raises the errors of the grid, the gates, stores and bundles."""
    cases = with_controls(profile, build_cases(profile, Overrides()), False)
    images = build_image_cases(profile, Overrides())
    planned = {case.id: case.to_dict() for case in cases} | {case.id: case.to_dict() for case in images}
    records, others = collect(paths, planned)
    if not records:
        why = f": {next(iter(others.values()))}" if others else ""
        raise ClaimError(f"{', '.join(map(str, paths))}: no record of a case of profile {profile['name']}{why}")
    manifest = judging.make_manifest(profile, cases)
    asked = build_questions(profile, Overrides())
    manifest["questions"] = {name: q for name, q in asked.items() if q != QUESTIONS[0]}
    manifest["missing"] = {name: others.get(name, "not run yet") for name in planned if name not in records}
    kept = [records[case.id] for case in cases if case.id in records]
    gated = {**manifest, "cases": [c for c in manifest["cases"] if c["id"] not in manifest["questions"]]}
    verdicts = gates.judge(gated, kept, None)
    if images:
        manifest["image_cases"] = [planned[case.id] for case in images]
        shown = [records[case.id] for case in images if case.id in records]
        verdicts += gates_images.judge(manifest, shown)
        kept += shown
    return manifest, kept, verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with a message for a profile or store that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored", description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", required=True)
    parser.add_argument("--store", type=Path, action="append", required=True, help="a run's folder or a bundle")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    options = parser.parse_args(arguments)
    from reports import write

    try:
        manifest, kept, verdicts = judge(load_profile(options.profile), options.store)
        store = Store(options.out)
        store.save_json("manifest", manifest)
        store.save_json("verdicts", [verdict.to_dict() for verdict in verdicts])
        page = write(manifest, kept, verdicts, options.out)
    except (GridError, gates.GateError, ClaimError, BundleError, StoreError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for reason, count in Counter(manifest["missing"].values()).most_common():
        if reason != "not run yet":
            print(f"left out {count} cases: {reason}")
    print(f"{len(kept)} of {len(kept) + len(manifest['missing'])} cases; report: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
