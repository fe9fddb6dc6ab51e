"""Confidence of compressed language models as a table: ``python -m benchmarks.bridge_table --store S``.

A row a method, means over the informative tasks with a choice, sources and draws; ± is the SD over draws within
sources. ECE in points (15 bins): as it is, at one temperature from the *other* tasks' items, and with that temperature
fitted on items whose words are masked, where the same cases were scored on those (profile ``confidence``). Then ECE,
Brier score and NLL by calibration source, each with the SD between sources beyond that of draws and its F test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.claims.__main__ import records_of
from benchmarks.claims.bridge import measures
from benchmarks.claims.judge import ClaimError
from benchmarks.claims.panels import Panel
from benchmarks.claims.repair import FIXED, _masked_panels, _tasks, ece_after, ece_honest
from benchmarks.claims.world import World
from fixtures.bundle import BundleError
from fixtures.records import Record, label
from reports.statistics.one_way import one_way

HEAD = (
    "method",
    "cases",
    "accuracy",
    "NLL",
    "Brier",
    "ECE",
    "ECE, one temperature",
    f"ECE, {FIXED}",
    "ECE, mask chosen",
)


def table(panel: Panel, masked: dict[str, Panel]) -> list[str]:
    """Lines of markdown; columns of masked scaling are empty without records of masked items."""
    tasks = _tasks(panel)
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    assert panel.dense is not None
    dense_twins = {how: other.dense for how, other in masked.items() if other.dense is not None}
    lines.append(_line("dense", [[(panel.dense, dense_twins)]], tasks))
    for method in panel.methods:
        groups = []
        for source in panel.sources([method]):
            held = panel.cells[method, source]
            groups.append([(record, _twins(masked, method, source, seed)) for seed, record in sorted(held.items())])
        lines.append(_line(f"`{method}`", groups, tasks))
    return lines


def _twins(masked: dict[str, Panel], method: str, source: str, seed: int) -> dict[str, Record]:
    found = {how: other.cells.get((method, source), {}).get(seed) for how, other in masked.items()}
    return {how: record for how, record in found.items() if record is not None}


BY_SOURCE = {"ece": ("ECE in points", 1), "brier": ("Brier score", 3), "nll": ("NLL in nats", 3)}


def by_source(panel: Panel, what: str, digits: int) -> list[str]:
    """Lines of markdown: one figure of ``measures``, a row a calibrated method, a column a source of several draws."""
    tasks, known = _tasks(panel), panel.sources(panel.calibrated)
    head = ["method", *known, "SD between sources [95 %]", "p"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for method in panel.calibrated:
        draws = [panel.cells[method, source].values() for source in known]
        groups = [np.array([measures(record, tasks)[what] for record in held]) for held in draws]
        cells = [f"{values.mean():.{digits}f} ±{values.std(ddof=1):.{digits}f}" for values in groups]
        found = one_way(groups)
        sd, low, high = (f"{value:.{digits + 1}f}" for value in (found.between, found.low, found.high))
        lines.append("| " + " | ".join([f"`{method}`", *cells, f"{sd} [{low}, {high}]", f"{found.p:.2g}"]) + " |")
    return lines


Pair = tuple[Record, dict[str, Record]]


def _line(name: str, groups: list[list[Pair]], tasks: list[str]) -> str:
    def cell(of: Callable[[Pair], float], digits: int = 1) -> str:
        values = [[of(pair) for pair in group] for group in groups]
        if not np.isfinite(np.concatenate(values)).all():
            return ""
        spread = [np.var(group, ddof=1) for group in values if len(group) > 1]
        sd = f" ±{np.mean(spread) ** 0.5:.{digits}f}" if spread else ""
        return f"{np.mean([np.mean(group) for group in values]):.{digits}f}{sd}"

    def measured(what: str) -> Callable[[Pair], float]:
        return lambda pair: measures(pair[0], tasks)[what]

    def fixed(pair: Pair) -> float:
        return ece_after(pair[0], tasks, pair[1][FIXED]) if FIXED in pair[1] else np.nan

    cells = [
        name, str(sum(map(len, groups))), cell(measured("accuracy")), cell(measured("nll"), 2),
        cell(measured("brier"), 3), cell(measured("ece")), cell(lambda pair: ece_after(pair[0], tasks, pair[0])),
        cell(fixed), cell(lambda pair: ece_honest(pair[0], tasks, pair[1]) if pair[1] else np.nan),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridge_table", description=__doc__)
    parser.add_argument("--store", type=Path, action="append", required=True, help="a run's folder or a bundle")
    options = parser.parse_args(arguments)
    try:
        world = World(record for store in options.store for record in records_of(store))
    except (ClaimError, BundleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    masked = {id(panel): others for panel, others in _masked_panels(world)}
    shown = [panel for panel in world.panels if id(panel) in masked] or world.some()
    shown = [panel for panel in shown if len(_tasks(panel)) > 1]
    if not shown:
        print("error: no model has two informative tasks with a choice and two draws of a source", file=sys.stderr)
        return 2
    for panel in shown:
        print(f"{label(panel.model)}: {', '.join(_tasks(panel))}\n")
        print("\n".join(table(panel, masked.get(id(panel), {}))) + "\n")
        for what, (name, digits) in BY_SOURCE.items() if len(panel.sources(panel.calibrated)) > 1 else ():
            print(f"{name}, by calibration source:\n\n" + "\n".join(by_source(panel, what, digits)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
