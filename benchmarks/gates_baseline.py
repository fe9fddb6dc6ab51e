"""The stored baseline: what a run measured, small enough to read in a diff, with the spread that bounds need.

Losses are stored as margins of the documents x draws table (a mean a document, a mean a draw), answers as one bit
each. Everything is a difference from the dense model of the machine that ran it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.gates_settings import BASELINE_SCHEMA, GateError
from fixtures.records import Record, Verdict, fingerprint
from reports import statistics
from reports.groups import OUTCOMES, Group, Outcome, is_calibrated, make_groups, planned_outcomes

SHORT = 16  # characters of a hash
LOSS_DIGITS = 6
ERROR_DIGITS = 5


def make_baseline(
    manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict], previous: dict | None = None
) -> dict[str, Any]:
    """The baseline of a run without failures and without gaps; ``retraining_sd`` is carried over from ``previous``.

    Raises :class:`GateError` if a gate failed or a record is missing.
    """
    failed = [v.id for v in verdicts if v.outcome == "fail" and v.gate not in ("regression", "reconstruction")]
    if failed:
        raise GateError(f"no baseline is made from a run with failures: {', '.join(failed[:5])}")
    groups = make_groups(manifest, records)
    missing = [name for group in groups for name in group.missing]
    if missing or not groups:
        what = f"{len(missing)} records are missing, for instance {missing[0]}" if missing else "there are no cases"
        raise GateError(f"no baseline is made from an incomplete run: {what}; run it to the end first")
    return {
        "schema": BASELINE_SCHEMA,
        "profile": manifest["profile"],
        "gates": manifest.get("gates", {}),
        "retraining_sd": (previous or {}).get("retraining_sd", {}),
        "environment": _environment(records),
        "runs": {"records": len(records), "last": max((r.created for r in records), default="")},
        "groups": {**_kept(manifest, previous), **{group.label: _entry(group) for group in groups}},
    }


def _kept(manifest: dict[str, Any], previous: dict | None) -> dict[str, Any]:
    """Groups of the old baseline that stay: all, if options narrowed this run to a part of the profile's grid."""
    return dict((previous or {}).get("groups", {})) if manifest.get("narrowed") else {}


def _environment(records: Sequence[Record]) -> dict[str, list[str]]:
    """Every value that a version or device had among the runs."""
    seen: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.environment.items():
            seen.setdefault(name, set()).add(str(value))
    return {name: sorted(values) for name, values in sorted(seen.items())}


def _entry(group: Group) -> dict[str, Any]:
    first = next(iter(group.records.values()))
    entry: dict[str, Any] = {
        "model_hash": first.keys.get("model_hash"),
        "draws": draw_list(group),
        "text": draw_text(group),
    }
    for name in planned_outcomes(group):
        try:
            outcome = OUTCOMES[name](group)
            entry[name] = _loss(group, outcome) if name == "loss" else _accuracy(group)
        except ValueError as error:
            entry[name] = None
            entry[f"{name}_missing"] = str(error)
    names, errors = log_errors(group)
    if names:
        entry["reconstruction"] = {
            "linears": names,
            "log_error": [pack(row, ERROR_DIGITS) for row in errors],
            "draw_sd": _draw_sd(group, errors),
        }
    return entry


def _loss(group: Group, outcome: Outcome) -> dict[str, Any]:
    matrix = np.concatenate([outcome.values[s] for s in columns(group)], axis=1)
    return {
        "documents": document_ids(group),
        "damage": pack(matrix.mean(axis=1), LOSS_DIGITS),
        **({} if group.dense is None else {"dense": pack(group.dense_loss, LOSS_DIGITS)}),
        "draw_means": pack(matrix.mean(axis=0), LOSS_DIGITS),
        "mean": round(float(matrix.mean()), 6),
        "draw_error": _draw_error(group, list(outcome.values.values()), matrix),
    }


def _draw_error(group: Group, matrices: list[np.ndarray], stacked: np.ndarray) -> float | None:
    """Standard error of the grand mean from its draws: the most that other draws would change it by.

    With one draw a source the spread between sources stands in, which is more.
    """
    if not is_calibrated(group.method):
        return 0.0
    if any(m.shape[1] > 1 for m in matrices):
        part = statistics.variance_component(matrices)
        return float(part.observed / math.sqrt(stacked.shape[1]))
    if stacked.shape[1] > 1:
        table = statistics.mean_squares(stacked)
        return float(math.sqrt(table.draws / (table.n_items * table.n_draws)))
    return None


def _accuracy(group: Group) -> dict[str, Any]:
    correct = np.concatenate([group.correct(s, group.informative) for s in columns(group)], axis=1)
    calibrated = correct.shape[1] > 1 and is_calibrated(group.method)
    assert group.dense is not None  # an accuracy outcome exists only beside a dense record
    return {
        "tasks": group.informative,
        "items": item_ids(group),
        "correct": ["".join(map(str, column)) for column in correct.T],
        # With one draw the flips against dense bound the flips between two runs.
        "disagreement": statistics.disagreement(correct) if calibrated else _flips(group),
        "accuracy": round(float(correct.mean()), 6),
    }


def _flips(group: Group) -> float:
    outcome = OUTCOMES["accuracy"](group)
    return float(np.mean([np.abs(m).mean() for m in outcome.values.values()]))


def columns(group: Group) -> list[str]:
    """Sources in the order in which stored columns lie, which must not depend on the order of a profile."""
    return sorted(group.sources)


def draw_text(group: Group) -> str:
    """Fingerprint of what was calibrated on and of how much of each document was scored."""
    draws = [(r.case["draw"]["n_sequences"], r.draw.get("sha256")) for s in columns(group) for r in group.draws[s]]
    return fingerprint([[list(draw) for draw in draws], group.cases[0]["evaluation"].get("document_tokens")])[:SHORT]


def draw_list(group: Group) -> dict[str, str]:
    """The seeds of each source, in the order of the columns."""
    return {s: " ".join(str(r.case["draw"]["seed"]) for r in group.draws[s]) for s in columns(group)}


def draw_count(draws: dict[str, str]) -> int:
    return sum(len(seeds.split()) for seeds in draws.values())


def document_ids(group: Group) -> str:
    """How many documents, and one hash over their hashes in order."""
    return f"{len(group.documents)} documents {fingerprint([list(d) for d in group.documents])[:SHORT]}"


def item_ids(group: Group) -> str:
    """How many items of the informative tasks, and one hash over tasks, documents and prompts in order."""
    items = group.items(group.informative)
    return f"{len(items)} items {fingerprint([list(i) for i in items])[:SHORT]}"


def without_rounding(difference: np.ndarray, digits: int) -> np.ndarray:
    """Differences that the rounding of the stored numbers can make are none."""
    return np.where(np.abs(difference) <= 0.51 * 10.0**-digits, 0.0, difference)


def unpack(rows: Sequence[str]) -> np.ndarray:
    """Answers stored as strings of 0 and 1, one a draw, as ``[n_items, n_draws]``."""
    return np.array([[int(c) for c in row] for row in rows]).T


def log_errors(group: Group) -> tuple[list[str], np.ndarray]:
    """Names of the linears that have a relative error on every draw, and its logarithm ``[n_linears, n_draws]``."""
    draws = []
    for source in columns(group):
        for record in group.draws[source]:
            linears = record.compression.get("linears", [])
            draws.append({x["name"]: x["relative_error"] for x in linears if x.get("relative_error") is not None})
    if not draws:
        return [], np.empty((0, 0))
    names = [name for name in draws[0] if all(name in draw for draw in draws)]
    # A linear without any error (already sparse, say) has no logarithm; the floor is far below float32 rounding.
    return names, np.log(np.array([[max(draw[name], 1e-12) for draw in draws] for name in names]))


def _draw_sd(group: Group, errors: np.ndarray) -> float | None:
    """SD of a linear's log error over draws of one source, pooled over linears and sources; None with one draw."""
    start, total, df = 0, 0.0, 0
    for source in columns(group):
        part = errors[:, start : start + len(group.draws[source])]
        start += part.shape[1]
        total += float(((part - part.mean(axis=1, keepdims=True)) ** 2).sum())
        df += part.shape[0] * (part.shape[1] - 1)
    return round(math.sqrt(total / df), 6) if df else None


def retraining_sd(baseline: dict[str, Any], model: str, method: str, what: str) -> float | None:
    """SD over training seeds of ``loss`` damage or of the log ``reconstruction`` error; None if it was not measured."""
    found = baseline.get("retraining_sd", {}).get(model)
    if isinstance(found, dict):
        found = found.get(method, found.get("default"))
    if isinstance(found, dict):
        found = found.get(what)
    elif what != "loss":
        found = None
    return None if found is None else float(found)


def is_new_version(group: Group, entry: dict[str, Any]) -> bool:
    """Whether the user's model has other weights than the baseline's: what is compared then are these two versions.

    A model that is trained here has other weights on another machine, without being another version of anything.
    """
    record = next(iter(group.records.values()))
    trained_here = str(record.case["model"]).startswith("known-corpus-")
    return not trained_here and entry["model_hash"] != record.keys.get("model_hash")


def of_version(verdict: Verdict, new: bool) -> Verdict:
    """The verdict, saying that it is about another version of the model if it is."""
    if not new:
        return verdict
    return dataclasses.replace(verdict, reason=f"{verdict.reason}; another version of the model than the baseline's")


def retraining_spread(
    manifest: dict[str, Any], runs: Sequence[Sequence[Record]]
) -> dict[str, dict[str, dict[str, float]]]:
    """``retraining_sd`` from runs of one manifest on models that differ in their training seed: model, method, SD.

    The SD of reconstruction is that of one linear's mean log error, pooled over linears. Raises :class:`GateError`
    for fewer than two runs.
    """
    if len(runs) < 2:
        raise GateError(f"{len(runs)} training seeds: the spread of retraining needs at least two, better five")
    every = [make_groups(manifest, records) for records in runs]
    spread: dict[str, dict[str, dict[str, float]]] = {}
    for same in zip(*every, strict=True):
        damage = [np.mean([m.mean() for m in OUTCOMES["loss"](group).values.values()]) for group in same]
        errors = np.stack([log_errors(group)[1].mean(axis=1) for group in same], axis=1)
        values = {"loss": float(np.std(damage, ddof=1))}
        if errors.size:
            values["reconstruction"] = float(np.sqrt(np.var(errors, axis=1, ddof=1).mean()))
        spread.setdefault(same[0].model, {})[same[0].method] = values
    return spread


def pack(values: np.ndarray, digits: int) -> str:
    """Numbers in one line of text, so that a baseline reads as a line an array and not a line a number."""
    return " ".join(f"{value:.{digits}f}" for value in values)


def numbers(text: str) -> np.ndarray:
    return np.array([float(piece) for piece in text.split()])


def baseline_difference(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    """What a new baseline changes, a line a group: mean damage, accuracy, what is new and what is gone."""
    if old is None:
        return f"a first baseline with {len(new['groups'])} groups"
    lines = []
    for label in [*new["groups"], *(k for k in old["groups"] if k not in new["groups"])]:
        before, after = old["groups"].get(label), new["groups"].get(label)
        if before is None or after is None:
            lines.append(f"{'+' if before is None else '-'} {label}")
            continue
        changes = []
        for name, key in (("loss", "mean"), ("accuracy", "accuracy")):
            a, b = (before.get(name) or {}).get(key), (after.get(name) or {}).get(key)
            if a != b:
                changes.append(f"{name} {_shown(a)} -> {_shown(b)}")
        if before["model_hash"] != after["model_hash"]:
            changes.append("another model")
        if before["draws"] != after["draws"]:
            changes.append(f"{draw_count(before['draws'])} -> {draw_count(after['draws'])} draws")
        if changes:
            lines.append(f"  {label}: {', '.join(changes)}")
    return "\n".join(lines) or "nothing changed"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
