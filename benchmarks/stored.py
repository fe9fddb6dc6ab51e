"""``python -m benchmarks.stored``: judges and reports a run that was made elsewhere, from its store or bundle.

``pytest --judge-only`` takes only records that this machine would make again as they are. Those of a GPU machine, with
its own versions of torch and transformers, are judged here as they stand; the report says what made them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import gates, judging
from benchmarks.claims.__main__ import records_of
from benchmarks.claims.judge import ClaimError
from benchmarks.controls import with_controls
from benchmarks.grid import GridError, Overrides, build_cases, build_questions, load_profile
from fixtures.bundle import BundleError
from fixtures.records import Record
from fixtures.store import Store, StoreError


def collect(paths: Sequence[Path]) -> dict[str, Record]:
    """The latest record of each case id."""
    found: dict[str, Record] = {}
    for path in paths:
        for record in records_of(path):
            held = found.get(record.id)
            if held is None or record.created >= held.created:
                found[record.id] = record
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 2 with a message for a profile or store that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored", description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", required=True)
    parser.add_argument("--store", type=Path, action="append", required=True, help="a run's folder or a bundle")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    options = parser.parse_args(arguments)
    from reports import write

    try:
        profile = load_profile(options.profile)
        cases = with_controls(profile, build_cases(profile, Overrides()), False)
        records = collect(options.store)
        manifest = judging.make_manifest(profile, cases)
        asked = build_questions(profile, Overrides())
        manifest["questions"] = {name: q for name, q in asked.items() if q != "calibration_source"}
        manifest["missing"] = {case.id: "not run yet" for case in cases if case.id not in records}
        kept = [records[case.id] for case in cases if case.id in records]
        gated = {**manifest, "cases": [c for c in manifest["cases"] if c["id"] not in manifest["questions"]]}
        verdicts = gates.judge(gated, kept, None)
    except (GridError, gates.GateError, ClaimError, BundleError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    store = Store(options.out)
    try:
        store.save_json("manifest", manifest)
        store.save_json("verdicts", [verdict.to_dict() for verdict in verdicts])
        page = write(manifest, kept, verdicts, options.out)
    except (StoreError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(kept)} of {len(cases)} cases; report: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
