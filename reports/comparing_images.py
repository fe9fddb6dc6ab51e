"""Distilled images in two runs: what a record was made from, and the paired differences of its networks.

Networks are paired by their number, which is their seed, and answers by test image. A lower loss, error of calibration
or share of wrong answers is better; differences are after minus before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fixtures.records import Record, fingerprint
from reports import statistics
from reports.statistics import Interval

Found = list[tuple[str, Interval, dict[str, Any]]]
ECE_BINS = 10  # closed on the left, as in the report


def facts(record: Record) -> Iterable[tuple[tuple[str, str], Any]]:
    """((kind, what), value) of what two records of one case may differ in."""
    case, unknown = record.case, "not recorded"
    yield ("code", "distillation and confidence"), record.keys.get("method_code", unknown)
    yield ("data", f"images of {case['model']}"), record.keys.get("model_hash", unknown)
    yield ("data", f"test answers of {case['model']}"), fingerprint([t.target for t in record.tasks.values()])
    for name, value in sorted(case.get("budget", {}).items()):
        yield ("data", f"budget of distilling: {name}"), value
    yield ("data", "networks a distilled set"), len(record.tasks)
    yield ("settings", "threads"), case.get("threads", unknown)


def label(record: Record) -> str:
    """Of all distilled sets that are otherwise alike."""
    case = record.case
    parts = [case["model"], case["method"], *([case["source"]] if case.get("source") else [])]
    return " ".join(parts + ([case["device"]] if case.get("device", "cpu") != "cpu" else []))


def case_changes(before: Record, after: Record) -> Found:
    """(outcome, interval over images and networks, flips and p) of one distilled set."""
    loss, lost, errors = _differences(before, after)
    flips = (int((lost > 0).sum()), int((lost < 0).sum()))
    exact = statistics.exact_sign_flip(lost.sum(axis=1))
    found: Found = [
        ("nll", statistics.contrast([loss]), {}),
        ("accuracy", statistics.contrast([lost]), {"flips": flips, "p": exact}),
    ]
    return found + [("ece", interval, {}) for interval in _over(errors)]


def group_changes(pairs: Sequence[tuple[Record, Record]]) -> Found:
    """The same over distilled sets, whose networks are averaged first; ECE only of two sets or more."""
    parts = [_differences(*pair) for pair in pairs]
    loss, lost = (np.stack([part[k].mean(axis=1) for part in parts], axis=1) for k in (0, 1))
    every = np.concatenate([part[1] for part in parts], axis=1)
    flips = (int((every > 0).sum()), int((every < 0).sum()))
    found: Found = [
        ("nll", statistics.contrast([loss]), {}),
        ("accuracy", statistics.contrast([lost]), {"flips": flips}),
    ]
    return found + [("ece", interval, {}) for interval in _over(np.array([part[2].mean() for part in parts]))]


def _differences(before: Record, after: Record) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Loss ``[n_images, nets]`` in nats, answers lost (1, 0, -1) of the same shape, ECE ``[nets]``."""
    sides = [[_net(record.tasks[name]) for name in before.tasks] for record in (before, after)]
    loss, right = ([np.stack([net[k] for net in side], axis=1) for side in sides] for k in (0, 1))
    errors = [np.array([net[2] for net in side]) for side in sides]
    return loss[1] - loss[0], right[0].astype(int) - right[1].astype(int), errors[1] - errors[0]


def _net(scores: Any) -> tuple[NDArray[Any], NDArray[Any], float]:
    rows = np.asarray(scores.loglikelihoods, float)
    right = np.asarray(scores.correct, bool)
    confidence = np.exp(rows.max(axis=1))
    error = statistics.expected_calibration_error(confidence, right, ECE_BINS, "left")
    return -rows[np.arange(len(rows)), scores.target], right, error


def _over(values: NDArray[Any]) -> list[Interval]:
    """The t interval of a mean, if there are two values."""
    return [statistics.paired_difference(values, np.zeros_like(values))] if values.size > 1 else []
