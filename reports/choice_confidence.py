"""Temperatures for multiple choice: fitted on other tasks' items of a record, used on a task's. No torch.

Choice probabilities are a softmax, so that their logarithms are logits up to a constant, which no temperature sees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressors.confidence import exact
from compressors.confidence.temperature import log_softmax
from fixtures.records import Record, TaskScores
from reports import statistics
from reports.groups import chosen

ABSENT = -1e7  # the logit of a choice that an item does not have: no temperature within bounds gives it a share
LEAST = 1e-30  # of a probability that was stored as 0


def choice_logits(scores: TaskScores) -> NDArray[np.float64]:
    """Logits ``[n_items, most choices]``; items with fewer choices are filled up. Raises ``ValueError`` without any."""
    width = max((len(row) for row in scores.probabilities), default=0)
    if width < 2:
        raise ValueError("a task with a single choice an item has no choice probabilities to calibrate")
    rows = np.full((len(scores.probabilities), width), ABSENT)
    for row, p in zip(rows, scores.probabilities, strict=True):
        row[: len(p)] = np.log(np.maximum(p, LEAST))
    return rows


def fit_temperature(record: Record, tasks: Sequence[str]) -> float:
    """One temperature for all items of ``tasks``, every task with the same weight, the exact optimum.

    Items are repeated to equal weight by their task's share, so a long task does not decide alone.
    """
    sizes = [len(record.tasks[t].target) for t in tasks]
    least = min(sizes)
    width = max(choice_logits(record.tasks[t]).shape[1] for t in tasks)
    rows, labels = [], []
    for task in tasks:
        found = choice_logits(record.tasks[task])
        # The same number of items of each, spread evenly.
        keep = np.linspace(0, len(found) - 1, least).round().astype(int)
        rows.append(np.pad(found[keep], ((0, 0), (0, width - found.shape[1])), constant_values=ABSENT))
        labels.append(np.asarray(record.tasks[task].target)[keep])
    return float(exact(np.concatenate(rows), np.concatenate(labels)).value)


def at_temperature(scores: TaskScores, temperature: float) -> dict[str, float]:
    """``ece`` (15 bins), ``brier``, ``nll`` (nats) and ``gap`` (confidence minus accuracy) at a temperature; shares."""
    found = log_softmax(choice_logits(scores), temperature)
    p, target, right = np.exp(found), np.asarray(scores.target), np.asarray(chosen(scores), float)
    confidence = p.max(1)
    return {
        "ece": statistics.expected_calibration_error(confidence, right, 15),
        "brier": statistics.brier(p, target),
        "nll": statistics.negative_log_likelihood(found, target),
        "gap": statistics.signed_gap(confidence, right),
    }


def across_tasks(record: Record, tasks: Sequence[str], fitted_on: Record | None = None) -> dict[str, dict[str, float]]:
    """{task: figures} with the temperature that the *other* tasks' items ask for.

    ``fitted_on`` is another record of the same model, for instance scored with masked tokens: masked scaling.
    Raises ``ValueError`` for fewer than two tasks with a choice.
    """
    if len(tasks) < 2:
        raise ValueError(f"a temperature is fitted on other tasks: two are needed, not {len(tasks)}")
    source = fitted_on or record
    found = {}
    for task in tasks:
        temperature = fit_temperature(source, [other for other in tasks if other != task])
        found[task] = {**at_temperature(record.tasks[task], temperature), "temperature": temperature}
    return found
