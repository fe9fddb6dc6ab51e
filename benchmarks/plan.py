"""``--dry-run``: the cases a command would run, how much text they calibrate on, and what that costs on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.estimate import estimate
from benchmarks.estimate_images import estimate_images
from compressors.distillation.schedules import PUBLISHED
from fixtures.image_cases import ImageCase
from fixtures.records import Case


def plan(cases: list[Case], images: Sequence[ImageCase] = ()) -> str:
    """One line a model and method, then the totals; those of cases of distilled images apart."""
    parts = [_language(cases)] if cases else []
    return "\n".join([*parts, _images(images)] if images else parts)


def _language(cases: list[Case]) -> str:
    counts = Counter((case.model, case.method) for case in cases)
    lines = [f"{'model':<32} {'method':<28} {'cases':>6}  draws"]
    for (model, method), count in counts.items():
        group = [case.draw for case in cases if (case.model, case.method) == (model, method) and case.draw]
        what = "no calibration"
        if group:
            sources = sorted({draw.source for draw in group})
            shape = f"{group[0].n_sequences} x {group[0].sequence_length}"
            what = f"{len({draw.seed for draw in group})} of {shape} tokens from {', '.join(sources)}"
        lines.append(f"{model:<32} {method:<28} {count:>6}  {what}")
    tokens = sum(case.draw.n_sequences * case.draw.sequence_length for case in cases if case.draw)
    lines.append(f"{len(cases)} cases, {tokens:,} calibration tokens")
    lines.append(f"{estimate(cases)} (from measured rates; processes that share a GPU take less)")
    return "\n".join(lines)


def _images(cases: Sequence[ImageCase]) -> str:
    """A line a network and what it is trained on: calibrators, sources, seeds and share of published iterations."""
    groups: dict[tuple[str, str], list[ImageCase]] = {}
    for case in cases:
        groups.setdefault((case.model, case.distillation.trained), []).append(case)
    lines = [f"{'images and network':<32} {'trained on':<28} {'cases':>6}  distilled sets, calibrators, iterations"]
    for (model, trained), group in groups.items():
        calibrators = list(dict.fromkeys(case.distillation.calibrator or "none" for case in group))
        sets = len({case.seed for case in group})
        what = f"{sets} sets x {group[0].budget.nets} nets; {', '.join(calibrators)}; {_budget(group[0])}"
        lines.append(f"{model:<32} {trained:<28} {len(group):>6}  {what}")
    return "\n".join([*lines, f"{len(cases):,} cases of distilled images", str(estimate_images(cases))])


def _budget(case: ImageCase) -> str:
    method = case.distillation
    if method.backbone == "random":
        return "random real images"
    iterations = case.budget.of(method.backbone, method.ipc)
    return f"{iterations:,} iterations, {iterations / PUBLISHED[method.backbone]:.3g} of the published"
