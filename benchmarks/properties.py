"""What a case leaves in its report, for the terminal and JUnit."""

from __future__ import annotations

import statistics
from typing import Any

from fixtures.records import PERPLEXITIES, Record


def properties(record: Record, found: bool) -> dict[str, Any]:
    """What a case leaves in its report: builtins, one scalar a property (JUnit and xdist need that)."""
    properties: dict[str, Any] = {"record": record.keys["record"], "found": bool(found)}
    if record.nll:
        # Over documents, as the tables have it: the dense model's line is the number that the report gives it, unless
        # that leaves a domain out as too far.
        loss = statistics.fmean(each for scores in record.nll.values() for each in scores.by_document)
        properties["nll"] = round(loss, 6)
        properties["finding"] = f"{loss:.3f} nats a token"
    for name, scores in record.tasks.items():
        correct = scores.correct_norm if scores.metric == "acc_norm" and scores.correct_norm else scores.correct
        properties[f"{name}_{scores.metric}"] = round(float(sum(correct)) / len(correct), 6)
    for name, texts in record.perplexity.items():
        properties |= {f"{name}_{metric}": round(float(texts.metrics[metric]), 4) for metric in PERPLEXITIES}
    return properties
