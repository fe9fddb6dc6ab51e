"""Gates about the draws: how far they spread, whether a source is better than another, whether the seed arrives."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.gates_settings import Settings
from fixtures.records import Verdict, fingerprint
from reports import statistics
from reports.groups import CONTROLS, Group, Outcome, is_calibrated


def subject(group: Group, outcome: Outcome) -> str:
    return group.label if outcome.name == "loss" else f"{group.label} {outcome.name}"


def variance(group: Group, outcome: Outcome, settings: Settings) -> Verdict:
    """SD that the draws of one source cause, pooled over sources, against its limit.

    Fails if the lower bound exceeds the limit, passes if the upper bound is under it. With one draw a source the gate
    is refused.
    """
    limit = settings.of("variance_limit" if outcome.name == "loss" else "variance_limit_accuracy", group)
    base: dict[str, Any] = {
        "gate": "variance",
        "subject": subject(group, outcome),
        "margin": limit,
        "unit": outcome.unit,
        "flips": outcome.flips(),
        "records": tuple(group.records),
    }
    if max((m.shape[1] for m in outcome.values.values()), default=0) < 2:
        return Verdict(**base, outcome="refused", reason="one draw a source shows no spread: run at least five draws")
    part = statistics.variance_component(outcome.pooled(), settings.confidence)
    detectable = _detectable_sd(part, settings)
    if limit is None:
        verdict, words = "inconclusive", "no limit is set for this method"
    elif part.low > limit:
        verdict, words = "fail", f"the draws cause more than the limit of {limit:.4g}"
    elif detectable > limit:
        items = round(part.n_items * (detectable / limit) ** 2)
        verdict = "refused"
        words = f"an SD under {detectable:.4g} cannot be seen here: it needs about {items} items or more draws"
    elif part.high < limit:
        verdict, words = "pass", f"the draws cause less than the limit of {limit:.4g}"
    else:
        verdict, words = "inconclusive", f"the limit of {limit:.4g} lies inside the interval: more draws decide"
    details = {
        "observed_sd": part.observed,
        "item_floor": part.floor,
        "component": part.sd,
        "p_no_draw_effect": part.p,
        "df": part.df_draws,
        "items": part.n_items,
    }
    return Verdict(
        **base,
        outcome=verdict,
        reason=words,
        estimate=part.sd,
        low=part.low,
        high=part.high,
        p=None if limit is None else part.p_above(limit),
        detectable=detectable,
        details=details,
    )


def _detectable_sd(part: statistics.VarianceComponent, settings: Settings) -> float:
    """Smallest true SD over draws that so many draws and items would tell from none, with the stated power."""
    from scipy.stats import chi2, f

    df = part.df_draws
    critical = float(f.ppf(1 - settings.alpha, df, part.df_residual))
    ratio = df * critical / float(chi2.ppf(1 - settings.power, df))
    return float((part.ms_residual * max(0.0, ratio - 1) / part.n_items) ** 0.5)


def source(group: Group, outcome: Outcome, settings: Settings) -> Verdict:
    """Which source is best beyond the draws? Descriptive: never fails.

    Passes if every other source is decided against the lowest: told apart from it, or known to be as good (the interval
    of the difference lies inside the margin). One that is neither leaves the gate inconclusive, however small the
    detectable difference: that was a plan for the draws, the interval is what they showed. Where a difference as large
    as the margin could not have been seen at all, the gate is refused instead, with the draws that it would need.
    """
    margin = settings.of("source_margin" if outcome.name == "loss" else "source_margin_accuracy", group)
    base: dict[str, Any] = {
        "gate": "source",
        "subject": subject(group, outcome),
        "margin": margin,
        "unit": outcome.unit,
        "flips": outcome.flips(),
        "records": tuple(group.records),
    }
    values = {s: m for s, m in outcome.values.items() if s not in CONTROLS}
    if len(values) < 2:
        return Verdict(**base, outcome="refused", reason="one source: there is nothing to compare")
    if min(m.shape[1] for m in values.values()) < 2:
        why = "one draw a source: the source cannot be told from its draw. Run at least two draws, better five"
        return Verdict(**base, outcome="refused", reason=why)
    pairs = compare_sources(values, settings)
    order = sorted(values, key=lambda s: float(values[s].mean()))
    best, worst = order[0], order[-1]
    with_best = [p for p in pairs if best in (p["a"], p["b"])]
    open_pairs = [p for p in with_best if p["p_adjusted"] >= settings.alpha]
    tied = sorted({p["a"] for p in open_pairs} | {p["b"] for p in open_pairs} - {best}, key=order.index)
    tied = [s for s in tied if s != best]
    unknown = [p for p in open_pairs if margin is None or max(abs(p["low"]), abs(p["high"])) > margin]
    detectable = max(p["detectable"] for p in with_best)
    ends = next(p for p in pairs if {p["a"], p["b"]} == {best, worst})
    sign = 1 if ends["a"] == worst else -1
    gap = statistics.source_range([m.mean(axis=0) for m in values.values()], _generator(group))
    reason = f"{best} is best" if not tied else f"{best} is lowest, not told apart from {', '.join(tied)}"
    draws = min(m.shape[1] for m in values.values())
    decision, more = _decision(unknown, best, margin, detectable, draws) if unknown else ("pass", "")
    return Verdict(
        **base,
        outcome=decision,
        reason=reason + more,
        estimate=sign * ends["estimate"],
        low=min(sign * ends["low"], sign * ends["high"]),
        high=max(sign * ends["low"], sign * ends["high"]),
        p=gap.p,
        detectable=detectable,
        details={
            "best": best,
            "tied": tied,
            "order": order,
            "pairs": pairs,
            "gap": gap.gap,
            "gap_by_draws_alone": gap.expected,
            "gap_by_draws_alone_95": gap.high,
        },
    )


def _decision(
    unknown: list[dict[str, Any]], best: str, margin: float | None, detectable: float, draws: int
) -> tuple[str, str]:
    """Refused or inconclusive; and which pairs are open, by how much, and what would decide them."""
    others = ", ".join(p["a"] if p["b"] == best else p["b"] for p in unknown)
    if margin is None:
        return "inconclusive", f"; {others} may differ from it by any amount: no margin is set for this method"
    words = f"; {others} may differ from it by more than the margin of {margin:.4g}: "
    if detectable <= margin:
        return "inconclusive", words + "more draws decide"
    needed = math.ceil(draws * (detectable / margin) ** 2)
    return "refused", words + f"so little cannot be seen with {draws} draws a source, it needs about {needed}"


def compare_sources(values: dict[str, np.ndarray], settings: Settings) -> list[dict[str, Any]]:
    """Every pair: difference ``a - b`` with its two-way interval, P(a is worse than b), p by Holm over the pairs."""
    rows: list[dict[str, Any]] = []
    count = len(values) * (len(values) - 1) // 2
    for a, b in combinations(values, 2):
        interval = statistics.contrast([values[a], values[b]], [1, -1], settings.confidence)
        chance = statistics.superiority(values[a].mean(axis=0), values[b].mean(axis=0), settings.confidence)
        rows.append(
            {
                "a": a,
                "b": b,
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "p": interval.p_two_sided(),
                "a_worse": chance.estimate,
                "a_worse_low": chance.low,
                "a_worse_high": chance.high,
                "detectable": statistics.detectable_difference(
                    interval.error, settings.alpha / count, settings.power, sided=2
                ),
            }
        )
    for row, adjusted in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_adjusted"] = adjusted
    return rows


def _generator(group: Group) -> np.random.Generator:
    """The shuffles of a group, the same whenever it is judged."""
    return np.random.default_rng(int(fingerprint(group.label)[:15], 16))


def null(group: Group, settings: Settings) -> Verdict:
    """Calibration-free methods: every draw gives the same bits. Calibrated ones: every draw gives other weights."""
    calibrated = is_calibrated(group.method)
    records = [record for rows in group.draws.values() for record in rows]
    base: dict[str, Any] = {"gate": "null", "subject": group.label, "records": tuple(group.records), "unit": ""}
    if len(records) < 2:
        return Verdict(**base, outcome="refused", reason="one draw: nothing to compare it with")
    weights: dict[str, list[str]] = {}
    for record in records:
        weights.setdefault(record.keys["weights_hash"], []).append(record.id)
    details = {"draws": len(records), "distinct_weights": len(weights), "calibrated": calibrated}
    base |= {"estimate": float(len(weights)), "details": details, "unit": "distinct weights"}
    if calibrated:
        twins = [ids for ids in weights.values() if len(ids) > 1]
        if twins:
            why = f"the seed does not reach the weights: {twins[0][0]} and {twins[0][1]} are the same bits"
            return Verdict(**base, outcome="fail", reason=why)
        return Verdict(**base, outcome="pass", reason=f"{len(records)} draws, {len(weights)} different sets of weights")
    scores = {fingerprint(scores_of(record)) for record in records}
    details["distinct_scores"] = len(scores)
    if len(weights) > 1 or len(scores) > 1:
        what = f"{len(weights)} sets of weights" if len(weights) > 1 else f"{len(scores)} sets of scores"
        return Verdict(
            **base, outcome="fail", reason=f"a calibration-free method gave {what} over {len(records)} draws"
        )
    return Verdict(**base, outcome="pass", reason=f"{len(records)} draws, the same bits throughout")


def scores_of(record: Any) -> dict[str, Any]:
    """What was measured, without the seconds it took."""
    tasks = {name: [s.correct, s.correct_norm, s.loglikelihoods] for name, s in sorted(record.tasks.items())}
    return {"nll": {name: [s.nll, s.tokens] for name, s in sorted(record.nll.items())}, "tasks": tasks}
