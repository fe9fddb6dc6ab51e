"""Answers from lm-eval's ``--log_samples`` files: which items, right or wrong, on how many runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gates_settings import GateError

NAME = re.compile(r"samples_(?P<task>.+?)_\d{4}-\d\d-\d\dT[^/]*\.jsonl$")
PREFERRED = ("acc", "exact_match", "acc_norm")

PERPLEXITY = {"word_perplexity", "byte_perplexity", "bits_per_byte"}

Item = tuple[str, str, int]


@dataclass(frozen=True)
class TaskRuns:
    """``correct`` is 0/1 ``[n_items, n_runs]``; ``items`` are (document hash, prompt hash, n-th time)."""

    task: str
    metric: str
    items: list[Item]
    correct: np.ndarray
    chance: float
    majority: float


def read_folder(folder: Path, metric: str | None = None) -> dict[str, TaskRuns]:
    """Every task below ``folder``; files of one task are runs (seeds). Raises :class:`GateError` naming the file."""
    if not folder.is_dir():
        raise GateError(f"{folder} is no folder; expected the --output_path of a run of lm-eval with --log_samples")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("samples_*.jsonl")):
        match = NAME.search(path.name)
        if match:
            files.setdefault(match["task"], []).append(path)
    if not files:
        raise GateError(f"{folder} holds no samples_<task>_<date>.jsonl; run lm-eval with --log_samples")
    judged = {task: paths for task, paths in files.items() if not _is_perplexity(paths[0])}
    if not judged:
        raise GateError(f"{folder} holds perplexities only; the gate compares right and wrong answers")
    return {task: _read_task(task, paths, metric) for task, paths in judged.items()}


def _is_perplexity(path: Path) -> bool:
    """Loss on whole texts has no right or wrong: it may lie beside the tasks, and is not judged."""
    rows = _read_rows(path)
    return bool(rows[0].get("metrics")) and set(rows[0]["metrics"]) <= PERPLEXITY


def _read_task(task: str, paths: list[Path], metric: str | None) -> TaskRuns:
    columns: list[dict[Item, int]] = []
    chosen, rows = "", []
    for path in paths:
        rows = _read_rows(path)
        chosen = _metric(path, rows, metric)
        columns.append(_answers(rows, chosen))
        if columns[-1].keys() != columns[0].keys():
            raise GateError(f"{path} has other items or prompts than {paths[0]}; runs of one side must share them")
    items = sorted(columns[0])
    correct = np.array([[column[item] for column in columns] for item in items])
    choices = Counter(len(row.get("filtered_resps") or [0]) for row in rows).most_common(1)[0][0]
    targets = Counter(str(row.get("target")) for row in rows)
    # With one continuation (a last word, a generated answer) nothing can be guessed.
    chance = 1 / choices if choices > 1 else 0.0
    majority = targets.most_common(1)[0][1] / len(rows) if choices > 1 else 0.0
    return TaskRuns(task, chosen, items, correct, chance, majority)


def _answers(rows: list[dict[str, Any]], metric: str) -> dict[Item, int]:
    """Right or wrong by item; an item that a data set holds twice is counted twice."""
    seen: Counter[tuple[str, str]] = Counter()
    answers: dict[Item, int] = {}
    for row in rows:
        item = (row["doc_hash"], row["prompt_hash"])
        answers[(*item, seen[item])] = int(bool(row[metric]))
        seen[item] += 1
    return answers


def _read_rows(path: Path) -> list[dict[str, Any]]:
    try:
        # Not splitlines: lm-eval writes U+2028 and U+0085 of a document as they are, inside of a line.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise GateError(f"{path} cannot be read: {error}") from error
    wanted = {"doc_hash", "prompt_hash"}
    if not rows or any(not isinstance(row, dict) or not wanted <= row.keys() for row in rows):
        raise GateError(f"{path}: expected one object a line with doc_hash and prompt_hash, as lm-eval >= 0.4.3 writes")
    # One row an item: several filters of a generated answer repeat it, and the first is the strict one.
    first = rows[0].get("filter")
    return [row for row in rows if row.get("filter") == first]


def _metric(path: Path, rows: list[dict[str, Any]], wanted: str | None) -> str:
    """A metric of zeros and ones that every row has."""
    binary = [
        name
        for name in rows[0]
        if name in rows[0].get("metrics", list(rows[0]))
        and all(row.get(name) in (0, 1, 0.0, 1.0, True, False) for row in rows)
    ]
    if wanted is not None and wanted in binary:
        return wanted
    for name in (*PREFERRED, *binary):
        if name in binary and wanted is None:
            return name
    listed = ", ".join(binary) or "none"
    raise GateError(f"{path}: no metric {wanted or 'of zeros and ones'} to pair; metrics of zeros and ones: {listed}")
