"""The outcomes that verdicts rest on, item by item, so that their mean over the items is the outcome itself.

``nll``: nats a token on neutral text, every domain with the same weight. ``bpb``: bits a byte of the right answer,
``acc_inf``: points of accuracy lost, both the mean over the informative tasks. ``acc9``: points lost, the unweighted
mean over all tasks. Higher is worse throughout.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fixtures.records import Record
from reports.groups import FAR, chosen, is_informative

__all__ = ["DESCRIBED", "FAR", "VERDICT", "informative", "loss", "unit", "vector"]

DESCRIBED = {
    "nll": "loss on neutral text (a domain that is neither a calibration source nor training text)",
    "bpb": "bits a byte of right answers on an informative task",
    "acc_inf": "informative task",
    "acc9": "task",
}
VERDICT = ("nll", "bpb")  # verdicts are taken on these; the rest is shown beside them
UNITS = {"nll": "nats a token", "bpb": "bits a byte", "acc_inf": "points", "acc9": "points"}


def unit(outcome: str) -> str:
    kind, _, _ = outcome.partition(":")
    return UNITS.get(outcome, {"domain": "nats a token", "bpb": "bits a byte", "acc": "points"}.get(kind, ""))


def vector(record: Record, dense: Record, outcome: str, neutral: tuple[str, ...]) -> np.ndarray | None:
    """One value an item, whose mean is the outcome; None if the record lacks it.

    Besides the four there are ``domain:NAME``, ``bpb:TASK`` and ``acc:TASK``. Tasks are informative by ``dense``.
    """
    kind, _, name = outcome.partition(":")
    if outcome == "nll":
        return _joined([_domain(record, domain) for domain in neutral])
    if kind == "domain":
        return _joined([_domain(record, name)])
    tasks = [name] if name else informative(dense) if outcome != "acc9" else sorted(dense.tasks)
    if kind == "bpb":
        return _joined([_bits(record, task) for task in tasks])
    return _joined([_lost(record, task) for task in tasks])


def same_items(record: Record, dense: Record) -> bool:
    """Whether what both were scored on is the same, one by one: as many documents of other files are others."""
    both: list[tuple[Any, Any]] = [(record.nll[n], dense.nll[n]) for n in record.nll.keys() & dense.nll.keys()]
    both += [(record.tasks[n], dense.tasks[n]) for n in record.tasks.keys() & dense.tasks.keys()]
    return all(held.document_hash == reference.document_hash for held, reference in both)


_INFORMATIVE: dict[int, tuple[Record, list[str]]] = {}  # holding a record keeps its id


def informative(dense: Record) -> list[str]:
    if id(dense) not in _INFORMATIVE:
        _INFORMATIVE[id(dense)] = dense, [task for task in sorted(dense.tasks) if is_informative(dense, task)]
    return list(_INFORMATIVE[id(dense)][1])


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Parts of different sizes with the same weight each."""
    if not parts or any(part is None or not part.size for part in parts):
        return None
    total = sum(part.size for part in parts if part is not None)
    return np.concatenate([part * (total / (len(parts) * part.size)) for part in parts if part is not None])


def _domain(record: Record, name: str) -> np.ndarray | None:
    scores = record.nll.get(name)
    return None if scores is None else np.asarray(scores.by_document)


def _bits(record: Record, task: str) -> np.ndarray | None:
    scores: Any = record.tasks.get(task)
    sizes = getattr(scores, "answer_bytes", None)
    if scores is None or sizes is None:
        return None
    right = np.array([values[t] for values, t in zip(scores.loglikelihoods, scores.target, strict=True)])
    return -right / math.log(2) / (sum(sizes) / len(sizes))


def _lost(record: Record, task: str) -> np.ndarray | None:
    scores = record.tasks.get(task)
    return None if scores is None else -100.0 * np.asarray(chosen(scores), float)


def loss(scores: Any) -> float:
    """Mean over documents of nats a token."""
    return float(np.mean(scores.by_document))
