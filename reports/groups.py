"""Records as arrays: what was compressed alike is one group, a matrix items x draws for every source.

Damage is nats a token (per document) minus the dense model's on the same document; accuracies are shares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fixtures.fingerprints import canonical_json
from fixtures.records import Record, label
from reports.naming import label_of, name_groups

FAR = 2.0  # nats a token above the best domain: text that the dense model does not model
# Sources that nobody would ship: shown, never recommended, not pooled.
CONTROLS = ("random-tokens", "ellipsis", "alphanumeric")


def is_calibrated(method: str) -> bool:
    """Does the method look at calibration data at all?"""
    import compressors

    return compressors.parse(method).calibrated


@dataclass
class Group:
    """All cases that differ only in source and seed. ``records`` are by case id; ``label`` names it everywhere."""

    label: str
    model: str
    method: str
    cases: list[dict[str, Any]]
    records: dict[str, Record]
    dense: Record | None
    dense_id: str | None = None
    common: tuple[str, ...] = ()  # words of the label that every group of the run has
    usual: str = ""  # the amount of most groups of the model, which its name need not say
    variant: str = ""  # how its evaluation differs from the first of the model: figures of two are not comparable

    @property
    def name(self) -> str:
        """The model without its path or owner."""
        return label(self.model)

    @property
    def title(self) -> str:
        """The model, and its evaluation if the run has several: what shares a table."""
        return f"{self.name} {self.variant}".rstrip()

    @property
    def words(self) -> list[str]:
        """``label`` without the model: the method, then whatever is not the default."""
        return self.label.removeprefix(f"{self.name} ").split(" ")

    @property
    def size(self) -> str:
        """Sequences and their length of one draw."""
        draw = self.cases[0]["draw"]
        return f"{draw['n_sequences']}x{draw['sequence_length']}"

    @property
    def setting(self) -> str:
        """What tells the group from others of the same method and table, for instance an amount; often nothing."""
        hidden = {*self.common, *self.variant.split(), self.usual}
        return " ".join(word for word in self.words[1:] if word not in hidden)

    @property
    def method_name(self) -> str:
        """Method and setting: its name within a table."""
        return f"{self.words[0]} {self.setting}".rstrip()

    @cached_property
    def missing(self) -> list[str]:
        """Ids of planned cases that have no record, the dense one included."""
        missing = [case["id"] for case in self.cases if case["id"] not in self.records]
        return missing + ([self.dense_id] if self.dense_id and self.dense is None else [])

    @property
    def planned_records(self) -> int:  # its cases, and the dense model
        return len(self.cases) + bool(self.dense_id)

    @cached_property
    def draws(self) -> dict[str, list[Record]]:
        """Records of each source, in order of seed; sources in the order of the manifest."""
        found: dict[str, list[tuple[int, Record]]] = {}
        for case in self.cases:
            if case["draw"] and case["id"] in self.records:
                source = label(case["draw"]["source"])
                found.setdefault(source, []).append((case["draw"]["seed"], self.records[case["id"]]))
        return {source: [r for _, r in sorted(rows, key=lambda row: row[0])] for source, rows in found.items()}

    @property
    def planned_draws(self) -> int:
        """Most draws that the manifest has of any source."""
        counts = Counter(case["draw"]["source"] for case in self.cases if case["draw"])
        return max(counts.values(), default=0)

    @property
    def planned_sources(self) -> set[str]:
        """Of the manifest, without those that nobody would ship."""
        return {label(case["draw"]["source"]) for case in self.cases if case["draw"]} - set(CONTROLS)

    @property
    def sources(self) -> list[str]:
        return list(self.draws)

    @cached_property
    def far_domains(self) -> dict[str, float]:
        """Domains that are scored but not judged, with the dense loss: more than two nats a token above the best one.

        Pruning can *lower* the loss on text that a model does not know, and that is no merit of the calibration data.
        """
        if self.dense is None or not self.dense.nll:
            return {}
        losses = {name: float(np.mean(_per_document(scores))) for name, scores in self.dense.nll.items()}
        return {name: loss for name, loss in losses.items() if loss > min(losses.values()) + FAR}

    @cached_property
    def documents(self) -> list[tuple[str, str]]:
        """(domain, document hash) of every held-out document judged, in the order of the rows of a loss matrix."""
        first = next(iter(self.records.values()), self.dense)
        return self._documents(first) if first else []

    def _documents(self, record: Record) -> list[tuple[str, str]]:
        return [(domain, h) for domain, scores in self._judged(record) for h in scores.document_hash]

    def _judged(self, record: Record) -> list[tuple[str, Any]]:
        return [(name, scores) for name, scores in sorted(record.nll.items()) if name not in self.far_domains]

    def loss(self, source: str) -> np.ndarray:
        """Nats a token ``[n_documents, n_draws]``; raises ``ValueError`` if draws were scored on other documents."""
        return np.stack([self.losses(record) for record in self.draws[source]], axis=1)

    def damage(self, source: str) -> np.ndarray:
        """Loss minus the dense model's; raises ``ValueError`` without a dense record."""
        return self.loss(source) - self.dense_loss[:, None]

    @cached_property
    def dense_loss(self) -> np.ndarray:
        if self.dense is None:
            raise ValueError(f"no record of the dense model ({self.dense_id or self.model}): damage cannot be computed")
        return self.losses(self.dense)

    def losses(self, record: Record) -> np.ndarray:
        """Nats a token of every judged document; raises ``ValueError`` if the record is of other documents or files."""
        if self._documents(record) != self.documents:
            raise ValueError(f"{record.id} was scored on other documents than the rest of {self.label}")
        if self.dense is not None and record.keys.get("model_hash") != self.dense.keys.get("model_hash"):
            raise ValueError(f"{record.id} and {self.dense.id} are of different files of the model: run both again")
        if self.dense is not None and any(s.tokens != self.dense.nll[name].tokens for name, s in self._judged(record)):
            raise ValueError(f"{record.id} and {self.dense.id} cut the documents into different tokens")
        parts = [_per_document(scores) for _, scores in self._judged(record)]
        return np.concatenate(parts) if parts else np.empty(0)

    @cached_property
    def tasks(self) -> list[str]:
        first = next(iter(self.records.values()), self.dense)
        return sorted(first.tasks) if first else []

    @cached_property
    def informative(self) -> list[str]:
        """Tasks on which the dense model is surely above chance and above the most frequent answer."""
        return [task for task in self.tasks if self.dense is not None and is_informative(self.dense, task)]

    def correct(self, source: str, tasks: Sequence[str]) -> np.ndarray:
        """0/1 ``[n_items, n_draws]`` over the items of ``tasks``, one task after the other."""
        return np.stack([answers(record, tasks) for record in self.draws[source]], axis=1)

    def items(self, tasks: Sequence[str]) -> list[tuple[str, str, str]]:
        """(task, document hash, prompt hash) of the rows of ``correct``."""
        first = next(iter(self.records.values()))
        return task_items(first, tasks)


def is_informative(dense: Record, task: str) -> bool:
    """Lower 95 % Wilson bound of the dense accuracy above chance and majority class."""
    from reports.statistics import wilson

    scores = dense.tasks.get(task)
    if scores is None or not scores.correct:
        return False
    right = chosen(scores)
    return wilson(sum(right), len(right))[0] > max(scores.chance, scores.majority)


def chosen(scores: Any) -> list[int]:
    """The right/wrong of the accuracy that is used for this task."""
    return scores.correct_norm if scores.metric == "acc_norm" and scores.correct_norm is not None else scores.correct


def answers(record: Record, tasks: Sequence[str]) -> np.ndarray:
    return np.concatenate([np.asarray(chosen(record.tasks[task]), int) for task in tasks])


def task_items(record: Record, tasks: Sequence[str]) -> list[tuple[str, str, str]]:
    rows = ((task, record.tasks[task]) for task in tasks)
    return [(task, d, p) for task, s in rows for d, p in zip(s.document_hash, s.prompt_hash, strict=True)]


def _per_document(scores: Any) -> np.ndarray:
    """Nats a token of each document of a domain."""
    return np.asarray(scores.by_document)


def _variant(case: dict[str, Any]) -> tuple[Any, ...]:
    """Everything of a case but source and seed, hashable."""
    draw = {k: v for k, v in (case.get("draw") or {}).items() if k not in ("source", "seed", "slices")}
    rest = {k: v for k, v in case.items() if k not in ("id", "draw")}
    return canonical_json(rest), canonical_json(draw)


def _dense_key(case: dict[str, Any]) -> tuple[Any, ...]:
    names = ("model", "evaluation", "dtype", "device", "threads", "batch_size")
    return tuple(canonical_json(case.get(name)) for name in names)


def make_groups(manifest: dict[str, Any], records: Iterable[Record]) -> list[Group]:
    """Groups of the manifest's compressed cases, in its order. Records that it does not name are left out."""
    by_id = {record.id: record for record in records}
    plans: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    dense_ids: dict[tuple[Any, ...], str] = {}
    for case in manifest["cases"]:
        if case.get("control"):
            continue  # made again to measure the machine (gates_controls): no draw of its own
        if case["draw"] is None:
            dense_ids.setdefault(_dense_key(case), case["id"])
        else:
            plans.setdefault(_variant(case), []).append(case)
    groups = []
    for cases in plans.values():
        dense_id = dense_ids.get(_dense_key(cases[0]))
        held = {case["id"]: by_id[case["id"]] for case in cases if case["id"] in by_id}
        dense = by_id.get(dense_id) if dense_id else None
        groups.append(Group(label_of(cases[0]), cases[0]["model"], cases[0]["method"], cases, held, dense, dense_id))
    name_groups(groups)
    return groups


@dataclass(frozen=True)
class Outcome:
    """What a group is judged on: ``values[source]`` ``[n_items, n_draws]``, higher is worse.

    ``loss`` is nats a token minus dense; ``accuracy`` is the share of right answers that the dense model had and the
    compressed one lost. Without a dense record they are the loss and the share of wrong answers themselves.
    """

    name: str
    unit: str
    values: dict[str, np.ndarray]
    relative: bool

    def pooled(self, controls: bool = False) -> list[np.ndarray]:
        """One matrix a source, random tokens left out unless there is nothing else."""
        kept = [matrix for source, matrix in self.values.items() if controls or source not in CONTROLS]
        return kept or list(self.values.values())

    def flips(self) -> tuple[int, int] | None:
        """Answers lost and gained against dense over the draws of :meth:`pooled`; None for a loss."""
        if self.name == "loss":
            return None
        stacked = np.concatenate(self.pooled(), axis=1)
        return int((stacked > 0).sum()), int((stacked < 0).sum())

    def means(self, source: str) -> np.ndarray:
        """One value a draw."""
        return self.values[source].mean(axis=0)


def loss_outcome(group: Group) -> Outcome:
    """Raises ``ValueError`` if the draws were scored on different documents."""
    known = group.dense is not None and bool(group.dense.nll)
    reference = group.dense_loss[:, None] if known else 0.0
    return Outcome("loss", "nats a token", {s: group.loss(s) - reference for s in group.sources}, known)


def accuracy_outcome(group: Group) -> Outcome:
    """On the informative tasks; raises ``ValueError`` without any, or if items or prompts differ between draws."""
    tasks = group.informative
    if group.dense is None or not tasks:
        raise ValueError("no task is informative: the dense model is not surely above chance and majority class")
    if any(task_items(r, tasks) != group.items(tasks) for r in [*group.records.values(), group.dense]):
        raise ValueError("the tasks were not scored on the same items and prompts throughout")
    reference = answers(group.dense, tasks)[:, None]
    return Outcome("accuracy", "share", {s: reference - group.correct(s, tasks) for s in group.sources}, True)


OUTCOMES = {"loss": loss_outcome, "accuracy": accuracy_outcome}


def planned_outcomes(group: Group) -> list[str]:
    """The outcomes that the manifest promises for the group, whatever the records hold."""
    spec = group.cases[0]["evaluation"]
    return [name for name, key in (("loss", "domains"), ("accuracy", "tasks")) if spec.get(key)]
