"""Gates judged on simulated records, for their tests."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from benchmarks import gates
from fixtures.records import Verdict
from tests.simulate import World, simulate

WORLD = World(source_effect={"code": 0.03}, documents=24)
TASKS = dataclasses.replace(WORLD, tasks=("piqa", "arc_easy"), items=300, methods=("wanda-0.5",), domains=())


def judged(world=WORLD, baseline=None, settings=None, **options):
    manifest, records = simulate(world, **options)
    manifest["gates"] |= settings or {}
    return gates.judge(manifest, records, baseline)


def find(verdicts, gate, subject="known-corpus-1m wanda-0.5") -> Verdict:
    found = [v for v in verdicts if (v.gate, v.subject) == (gate, subject)]
    assert len(found) == 1, [v.id for v in verdicts]
    return found[0]


def make_baseline(world, **options):
    """As it comes back from its file."""
    manifest, records = simulate(world, **options)
    return json.loads(json.dumps(gates.make_baseline(manifest, records, gates.judge(manifest, records))))


def of_method(records, method="wanda-0.5"):
    """(source, record) of every draw, sources by name, seeds in order."""
    found = [r for r in records if r.case["method"] == method]
    draws = sorted(found, key=lambda r: (r.case["draw"]["source"], r.case["draw"]["seed"]))
    return [(r.case["draw"]["source"], r) for r in draws]


def damage(records):
    """Nats a token above the dense model, a mean a draw of wanda."""
    dense = next(r for r in records if r.case["draw"] is None)

    def each(record):
        return np.concatenate([np.divide(s.nll, s.tokens) for _, s in sorted(record.nll.items())])

    draws = of_method(records)
    return [s for s, _ in draws], np.array([(each(r) - each(dense)).mean() for _, r in draws])
