"""Reliability of networks trained on distilled images: before and after each calibrator, a panel each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressors.distillation.spelling import parse
from fixtures.records import Record
from reports.confidence import BINS
from reports.drawing import Drawing
from reports.reliability import Line, line, pages


def distilled_reliability(records: Sequence[Record]) -> list[Drawing]:
    """Figures of each network: whatever it was trained on uncalibrated in ink, then calibrated in colour."""
    models: dict[str, list[Record]] = {}
    for record in records:
        if record.tasks:
            models.setdefault(record.case["model"], []).append(record)
    caption = (
        f"{BINS} bins of equal width closed on the left, distilled sets and networks pooled; a mark's area is the "
        "share of images in its bin. On the dashed line confidence equals accuracy; the thin line is the same network "
        "uncalibrated. ECE: of the pooled images, points."
    )
    return [
        drawing
        for model, held in models.items()
        for drawing in pages(f"{model}: confidence against accuracy", f"{model}-reliability", _lines(held), caption)
    ]


def _lines(records: Sequence[Record]) -> list[Line]:
    """One for each thing to train on, calibrator and source; the uncalibrated first, as reference of the others."""
    held: dict[str, dict[tuple[str, str], list[Record]]] = {}
    for record in records:
        method = parse(record.case["method"])
        source = record.case["source"] or ""
        calibrator = str(method).removeprefix(method.trained).lstrip("+")
        held.setdefault(method.trained, {}).setdefault((calibrator, source), []).append(record)
    found = []
    for trained, parts in sorted(held.items()):
        reference = None
        for (calibrator, source), members in sorted(parts.items()):
            name = f"{trained} +{calibrator} {source}" if calibrator else trained
            one = line(name, *_items(members), reference, "left")
            reference = reference or (None if calibrator else one)
            found.append(one)
    return found


def _items(records: Sequence[Record]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Confidence and rightness of every image of every network."""
    p = np.exp(np.concatenate([s.loglikelihoods for r in records for s in r.tasks.values()]))
    return p.max(1), np.concatenate([s.correct for r in records for s in r.tasks.values()]).astype(float)
