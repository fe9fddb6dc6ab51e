"""The reconstruction gate: the output error of every linear against the baseline's, on a log scale.

A fault in one block moves a few linears by tens of percent and a hundred task items not at all, so the gate looks at
the linear that rose most, with Bonferroni's correction over the linears.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from benchmarks.gates_baseline import (
    ERROR_DIGITS,
    is_new_version,
    log_errors,
    numbers,
    of_version,
    retraining_sd,
    without_rounding,
)
from benchmarks.gates_change import judgement
from benchmarks.gates_settings import Settings
from fixtures.records import Verdict
from reports import statistics
from reports.groups import Group
from reports.statistics import Interval


def reconstruction(
    group: Group, settings: Settings, baseline: dict[str, Any], entry: dict[str, Any], family: int
) -> Verdict:
    """Log ratio of the relative error of the worst linear to the baseline's, draw by draw on the same draws."""
    base: dict[str, Any] = {
        "gate": "reconstruction",
        "subject": group.label,
        "unit": "log ratio",
        "records": tuple(group.records),
    }
    names, errors = log_errors(group)
    stored = entry.get("reconstruction")
    why = None
    if not names or not stored:
        why = "no relative errors in the baseline" if names else "no linear has a relative error"
    elif stored["linears"] != names:
        why = "the linears are not those of the baseline"
    new = is_new_version(group, entry)
    retrained = not new and entry["model_hash"] != next(iter(group.records.values())).keys.get("model_hash")
    spread = retraining_sd(baseline, group.model, group.method, "reconstruction") if retrained else 0.0
    if spread is None:
        why = why or "the model was retrained here and the baseline does not say how much retraining alone changes"
    if why or stored is None or spread is None:
        return Verdict(**base, outcome="inconclusive", reason=str(why))
    difference = without_rounding(errors - np.stack([numbers(row) for row in stored["log_error"]]), ERROR_DIGITS)
    count = len(names)
    means = difference.mean(axis=1)
    worst = int(means.argmax())
    error, df = _error(difference)
    extra = math.sqrt(2) * spread
    confidence = 1 - (1 - settings.confidence) / count
    interval = Interval.of_t(float(means[worst]), math.hypot(error, extra), df, confidence)
    margin = math.log1p(settings.need("reconstruction_margin", group))
    detectable = None
    if stored["draw_sd"] is not None:
        noise = math.hypot(math.sqrt(2 / difference.shape[1]) * stored["draw_sd"], extra)
        detectable = statistics.detectable_difference(noise, settings.alpha / (family * count), settings.power)
    draws = difference.shape[1]
    need = f"it needs about {statistics.items_needed(detectable or 0, margin, draws)} draws instead of {draws}, or a "
    need += "larger reconstruction_margin"
    risen = [names[k] for k in np.argsort(-means, kind="stable") if means[k] > margin]
    details = {
        "worst": names[worst],
        "mean_log_ratio": float(means.mean()),
        "risen": risen[:10],
        "linears": count,
        "retrained": retrained,
        "retraining_sd": spread,
    }
    p = min(1.0, count * interval.p_greater())
    verdict = judgement({**base, "p": p, "details": details}, interval, margin, detectable, need, _rise)
    if verdict.outcome != "fail":
        return of_version(verdict, new)
    more = f", and {len(risen) - 1} more linears rose" if len(risen) > 1 else ""
    reason = f"the error of {names[worst]} rose by {_rise(interval.estimate)}{more}"
    return of_version(dataclasses.replace(verdict, reason=reason), new)


def _rise(log_ratio: float) -> str:
    """As the setting has it: a log ratio of .0953 is a rise by 10%."""
    percent = 100 * math.expm1(log_ratio)
    return f"{percent:.0f}%" if abs(percent) >= 10 else f"{percent:.2g}%"


def _error(difference: np.ndarray) -> tuple[float, float]:
    """Standard error of one linear's mean, pooled over linears ``[n_linears, n_draws]``, and its degrees of freedom.

    With one draw the spread between linears stands in.
    """
    count, draws = difference.shape
    if draws > 1:
        within = difference - difference.mean(axis=1, keepdims=True)
        df = count * (draws - 1)
        return math.sqrt(float((within**2).sum()) / df / draws), df
    return (float(difference.std(ddof=1)), count - 1) if count > 1 else (0.0, 1)
