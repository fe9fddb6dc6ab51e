"""Simulated records with known effects: what gates and reports are tested on, without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fixtures.records import Case, DomainScores, DrawSpec, EvaluationSpec, Record, TaskScores

CALIBRATION_FREE = ("rtn", "magnitude", "dense")
CREATED = "2026-01-01T00:00:00+00:00"


@dataclass(frozen=True)
class World:
    """What is true in a simulation; losses in nats a token, accuracies as shares.

    ``damage`` of each method, ``source_effect`` added by each source, ``draw_sd`` over draws, ``noise`` of one document
    on one draw. ``drop`` is a planted regression, ``retrained`` shifts each document and changes the model hash.
    """

    models: Sequence[str] = ("known-corpus-1m",)
    methods: Sequence[str] = ("rtn-w3g64", "wanda-0.5", "gptq-w3g64")
    sources: Sequence[str] = ("web", "code", "news")
    seeds: int = 5
    documents: int = 24
    domains: Sequence[str] = ("web", "news")
    tasks: Sequence[str] = ()
    items: int = 64
    linears: int = 8
    damage: dict[str, float] = field(default_factory=dict)
    source_effect: dict[str, float] = field(default_factory=dict)
    draw_sd: float = 0.004
    noise: float = 0.02
    drop: float = 0.0
    flip: float = 0.06
    worse_linear: float = 0.0
    retrained: float = 0.0
    accuracy: float = 0.6


def digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def generator(*parts: Any) -> np.random.Generator:
    """One stream for each name, so that a change in one place leaves the rest alone."""
    return np.random.default_rng(int(digest(*parts)[:15], 16))


def simulate(world: World, run: int = 0, noise_run: int | None = None) -> tuple[dict[str, Any], list[Record]]:
    """Manifest and records. ``run`` changes the draws' effects; ``noise_run`` only the noise of documents."""
    evaluation = EvaluationSpec(tuple(world.tasks), world.items, 0, tuple(world.domains), world.documents)
    cases = []
    for model in world.models:
        cases.append(Case(model, "dense", None, evaluation))
        for method in world.methods:
            for source in world.sources:
                for seed in range(world.seeds):
                    cases.append(Case(model, method, DrawSpec(source, seed, 16, 256), evaluation))
    records = [_record(world, case, run, run if noise_run is None else noise_run) for case in cases]
    manifest = {
        "profile": "simulated",
        "cases": [case.to_dict() for case in cases],
        "gates": {"alpha": 0.05},
        "created": CREATED,
        "licences": [{"name": "simulated text", "licence": "CC0-1.0", "used": "source"}],
    }
    return manifest, records


def _record(world: World, case: Case, run: int, noise_run: int) -> Record:
    dense = case.draw is None
    free = case.method.startswith(CALIBRATION_FREE)
    # A calibration-free method sees no draw: everything about it has the same stream for every draw.
    name = (case.model, case.method) if free else (case.model, case.method, case.draw)
    shift = 0.0
    if not dense:
        shift = world.damage.get(case.method, 0.2) + world.drop
        if not free:
            shift += world.source_effect.get(case.draw.source, 0.0) + world.draw_sd * generator(run, name).normal()
    record = Record(
        case=case.to_dict(),
        keys={
            "weights_hash": digest(name, run, world.drop, world.retrained),
            "model_hash": digest(case.model, world.retrained),
            "weights_key": digest("w", name),
            "record": digest("r", case.id),
        },
        draw={} if dense else {"sha256": digest(case.draw), "truncated_documents": 0},
        nll={d: _domain(world, case, d, shift, (noise_run, name)) for d in world.domains},
        tasks={t: _task(world, case, t, shift, (noise_run, name)) for t in world.tasks},
        compression={} if dense else _compression(world, case, (run, case.model, case.method, case.draw)),
        seconds={"compress": 1.5, "evaluate": 0.5, "total": 2.0},
        peak_memory=300_000_000,
        environment={"torch": "2.13.0", "device_name": "cpu", "threads": 1},
        created=CREATED,
    )
    return record


def _domain(world: World, case: Case, domain: str, shift: float, stream: tuple) -> DomainScores:
    n = world.documents
    base = 3.5 + 0.5 * generator("document", case.model, domain).normal(size=n)
    if world.retrained:
        base = base + 0.05 * generator("retrained", world.retrained, domain).normal(size=n)
    per_token = base + shift
    if case.draw is not None:
        per_token = per_token + 0.03 * generator("method", case.method, domain).normal(size=n)
        per_token = per_token + world.noise * generator("noise", domain, *stream).normal(size=n)
    tokens = generator("tokens", domain).integers(64, 256, size=n)
    hashes = [digest(domain, i) for i in range(n)]
    return DomainScores(hashes, [float(x) for x in per_token * tokens], [int(t) for t in tokens], 0.1)


def _task(world: World, case: Case, task: str, shift: float, stream: tuple) -> TaskScores:
    n = world.items
    right = generator("answers", case.model, task).random(n) < world.accuracy
    if case.draw is not None:
        flips = generator("flips", task, *stream).random(n) < world.flip
        right = np.where(flips, ~right, right)
        right = right & (generator("drop", task, *stream).random(n) >= max(0.0, shift - 0.2))
    target = generator("target", task).integers(0, 4, size=n)
    confidence = np.clip(0.4 + 0.5 * generator("confidence", task, *stream).random(n), 0, 0.97)
    probabilities = []
    for i in range(n):
        picked = int(target[i]) if right[i] else int(target[i] + 1) % 4
        row = [float((1 - confidence[i]) / 3)] * 4
        row[picked] = float(confidence[i])
        probabilities.append(row)
    correct = [int(x) for x in right]
    logs = [[float(np.log(p)) for p in row] for row in probabilities]
    hashes = [digest(task, i) for i in range(n)]
    return TaskScores(
        "acc", hashes, hashes, correct, None, logs, probabilities, [int(t) for t in target], 0.25, 0.28, 0.2
    )


def _compression(world: World, case: Case, stream: tuple) -> dict[str, Any]:
    linears = []
    for k in range(world.linears):
        error = 0.01 * (1 + k) * float(np.exp(0.02 * generator("linear", k, *stream).normal()))
        if k == 3:
            error *= float(np.exp(world.worse_linear))
        linears.append(
            {
                "name": f"blocks.{k // 4}.linear{k % 4}",
                "shape": [64, 64],
                "sparsity": 0.5,
                "bits": 16.0,
                "relative_error": error,
                "damping": 0.01,
                "fallbacks": 0,
                "dead_columns": 0,
                "tokens": 4096,
            }
        )
    return {"method": case.method, "linears": linears, "seconds": {"total": 1.5}, "peak_memory": 0}
