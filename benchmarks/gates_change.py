"""Gates about change: against the stored baseline (loss or answers) and against the dense model.

A gate fails only if the change is significant, after the family correction, *and* larger than its margin. It passes
if the interval excludes a change as large as the margin. If its minimum detectable effect, computed from the
baseline's own spread, exceeds the margin it is refused: it can then never pass, and fails only if the whole interval
lies beyond the margin.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.gates_baseline import (
    LOSS_DIGITS,
    columns,
    document_ids,
    is_new_version,
    item_ids,
    numbers,
    of_version,
    retraining_sd,
    unpack,
    without_rounding,
)
from benchmarks.gates_settings import Settings
from fixtures.records import Verdict
from reports import statistics
from reports.groups import Group, Outcome, answers
from reports.statistics import Interval


def decide(interval: Interval, margin: float, detectable: float | None) -> str:
    """``fail`` still has to survive the family correction."""
    if detectable is not None and detectable > margin:
        return "fail" if interval.low > margin else "refused"
    if interval.estimate > margin:
        return "fail"
    return "pass" if interval.high < margin else "inconclusive"


def judgement(
    base: dict[str, Any],
    interval: Interval,
    margin: float,
    detectable: float | None,
    need: str,
    show: Callable[[float], str] = "{:.4g}".format,
) -> Verdict:
    """A verdict with its words; ``need`` says what would bring the detectable effect down to the margin, ``show`` how
    an effect is written."""
    outcome = decide(interval, margin, detectable)
    words = {
        "pass": f"a rise beyond the margin of {show(margin)} is excluded",
        "fail": f"worse than the margin of {show(margin)} allows",
        "inconclusive": f"the interval does not exclude a rise beyond the margin of {show(margin)}",
        "refused": f"it could only see {show(detectable or 0)}, more than its margin of {show(margin)}; {need}",
    }
    base = {"p": interval.p_greater(), **base}
    return Verdict(
        **base,
        outcome=outcome,
        reason=words[outcome],
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        margin=margin,
        detectable=detectable,
    )


def regression_loss(
    group: Group, outcome: Outcome, settings: Settings, baseline: dict[str, Any], entry: dict[str, Any], family: int
) -> Verdict:
    """Damage a document, averaged over sources and draws, against the baseline's; the items and draws are paired."""
    base: dict[str, Any] = {
        "gate": "regression",
        "subject": group.label,
        "unit": outcome.unit,
        "records": tuple(group.records),
    }
    stored = entry.get("loss")
    if not stored or stored["documents"] != document_ids(group):
        why = (
            "the baseline was scored on other documents (their hashes differ)" if stored else "no loss in the baseline"
        )
        return Verdict(**base, outcome="inconclusive", reason=why)
    new = is_new_version(group, entry)
    retrained = entry["model_hash"] != _model_hash(group) and not new
    spread = retraining_sd(baseline, group.model, group.method, "loss") if retrained else 0.0
    if spread is None:
        why = "the model was retrained here and the baseline does not say how much retraining alone changes"
        return Verdict(**base, outcome="inconclusive", reason=why)
    matrix = np.concatenate([outcome.values[s] for s in columns(group)], axis=1)
    by_item = without_rounding(matrix.mean(axis=1) - numbers(stored["damage"]), LOSS_DIGITS)
    by_draw = without_rounding(matrix.mean(axis=0) - numbers(stored["draw_means"]), LOSS_DIGITS)
    extra = math.sqrt(2) * spread
    interval = _paired_interval(
        by_item, by_draw, [len(group.draws[s]) for s in columns(group)], settings.confidence
    ).widened(extra)
    margin = settings.need("regression_margin", group)
    detectable = None
    n_draws = matrix.shape[1]
    if stored["draw_error"] is not None:
        error = math.hypot(math.sqrt(2) * stored["draw_error"], extra)
        detectable = statistics.detectable_difference(error, settings.alpha / family, settings.power)
    need = f"it needs about {statistics.items_needed(detectable or 0, margin, n_draws)} draws instead of "
    need += f"{n_draws}, or a larger regression_margin"
    if statistics.detectable_difference(extra, settings.alpha / family, settings.power) > margin:
        need = "retraining the model alone changes more: raise the margin, or ship the weights"
    details = {"retrained": retrained, "retraining_sd": spread, "items": len(by_item), "draws": n_draws}
    verdict = of_version(judgement({**base, "details": details}, interval, margin, detectable, need), new)
    return _beside_dense(verdict, group, stored, settings.confidence) if new else verdict


def _beside_dense(verdict: Verdict, group: Group, stored: dict[str, Any], confidence: float) -> Verdict:
    """Damage is each version's own: what the versions differ by without compression is said beside it, not judged."""
    if "dense" not in stored or group.dense is None:
        return verdict
    apart = without_rounding(group.dense_loss - numbers(stored["dense"]), LOSS_DIGITS)
    error = float(np.std(apart, ddof=1)) / math.sqrt(apart.size)
    moved = Interval.of_t(float(apart.mean()), error, apart.size - 1, confidence)
    said = f"uncompressed it has {moved.estimate:+.2g} nats a token ({moved.low:.2g} to {moved.high:.2g}) against that "
    details = {**verdict.details, "dense_moved": [moved.estimate, moved.low, moved.high]}
    return dataclasses.replace(verdict, reason=f"{verdict.reason}; {said}one, which is not judged", details=details)


def _paired_interval(by_item: np.ndarray, by_draw: np.ndarray, draws: list[int], confidence: float) -> Interval:
    """Interval of a mean difference whose items and draws both vary; ``draws`` counts those of each source.

    The residual is not subtracted (the baseline stores margins of the table, not the table), which widens it a little.
    """
    if by_item.size < 2:
        raise ValueError("one document was judged: nothing says how far it may be off; score at least two")
    items = float(np.var(by_item, ddof=1)) / by_item.size
    groups = np.split(by_draw, np.cumsum(draws)[:-1])
    df = sum(g.size - 1 for g in groups)
    draw = sum(float(((g - g.mean()) ** 2).sum()) for g in groups) / df / by_draw.size if df else 0.0
    total = items + draw
    parts = items**2 / (by_item.size - 1) + (draw**2 / df if df else 0.0)
    freedom = total**2 / parts if parts > 0 else by_item.size - 1
    return Interval.of_t(float(by_item.mean()), math.sqrt(total), freedom, confidence)


def regression_accuracy(
    group: Group, outcome: Outcome, settings: Settings, entry: dict[str, Any], family: int
) -> Verdict:
    """Right answers lost since the baseline on the pooled informative tasks: one-sided, paired by item and draw.

    With one draw a source McNemar's exact test decides. With several the draws are a sample too, so that the p value is
    the larger of the exact one over items and that of the two-way interval over items and draws.
    """
    subject = f"{group.label} {outcome.name}"
    base: dict[str, Any] = {
        "gate": "regression",
        "subject": subject,
        "unit": outcome.unit,
        "records": tuple(group.records),
    }
    stored = entry.get("accuracy")
    why = None
    if not stored:
        why = "no task answers in the baseline"
    elif stored["tasks"] != group.informative:
        here, there = ", ".join(group.informative), ", ".join(stored["tasks"])
        why = f"the informative tasks are {here}; those of the baseline {there}"
    elif stored["items"] != item_ids(group):
        why = "the baseline was scored on other items or prompts (their hashes differ)"
    elif entry["model_hash"] != _model_hash(group) and not is_new_version(group, entry):
        why = "the model was retrained here: its answers cannot be paired with the baseline's"
    if why or stored is None:
        return Verdict(**base, outcome="inconclusive", reason=str(why))
    after = np.concatenate([group.correct(s, group.informative) for s in columns(group)], axis=1)
    before = unpack(stored["correct"])
    test = statistics.sign_flip(before, after)
    interval = _paired_answers(before - after, [len(group.draws[s]) for s in columns(group)], settings.confidence)
    p = test.p if after.shape[1] == len(columns(group)) else max(test.p, interval.p_greater())
    margin = settings.need("regression_margin_accuracy", group)
    n = len(after)
    level = settings.alpha / family
    detectable = statistics.detectable_flips(stored["disagreement"], n, level, settings.power)
    detectable, more = of_answers(detectable, margin, n, level)
    need = f"it needs about {more} items instead of {n}"
    details = {"tasks": group.informative, "items": n, "disagreement": stored["disagreement"]}
    base |= {"p": p, "flips": (test.worse, test.better), "details": details}
    return of_version(judgement(base, interval, margin, detectable, need), is_new_version(group, entry))


def of_answers(detectable: float, margin: float, n: int, level: float) -> tuple[float, int]:
    """``detectable`` by ``n`` right or wrong answers, and how many bring it down to the margin.

    Where nothing changed the error is 0, however few the items: never less than the exact test needs in flips.
    """
    least = statistics.fewest_flips(level)
    if least / n > detectable:
        return min(1.0, least / n), math.ceil(least / margin)
    return detectable, statistics.items_needed(detectable, margin, n)


def _paired_answers(lost: np.ndarray, draws: list[int], confidence: float) -> Interval:
    """Mean of ``lost`` ``[n_items, n_draws]`` (1, 0 or -1) over items and draws; ``draws``: how many of each source."""
    parts = np.split(lost, np.cumsum(draws)[:-1], axis=1)
    return statistics.contrast(parts, [count / sum(draws) for count in draws], confidence)


def release(group: Group, outcome: Outcome, settings: Settings) -> Verdict | None:
    """Compressed against dense: is the damage, averaged over sources, at most the margin? None if no margin is set.

    Refused, unless it fails, if what it could detect exceeds the margin.
    """
    loss = outcome.name == "loss"
    margin = settings.of("release_margin" if loss else "release_margin_accuracy", group)
    if margin is None:
        return None
    values = outcome.pooled()
    interval = statistics.contrast(values, [1 / len(values)] * len(values), settings.confidence)
    result = statistics.noninferiority(interval, margin)
    words = {"pass": "the damage is under", "fail": "the damage is above", "inconclusive": "the interval contains"}
    reason = f"{words[result]} the margin of {margin:.4g}"
    n = values[0].shape[0]
    detectable = statistics.detectable_difference(interval.error, settings.alpha, settings.power)
    more = statistics.items_needed(detectable, margin, n)
    if not loss:
        detectable, more = of_answers(detectable, margin, n, settings.alpha)
    if detectable > margin and result != "fail":
        result = "refused"
        reason = f"it could only see {detectable:.3g}, more than its margin of {margin:.4g}; it needs about {more} "
        reason += f"{'documents' if loss else 'items'} instead of {n}, or more draws"
    return Verdict(
        gate="release",
        subject=group.label if loss else f"{group.label} {outcome.name}",
        outcome=result,
        reason=reason,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        p=interval.p_greater(margin),
        margin=margin,
        detectable=detectable,
        unit=outcome.unit,
        flips=outcome.flips(),
        records=tuple(group.records),
        details={"dense_accuracy": _dense_accuracy(group)} if not loss else {},
    )


def _dense_accuracy(group: Group) -> float | None:
    return float(answers(group.dense, group.informative).mean()) if group.dense else None


def _model_hash(group: Group) -> str | None:
    return next(iter(group.records.values())).keys.get("model_hash")
