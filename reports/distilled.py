"""Distilled data: accuracy and calibration errors of the networks trained on it, by calibrator and source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressors.distillation.spelling import parse
from fixtures.records import Record
from reports import statistics
from reports.drawing import to_csv
from reports.numbers import signed

FIGURES = ("accuracy", "ece", "ece15", "adaptive", "classwise", "mce", "nll", "brier", "gap", "aurc")
NOTE = (
    "95 %: of ECE, bootstrap over the test images; by chance: the ECE that a perfectly calibrated model, as sure as "
    "this one, would show on as many images."
)


@dataclass(frozen=True)
class Spread:
    """Mean over distilled sets, and the SD between them (None for one set); networks of a set are averaged first."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class DistilledRow:
    """``trained`` is what the networks learned from; ``calibrator`` and ``source`` are empty where nothing is fitted.

    ``figures`` by name: shares, except ``nll`` (nats) and ``brier`` (0 to 2). ``gap`` is confidence minus accuracy.
    ``interval``: of ECE over resampled test images; ``bias``: the ECE of a perfectly calibrated model that is as sure.
    ``temperature``: the median; ``clamped``: networks whose temperature is a bound. ``share`` of published iterations.
    """

    trained: str
    calibrator: str
    source: str
    sets: int
    nets: int
    figures: dict[str, Spread]
    interval: tuple[float, float]
    bias: float
    temperature: float | None
    clamped: int
    share: float | None


@dataclass(frozen=True)
class DistilledTable:
    model: str
    rows: list[DistilledRow]
    budget: str
    data: str


def is_image(record: Record) -> bool:
    """Whether a record is of distilled data and not of a language model."""
    return record.case.get("kind") == "images"


def confidence_figures(log_probabilities: Sequence[Sequence[float]], target: Sequence[int]) -> dict[str, float]:
    """All of ``FIGURES`` of one network's test images, or of any items with equal numbers of choices."""
    rows, answers = np.asarray(log_probabilities, float), np.asarray(target)
    p = np.exp(rows)
    confidence, right = p.max(1), p.argmax(1) == answers
    return {
        "accuracy": float(right.mean()),
        "ece": statistics.expected_calibration_error(confidence, right, 10, "left"),
        "ece15": statistics.expected_calibration_error(confidence, right, 15),
        "adaptive": statistics.expected_calibration_error(confidence, right, 15, "mass"),
        "classwise": statistics.classwise_calibration_error(p, answers),
        "mce": statistics.maximum_calibration_error(confidence, right, 15, least=10),
        "nll": statistics.negative_log_likelihood(rows, answers),
        "brier": statistics.brier(p, answers),
        "gap": statistics.signed_gap(confidence, right),
        "aurc": statistics.area_under_risk_coverage(confidence, right),
    }


def distilled_tables(records: Sequence[Record]) -> list[DistilledTable]:
    """One table a network and image set, rows in the order of what they were trained on."""
    models: dict[str, dict[tuple[str, str, str], list[Record]]] = {}
    for record in records:
        if is_image(record) and record.tasks:
            method = parse(record.case["method"])
            key = (method.trained, str(method).removeprefix(method.trained).lstrip("+"), record.case["source"] or "")
            models.setdefault(record.case["model"], {}).setdefault(key, []).append(record)
    return [_table(model, groups) for model, groups in models.items()]


def _table(model: str, groups: dict[tuple[str, str, str], list[Record]]) -> DistilledTable:
    rows = [_row(*key, members) for key, members in sorted(groups.items())]
    head = ["trained", "calibrator", "source", "sets", "nets", "temperature", "clamped", "share"]
    names = [*head, *(f"{name}{end}" for name in FIGURES for end in ("", "_sd")), "ece_low", "ece_high", "ece_bias"]
    lines = [
        [getattr(row, name) for name in head]
        + [v for n in FIGURES for v in (row.figures[n].mean, row.figures[n].sd)]
        + [*row.interval, row.bias]
        for row in rows
    ]
    return DistilledTable(model, rows, _budget(groups), to_csv(names, lines))


def _row(trained: str, calibrator: str, source: str, records: Sequence[Record]) -> DistilledRow:
    sets = []
    for record in records:
        nets = [confidence_figures(scores.loglikelihoods, scores.target) for scores in record.tasks.values()]
        sets.append({name: float(np.mean([net[name] for net in nets])) for name in FIGURES})
    figures = {}
    for name in FIGURES:
        values = [one[name] for one in sets]
        figures[name] = Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)
    temperatures = [t for record in records for t in record.checks.get("temperature", [])]
    clamped = sum(sum(record.checks.get("clamped", [])) for record in records)
    share = records[0].compression.get("share")
    sure, right = _answers(records)
    interval = statistics.bootstrap_error(sure, right)
    bias = float(np.mean([statistics.bias_of_perfect(one, 10, "left", draws=10) for one in sure]))
    middle = float(np.median(temperatures)) if temperatures else None
    return DistilledRow(
        trained,
        calibrator,
        source,
        len(records),
        len(records[0].tasks),
        figures,
        interval,
        bias,
        middle,
        clamped,
        share,
    )


def _answers(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and rightness ``[networks, images]`` of all networks: they are asked the same test images."""
    rows = [np.asarray(scores.loglikelihoods, float) for record in records for scores in record.tasks.values()]
    right = [np.asarray(scores.correct, float) for record in records for scores in record.tasks.values()]
    return np.exp(np.stack([row.max(1) for row in rows])), np.stack(right)


def _budget(groups: dict[tuple[str, str, str], list[Record]]) -> str:
    """What was spent, in words, with the share of the published iterations."""
    spent: dict[str, Any] = {}
    for (trained, _, _), records in sorted(groups.items()):
        facts, backbone = records[0].compression, trained.split("+")[0]
        if facts.get("share") is not None:
            spent[backbone] = (
                f"{backbone} {facts['iterations']} iterations, {100 * facts['share']:.2g} % of the published"
            )
    return "; ".join(spent.values())


def percent(spread: Spread, digits: int = 1) -> str:
    """``"12.3 ±0.4"`` in points."""
    text = f"{100 * spread.mean:.{digits}f}"
    return text if spread.sd is None else f"{text} ±{100 * spread.sd:.{digits}f}"


def markdown(table: DistilledTable) -> str:
    """Points, but NLL in nats and Brier from 0 to 2."""
    lines = [
        "| trained on | calibrator | fitted on | accuracy | ECE | 95 % | by chance | confidence − accuracy | NLL | "
        "Brier | T |",
        "|---" * 11 + "|",
    ]
    for row in table.rows:
        f = row.figures
        clamped = f" ({row.clamped} clamped)" if row.clamped else ""
        warm = "" if row.temperature is None else f"{row.temperature:.2f}{clamped}"
        cells = [row.trained, row.calibrator or "–", row.source or "–", percent(f["accuracy"]), percent(f["ece"])]
        cells += [between(row.interval), f"{100 * row.bias:.1f}"]
        cells += [signed(100 * f["gap"].mean, 1), f"{f['nll'].mean:.3f}", f"{f['brier'].mean:.3f}", warm]
        lines.append("| " + " | ".join(cells) + " |")
    note = f"Means over distilled sets ± SD between them; ECE: ten bins closed on the left. {NOTE}"
    return "\n".join(lines) + f"\n\n{note} Budget: {table.budget or 'no distillation'}."


def between(interval: tuple[float, float], digits: int = 1) -> str:
    """``"11.9–12.8"`` in points."""
    return "–".join(f"{100 * end:.{digits}f}" for end in interval)


def text_lines(table: DistilledTable) -> list[str]:
    """For the terminal: ECE by what networks were trained on, a column a calibrator and source."""
    columns = list(
        dict.fromkeys(
            (row.calibrator, row.source) for row in sorted(table.rows, key=lambda r: (r.calibrator, r.source))
        )
    )
    heads = ["none" if not c else f"{c} {s}".strip() for c, s in columns]
    trained = list(dict.fromkeys(row.trained for row in table.rows))
    cells = {(row.trained, row.calibrator, row.source): percent(row.figures["ece"]) for row in table.rows}
    accuracy = {row.trained: percent(row.figures["accuracy"]) for row in table.rows if not row.calibrator}
    wide = [max(len(head), 10) for head in heads]
    first = max(len(name) for name in [*trained, "trained on"]) + 1
    lines = [f"{table.model}: ECE in points (ten bins), mean ± SD over distilled sets"]
    lines.append(
        "  "
        + "trained on".ljust(first)
        + "accuracy".rjust(11)
        + "".join(h.rjust(w + 2) for h, w in zip(heads, wide, strict=True))
    )
    for name in trained:
        found = (cells.get((name, *column), "").rjust(w + 2) for column, w in zip(columns, wide, strict=True))
        lines.append("  " + name.ljust(first) + accuracy.get(name, "").rjust(11) + "".join(found))
    return [*lines, f"  budget: {table.budget}"]
