"""Gates judged on simulated records, for their tests."""

from __future__ import annotations

import dataclasses
import json

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
