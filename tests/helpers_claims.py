"""Simulated records with known truth: what the claims are tested on, without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.claims import Agreement
from benchmarks.claims.judge import Claim, Result, judge, load
from benchmarks.claims.world import World
from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record, TaskScores
from reports.statistics.concordance import concordance

METHODS = (
    *("rtn-w4g64", "gptq-w4g64", "gptq-w3g64", "spqr-w4g16", "awq-w3g64"),
    *("wanda-0.5", "wanda-2of4", "sparsegpt-0.5", "sparsegpt-2of4"),
)
SOURCES = ("c4", "cnn_dailymail", "redpajama", "wikipedia", "dclm")


@dataclass(frozen=True)
class Truth:
    """What is so in a simulation; nats a token, and the same number of bits a byte.

    ``draw_sd`` by method (or for all) is the SD of a draw, shared by all methods up to ``own``; ``source`` the effect
    of each source, ``task_source`` of a source on a task; ``shift`` adds to the damage of a case.
    """

    model: str = "smollm2-135m"
    methods: Sequence[str] = METHODS
    sources: Sequence[str] = SOURCES
    seeds: int = 10
    damage: dict[str, float] = field(default_factory=dict)
    draw_sd: float | dict[str, float] = 0.02
    source: dict[str, float] = field(default_factory=dict)
    task_source: dict[tuple[str, str], float] = field(default_factory=dict)
    own: float = 0.5
    noise: float = 0.02
    tasks: Sequence[str] = ("arc_easy", "hellaswag", "piqa")
    items: int | None = 40  # None: all, which are 60
    domains: Sequence[str] = ("alpaca", "wikitext2-test")
    documents: int = 16
    sequences: int = 44
    length: int = 512
    tag: str = ""
    packing: str = "stream"
    inputs: str = ""
    run: int = 0
    shift: Any = None  # function of the case

    def sd(self, method: str) -> float:
        return self.draw_sd if isinstance(self.draw_sd, float) else self.draw_sd.get(method, 0.0)


def rng(*names: Any) -> np.random.Generator:
    return np.random.default_rng(int(hashlib.sha256(repr(names).encode()).hexdigest()[:15], 16))


def records(truth: Truth) -> list[Record]:
    """The dense model and every method x source x seed."""
    domains = tuple(truth.domains)
    spec = EvaluationSpec(tuple(truth.tasks), truth.items, 0, domains, truth.documents, inputs=truth.inputs)
    found = [_record(truth, Case(truth.model, "dense", None, spec), 0.0)]
    for method in truth.methods:
        for source in truth.sources:
            for seed in range(truth.seeds):
                draw = DrawSpec(source, seed, truth.sequences, truth.length, truth.packing)
                case = Case(truth.model, method, draw, spec, tag=truth.tag)
                found.append(_record(truth, case, _shift(truth, case)))
    return found


def _shift(truth: Truth, case: Case) -> float:
    draw = case.draw
    assert draw is not None
    level = truth.damage.get(case.method, 0.5)
    if case.method.startswith(("rtn", "magnitude")):
        return level
    # A smaller amount is a prefix of the same draw, so the draw's own luck stays.
    shared = rng(truth.run, draw.source, draw.seed).normal()
    own = rng(truth.run, draw.source, draw.seed, case.method, draw.n_sequences).normal()
    luck = (1 - truth.own) ** 0.5 * shared + truth.own**0.5 * own
    extra = truth.shift(case) if truth.shift else 0.0
    return level + truth.source.get(draw.source, 0.0) + truth.sd(case.method) * luck + extra


def _record(truth: Truth, case: Case, shift: float) -> Record:
    free = case.method.startswith(("rtn", "magnitude"))
    stream = (truth.run, case.method) if free else (truth.run, case.id)
    draw = case.draw
    key = hashlib.sha256(repr((truth.run, case)).encode()).hexdigest()
    made: dict[str, Any] = {}
    if draw:
        made = {
            "sha256": f"{draw}",
            "document_ids": [f"{draw.source}-{draw.seed}-{k}" for k in range(4)],
            "windows": [],
        }
    return Record(
        case=case.to_dict(),
        keys={"record": key, "weights_hash": repr(stream), "weights_key": repr(stream), "model_hash": truth.model},
        draw=made,
        nll={name: _domain(truth, case, name, shift, stream) for name in truth.domains},
        tasks={name: _task(truth, case, name, shift, stream) for name in truth.tasks},
        environment={"processor": "simulated"},
    )


def _domain(truth: Truth, case: Case, name: str, shift: float, stream: tuple) -> DomainScores:
    base = 3.5 + 0.3 * rng("document", truth.model, name).normal(size=truth.documents)
    values = base + shift
    if case.draw:
        values = values + truth.noise * rng("noise", name, *stream).normal(size=truth.documents)
    hashes = [f"{name}-{k}" for k in range(truth.documents)]
    return DomainScores(hashes, [float(v) for v in 100 * values], [100] * truth.documents)


def _task(truth: Truth, case: Case, name: str, shift: float, stream: tuple) -> TaskScores:
    n = truth.items or 60
    target = rng("target", name).integers(0, 4, n)
    extra = truth.task_source.get((name, case.draw.source), 0.0) if case.draw else 0.0
    ease = 1.5 + rng("ease", truth.model, name).normal(size=n)
    noise = truth.noise * rng("noise", name, *stream).normal(size=n) if case.draw else np.zeros(n)
    margin = ease - 2 * (shift + extra) + noise
    logs = -10.0 * np.log(2) * (1 + shift + extra + noise)
    rows, chances = [], []
    for k in range(n):
        row = [float(logs[k] - max(0.0, margin[k])) - 0.5] * 4
        row[target[k]] = float(logs[k])
        if margin[k] < 0:
            row[(target[k] + 1) % 4] = float(logs[k] + 0.1)
        powers = np.exp(np.array(row) - max(row))
        rows.append(row)
        chances.append([float(p) for p in powers / powers.sum()])
    correct = [int(m >= 0) for m in margin]
    hashes = [f"{name}-{k}" for k in range(n)]
    scores = TaskScores("acc", hashes, hashes, correct, None, rows, chances, [int(t) for t in target], 0.25, 0.3)
    scores.answer_bytes = [10] * n
    return scores


def claim(name: str, **changes: Any) -> Claim:
    """The row of a claim, changed."""
    return replace(next(row for row in load() if row.id == name), **changes)


def verdict(name: str, *truths: Truth, settings: dict[str, Any] | None = None, published: Any = None) -> Result:
    """A claim judged on the records of these worlds."""
    chosen = claim(name)
    if settings:
        chosen = replace(chosen, settings={**chosen.settings, **settings})
    world = World([record for truth in truths for record in records(truth)], published)
    return judge([chosen], world)[0]


def judges(rng, effects, noise, own=0.5, draws=10):
    """``effects`` ``[n_judges, n_sources]``; the draws are shared by the judges up to ``own``."""
    k, s = np.shape(effects)
    shared = rng.normal(size=(1, s, draws)) * (1 - own) ** 0.5
    return np.asarray(effects)[:, :, None] + noise * (shared + rng.normal(size=(k, s, draws)) * own**0.5)


def agreement(rng, effects, noise, rounds=400, **more):
    return Agreement(concordance(judges(rng, effects, noise, **more), rng, rounds))
