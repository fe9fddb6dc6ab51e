"""How much the results of a model that is trained here move when it is trained again.

``known-corpus-1m`` is trained on each machine, and another processor rounds otherwise, so its weights differ there.
The regression gate must not call that a regression: it adds the spread over training seeds to its interval. This
command measures the spread and writes it into a profile's baseline::

    pytest benchmarks --models known-corpus-1m   --seeds 2 --store s0
    pytest benchmarks --models known-corpus-1m@1 --seeds 2 --store s1
    pytest benchmarks --models known-corpus-1m@2 --seeds 2 --store s2
    python -m benchmarks.retraining --profile quick s0 s1 s2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import gates, judging
from benchmarks.grid import GridError, load_profile
from fixtures.records import Case, Record
from fixtures.store import Store, StoreError


def base_name(model: str) -> str:
    """``known-corpus-1m@2`` is ``known-corpus-1m`` trained with another seed."""
    return model.partition("@")[0]


def load(root: Path) -> tuple[dict[str, Any], list[Record]]:
    """Manifest and records of a finished run, with models by their base name. Raises :class:`GateError`."""
    store = Store(root)
    manifest = store.load_json("manifest")
    if manifest is None:
        raise gates.GateError(
            f"{root} holds no finished run (no manifest); run `pytest benchmarks --store {root}` first"
        )
    cases = [Case.from_dict(case) for case in manifest["cases"]]
    records, missing = judging.find_records(store, cases)
    if missing:
        name, why = next(iter(missing.items()))
        raise gates.GateError(f"{root}: {len(missing)} of {len(cases)} cases have no current record; {name}: {why}")
    for entry in (*manifest["cases"], *(record.case for record in records)):
        entry["id"] = entry["id"].replace(entry["model"], base_name(entry["model"]), 1)
        entry["model"] = base_name(entry["model"])
    return manifest, records


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retraining", description=__doc__.split("\n\n")[0])
    parser.add_argument("stores", nargs="+", type=Path, help="one store for each training seed")
    parser.add_argument("--profile", required=True, help="whose baseline takes the spread")
    options = parser.parse_args(arguments)
    try:
        profile = load_profile(options.profile)
        baseline = judging.load_baseline(profile)
        if baseline is None:
            raise gates.GateError(f"profile {options.profile!r} has no baseline yet; make one: --update-baselines")
        loaded = [load(root) for root in options.stores]
        spread = gates.retraining_spread(loaded[0][0], [records for _, records in loaded])
    except (gates.GateError, GridError, StoreError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    baseline.setdefault("retraining_sd", {}).update(spread)
    judging.write_baseline(profile, baseline)
    for model, methods in spread.items():
        for method, values in methods.items():
            print(f"{model} {method}: " + ", ".join(f"{name} SD {value:.4g}" for name, value in values.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
