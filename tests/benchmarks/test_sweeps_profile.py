"""Profile ``sweeps``: what it makes first is enough for every claim that it names, alone and beside ``standard``."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks import fleet
from benchmarks.claims.judge import evidence, load
from benchmarks.claims.world import World
from benchmarks.grid import Overrides, build_cases, load_profile
from fixtures import Store
from tests.helpers_claims import Truth, _record, _shift


def simulated(case):
    """A record of the case, of few documents and items: it takes a millisecond."""
    spec = case.evaluation
    spec = dataclasses.replace(spec, documents=4, items=4 if spec.tasks and spec.items else None)
    case = dataclasses.replace(case, evaluation=spec)
    truth = Truth(model=case.model, items=spec.items, documents=spec.documents)
    truth = dataclasses.replace(truth, tasks=spec.tasks[:3], domains=spec.domains)
    record = _record(truth, case, _shift(truth, case) if case.draw else 0.0)
    if steps := case.method.count("+"):
        luck = 1 + 0.01 * np.random.default_rng(case.draw.seed).normal()
        before, after = (dict.fromkeys(("calibration", "held_out"), 5 * luck * kept**steps) for kept in (1, 0.5))
        record.compression["details"] = {"reconstruction": [{"pruned": before, "reconstructed": after}]}
    return record


@pytest.fixture(scope="module")
def sweeps():
    return load_profile("sweeps")


@pytest.fixture(scope="module")
def first(sweeps, tmp_path_factory):
    """Records of the draws that are made first."""
    cases, _ = fleet.pending(sweeps, Overrides(), Store(tmp_path_factory.mktemp("store")))
    early = [not case.draw or case.draw.seed < sweeps["fleet"]["draws"] for case in cases]
    assert early == sorted(early, reverse=True)
    return [simulated(case) for case, chosen in zip(cases, early, strict=True) if chosen]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside standard"])
def test_the_first_draws_decide_every_claim_that_is_named(sweeps, first, beside):
    others = [simulated(case) for case in build_cases(load_profile("standard"), Overrides())] if beside else []
    world, named = World([*first, *others]), {claim for grid in sweeps["grid"] for claim in grid.get("claims", ())}
    for row in load():
        if row.id in named:
            assert evidence(row, world), row.id  # raises NoEvidence where something is missing
    (methods,) = {cell.name.split(", ")[1] for row in load() if row.id == "B2" for cell in evidence(row, world)}
    assert methods == "6 methods x 4 sources"


def test_they_are_a_session_of_a_gpu(first):
    """Of 50 minutes, at the 27 cases a minute that were measured with nine tasks, which most of these are not asked."""
    assert len(first) < 50 * 27
    assert sum(bool(record.case["evaluation"]["tasks"]) for record in first) < len(first) / 5


def test_packing_and_bos_are_compared_with_records_that_are_there(sweeps, first):
    """Their other side, a stream without BOS, is made for other questions: no source is added to what those compare."""
    draws = [record.case for record in first if record.case["draw"]]
    shape = {"n_sequences": 44, "sequence_length": 512}
    plain, packed = set(), {}
    for case in draws:
        draw = case["draw"]
        if not case["tag"] and shape.items() <= draw.items():
            key = (case["method"], draw["source"], draw["seed"], repr(case["evaluation"]))
            changed = (draw["packing"], draw["bos"])
            if changed == ("stream", False):
                plain.add(key)
            else:
                packed.setdefault(changed, set()).add(key)
    assert sorted(packed) == [("document", False), ("stream", True)]
    for keys in packed.values():
        assert len(keys) == 2 * 3 * 5
        assert keys <= plain
