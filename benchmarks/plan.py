"""``--dry-run``: the cases a command would run, how much text they calibrate on, and what that costs on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.estimate import estimate
from benchmarks.estimate_images import estimate_images
from compressors.distillation.schedules import PUBLISHED
from fixtures.image_cases import ImageCase
from fixtures.records import Case, DrawSpec, EvaluationSpec


def plan(cases: list[Case], images: Sequence[ImageCase] = ()) -> str:
    """One line a model and method, then the totals; those of cases of distilled images apart."""
    parts = [_language(cases)] if cases else []
    return "\n".join([*parts, _images(images)] if images else parts)


def _language(cases: list[Case]) -> str:
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.model, case.method), []).append(case)
    lines = [f"{'model':<32} {'method':<28} {'cases':>6}  draws"]
    for (model, method), group in groups.items():
        lines.append(f"{model:<32} {method:<28} {len(group):>6}  {_draws(group)}")
    tokens = sum(case.draw.n_sequences * case.draw.sequence_length for case in cases if case.draw)
    lines.append(f"{len(cases)} cases, {tokens:,} calibration tokens")
    lines += [
        f"{count:,} of them scored on {_scored(spec)}" for spec, count in Counter(c.evaluation for c in cases).items()
    ]
    lines.append(f"{estimate(cases)} (from measured rates; processes that share a GPU take less)")
    return "\n".join(lines)


def _draws(cases: Sequence[Case]) -> str:
    """Draws, sequences x length and sources of each amount: ``10 of 44 x 512 tokens from c4; 10 of ...``."""
    shapes: dict[tuple[int, int], list[DrawSpec]] = {}
    for case in cases:
        if case.draw:
            shapes.setdefault((case.draw.sequence_length, case.draw.n_sequences), []).append(case.draw)
    alike: dict[tuple[int, int, str], list[int]] = {}  # amounts of the same draws
    for (length, amount), draws in sorted(shapes.items()):
        sources = ", ".join(sorted({draw.source for draw in draws}))
        alike.setdefault((len({draw.seed for draw in draws}), length, sources), []).append(amount)
    said = [
        f"{seeds} of {', '.join(map(str, amounts))} x {length} tokens from {sources}"
        for (seeds, length, sources), amounts in alike.items()
    ]
    return "; ".join(said) or "no calibration"


def _scored(spec: EvaluationSpec) -> str:
    """``9 tasks (arc_easy, ...), 500 items each at most, and the loss on 7 texts (...)``."""
    parts = []
    if spec.tasks:
        items = "all items" if spec.items is None else f"{spec.items:,} items each at most"
        parts.append(f"{_counted(len(spec.tasks), 'task')} ({', '.join(spec.tasks)}), {items}")
    if spec.domains:
        documents = f"{spec.documents} documents of {spec.document_tokens:,} tokens at most"
        parts.append(f"the loss on {_counted(len(spec.domains), 'text')} ({', '.join(spec.domains)}), {documents}")
    return ", and ".join(parts) + (f", words of prompts changed ({spec.inputs})" if spec.inputs else "")


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


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
    return f"{iterations:,} iterations, {100 * iterations / PUBLISHED[method.backbone]:.3g} % of the published"
