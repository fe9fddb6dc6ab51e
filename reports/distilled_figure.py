"""Reliability of networks trained on distilled images: before and after each calibrator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressors.distillation.spelling import parse
from fixtures.records import Record
from reports import statistics
from reports.drawing import Drawing, to_csv
from reports.svg import PLACES, canvas, series, to_svg

BINS = 10
LINES = 8  # more cannot be told apart


def distilled_reliability(records: Sequence[Record]) -> list[Drawing]:
    """One a network: trained on the most images a class, uncalibrated in ink, calibrators in colour."""
    models: dict[str, list[Record]] = {}
    for record in records:
        if record.tasks:
            models.setdefault(record.case["model"], []).append(record)
    return [_drawing(model, _shown(held)) for model, held in models.items()]


def _shown(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by line, of one thing to train on: distilled if there is any, without MDT, most images."""

    def rank(record: Record) -> tuple[bool, bool, int, str]:
        method = parse(record.case["method"])
        return method.backbone != "random", not method.mdt, method.ipc, method.trained

    first = parse(max(records, key=rank).case["method"]).trained
    lines: dict[str, list[Record]] = {first: []}
    for record in records:
        method = parse(record.case["method"])
        if method.trained == first:
            name = f"+{method.calibrator} on {record.case['source']}" if method.calibrator else first
            lines.setdefault(name, []).append(record)
    return {name: held for name, held in list(lines.items())[:LINES] if held}


def _drawing(model: str, lines: dict[str, list[Record]]) -> Drawing:
    data = []
    with canvas(5.2, 3.9) as (figure, axes):
        ax = axes[0, 0]
        ax.plot([0, 1], [0, 1], color=PLACES["soft"], linewidth=0.9, linestyle=(0, (4, 3)))
        for k, (name, records) in enumerate(lines.items()):
            p = np.exp(np.concatenate([s.loglikelihoods for r in records for s in r.tasks.values()]))
            right = np.concatenate([s.correct for r in records for s in r.tasks.values()])
            bins = statistics.reliability(p.max(1), right, BINS, "left")
            data += [[name, b.confidence, b.accuracy, b.n] for b in bins]
            colour, marker = (PLACES["ink"], "o") if k == 0 else series(k - 1)
            points = [[b.confidence for b in bins], [b.accuracy for b in bins]]
            ax.plot(*points, color=colour, marker=marker, linewidth=1.3, markersize=4.2, label=name)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.grid(True, axis="y")
        ax.set_xlabel("confidence in the likeliest class")
        ax.set_ylabel("share right")
        figure.legend(loc="outside right upper", fontsize=8.5)
        svg = to_svg(figure, f"{model}: reliability diagram")
    caption = f"{BINS} bins of equal width, distilled sets and networks pooled; dashed: confidence equals accuracy."
    header = ["trained and calibrated", "confidence", "accuracy", "items"]
    return Drawing(f"{model}-reliability", f"{model}: confidence against accuracy", caption, svg, to_csv(header, data))
