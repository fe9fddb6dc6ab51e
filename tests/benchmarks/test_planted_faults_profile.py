"""Would the suite notice? Faults planted under a miniature profile, each beside the gate or assertion that must fail.

The cases run as `pytest benchmarks` runs them: drawn, compressed, scored, recorded, judged against the baseline of a
clean run. (The properties that catch faults in an algorithm alone are in `tests/compressors/test_planted_faults.py`.)
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

import compressors
import fixtures
from benchmarks import expectations, gates
from benchmarks.controls import with_controls
from benchmarks.grid import Overrides, build_cases, load_profile
from compressors import gptq, grid, masks, models, rtn, walker, wanda
from fixtures import case_draws
from fixtures.runner import Runner
from fixtures.store import Store
from tests.miniature import write_model, write_text

PROFILE = """
[[grid]]
models = ["{model}"]
methods = ["rtn-w3g32", "gptq-w3g32", "gptq-w3g32:actorder=true", "wanda-0.5"]
sources = ["jsonl:{first}#text", "text:{second}"]
seeds = 2
sequences = 4
length = 32
slices = 2
batch_size = 2
[grid.evaluation]
domains = ["jsonl:{first}#text"]
documents = 20
document_tokens = 32
[[control]]
methods = ["rtn-w3g32", "gptq-w3g32", "wanda-0.5"]
source = "text:{second}"
repeat = true
batch_sizes = [4]
[gates]
regression_margin = 0.05
variance_limit = 0.5
source_margin = 0.5
reconstruction_margin = 0.5
"""


class Suite:
    """The miniature profile, its clean records and its baseline."""

    def __init__(self, folder):
        first, second = write_text(folder / "first.jsonl", seed=1), write_text(folder / "second.txt", seed=2)
        write_model(folder / "tiny", [first, second])
        path = folder / "mini.toml"
        path.write_text(PROFILE.format(model=folder / "tiny", first=first, second=second))
        profile = load_profile(str(path))
        self.cases = with_controls(profile, build_cases(profile, Overrides()), False)
        self.manifest = {"profile": "mini", "cases": [c.to_dict() for c in self.cases], "gates": profile["gates"]}
        self.stores = (folder / f"store-{k}" for k in itertools.count())
        self.clean, problems = self.run(compressors.parse(case.method) for case in self.cases)
        assert not problems
        self.baseline = gates.make_baseline(self.manifest, list(self.clean.values()), self.judge(self.clean))

    def run(self, methods):
        """Records of all cases of the methods, made in a new store, and what the cases themselves would assert."""
        wanted = {str(method) for method in methods}
        runner = Runner(Store(next(self.stores)))
        records = {case.id: runner.run(case)[0] for case in self.cases if case.method in wanted}
        problems = []
        for record in records.values():
            structure, control = record.checks.get("structure", []), record.checks["permuted"]
            problems += expectations.problems(compressors.parse(record.case["method"]), structure)
            if control["nll"] >= control["permuted_nll"]:
                problems.append("no better than permuted")
        return records, problems

    def judge(self, records, baseline=None):
        return gates.judge(self.manifest, list(records.values()), baseline)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALIBENCH_CACHE", str(folder / "cache"))
        yield Suite(folder)


class Fault(NamedTuple):
    """``where.name`` becomes ``plant(real)``; the cases of ``method`` run again and ``caught_by`` fails."""

    caught_by: str  # a gate, or "case": what one case asserts by itself
    method: str
    where: Any
    name: str
    plant: Callable[[Any], Any]


def every_other_call(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Plants ``change`` in the second, fourth ... call: in one of the two blocks."""

    def plant(real):
        calls = itertools.count(1)
        changed = change(real)
        return lambda *args, **kwargs: (real if next(calls) % 2 else changed)(*args, **kwargs)

    return plant


def second_block_skipped(real):
    def block(self, index, *args, **kwargs):
        if index == 0:
            real(self, index, *args, **kwargs)

    return block


def off_by_one(real):
    """Every group gets the grid of the one before."""
    return lambda work, size, *rest: real(work.roll(size, 0), size, *rest)


def not_put_back(real):
    """The columns stay in the order in which they were rounded."""

    def quantize_all(weight, hessians, **settings):
        done = real(weight, hessians, **settings)
        if not settings.get("actorder"):
            return done
        orders = [hessian.diagonal().argsort(dim=0, descending=True, stable=True) for hessian in hessians]
        return [one._replace(weight=one.weight[:, order]) for one, order in zip(done, orders, strict=True)]

    return quantize_all


def first_seed_always(real):
    return lambda *args, seed, **kwargs: real(*args, seed=0, **kwargs)


def with_noise(real):
    """An unseeded sampler somewhere in the algorithm."""

    def solve(weights, *rest):
        jitter = 1 + 0.01 * torch.rand((), generator=torch.Generator().manual_seed(torch.seed() % 2**31))
        return [s._replace(weight=s.weight * jitter) for s in real(weights, *rest)]

    return solve


def padding_is_scored(real):
    """Every further row of a batch adds to the loss of a document."""

    def document_nll(*arguments, **settings):
        scores = real(*arguments, **settings)
        size = inspect.signature(real).bind(*arguments, **settings).arguments["batch_size"]
        scores.nll = [nll + 0.5 * (size - 1) for nll in scores.nll]
        return scores

    return document_nll


def shifted_when_written(real):
    """What is written into the model is not what was measured: every column lies one place on."""

    def replace(self, name, linear, *rest):
        real(self, name, linear, *rest)
        weight = models.matrix(linear)
        weight.copy_(weight.roll(1, 1))

    return replace


W, G, A, R = "wanda-0.5", "gptq-w3g32", "gptq-w3g32:actorder=true", "rtn-w3g32"
FAULTS = {
    "mask inverted in one block": Fault(
        "reconstruction", W, masks, "smallest", every_other_call(lambda real: lambda *args: ~real(*args))
    ),
    "inputs ignored": Fault("null", W, wanda, "importance", lambda real: lambda weight, norms: weight.abs()),
    "too few zeros": Fault("case", W, masks, "smallest", lambda real: lambda metric, s: real(metric, s - 0.03)),
    "one block skipped": Fault("case", W, walker._Walk, "_block", second_block_skipped),
    "damping ignored": Fault(
        "reconstruction", G, gptq, "factorize_all", lambda real: lambda all_, damp, orders: real(all_, 30.0, orders)
    ),
    "norms of the neighbouring column": Fault(
        "reconstruction", W, wanda, "importance", lambda real: lambda weight, norms: real(weight, norms.roll(1))
    ),
    "errors not made up for": Fault(
        "reconstruction", G, gptq, "solve_block",
        lambda real: lambda block, unit, **kw: real(block, torch.eye(len(unit)), **kw),
    ),
    "grid of the columns before": Fault("reconstruction", G, gptq, "fit_groups", off_by_one),
    "zero point dropped": Fault(
        "reconstruction", G, grid, "decode", lambda real: lambda codes, lattice: codes * lattice.scale
    ),
    "wrong clamp": Fault(
        "case", G, grid, "encode", lambda real: lambda w, lattice: real(w, lattice._replace(top=lattice.top + 4))
    ),
    "permutation not undone": Fault("reconstruction", A, gptq, "quantize_all", not_put_back),
    "seed ignored": Fault("null", W, case_draws, "draw_calibration_set", first_seed_always),
    "unseeded sampler": Fault("repeat", G, gptq, "solve", with_noise),
    "unseeded sampler, calibration-free": Fault("null", R, rtn, "solve", with_noise),
    "padding is scored": Fault("noise_floor", W, fixtures, "document_nll", padding_is_scored),
    "columns shifted when written back": Fault("regression", W, walker._Walk, "_replace", shifted_when_written),
}  # fmt: skip


def test_a_clean_rerun_fails_nothing(suite):
    """The control of the table: every case made again in another store."""
    records, problems = suite.run({compressors.parse(case.method) for case in suite.cases})
    verdicts = suite.judge(records, suite.baseline)
    assert problems == []
    assert [v.id for v in verdicts if v.outcome == "fail"] == []
    assert {v.outcome for v in verdicts if v.gate in ("regression", "reconstruction", "repeat")} == {"pass"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(suite, name, monkeypatch):
    fault = FAULTS[name]
    monkeypatch.setattr(fault.where, fault.name, fault.plant(getattr(fault.where, fault.name)))
    records, problems = suite.run([compressors.parse(fault.method)])
    caught = {"case"} if problems else set()
    verdicts = suite.judge({**suite.clean, **records}, suite.baseline)
    caught |= {v.gate for v in verdicts if v.outcome == "fail"}
    assert fault.caught_by in caught, [(v.id, v.outcome, v.reason) for v in verdicts if v.outcome != "pass"]
