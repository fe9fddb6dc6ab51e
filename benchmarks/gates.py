"""Decides: from a manifest, its records and a baseline to verdicts.

The family is the manifest's: every gate that was planned is in the list, and one without its records is
``inconclusive``. Failing gates are corrected together by Holm's method, so that the chance of one false alarm in the
whole run is at most alpha. ``source`` is descriptive, ``null`` and ``repeat`` are exact, ``noise_floor`` measures the
machine: none of them has a false alarm to share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks import gates_change as change
from benchmarks import gates_controls as null_controls
from benchmarks import gates_draws as draws
from benchmarks.gates_baseline import (
    baseline_difference,
    draw_count,
    draw_list,
    draw_text,
    make_baseline,
    retraining_spread,
)
from benchmarks.gates_reconstruction import reconstruction
from benchmarks.gates_settings import GateError, Settings
from fixtures.records import Record, Verdict
from reports.groups import OUTCOMES, Group, is_calibrated, make_groups, planned_outcomes
from reports.statistics import holm

__all__ = ["GateError", "Settings", "baseline_difference", "judge", "make_baseline", "retraining_spread"]

FAMILY = ("variance", "regression", "release", "reconstruction")  # gates that fail on a p value
Baseline = dict[str, Any]


def judge(manifest: dict[str, Any], records: Sequence[Record], baseline: Baseline | None = None) -> list[Verdict]:
    """One verdict a planned gate, in the order of the manifest. Raises :class:`GateError` for bad settings."""
    settings = Settings.read(manifest.get("gates"))
    groups = make_groups(manifest, records)
    plans = [(group, gate, name) for group in groups for gate, name in plan(group, settings, baseline)]
    family = max(1, sum(gate in FAMILY for _, gate, _ in plans))
    controls = null_controls.make_controls(manifest, groups, records)
    machine = [null_controls.judge(*row, settings) for row in null_controls.plan(controls, settings)]
    floors = null_controls.floors(machine, controls)
    verdicts = []
    for group, gate, name in plans:
        verdict = _judge_one(group, gate, name, settings, baseline, family)
        verdicts.append(null_controls.against_floor(verdict, floors.get((group.name, verdict.unit))))
    verdicts += machine
    if baseline is None and groups and {"regression", "reconstruction"} & set(settings.gates):
        why = "no baseline is stored for this profile; --update-baselines makes one from this run"
        verdicts.append(Verdict("regression", manifest["profile"], "inconclusive", why))
    return correct(verdicts, settings.alpha, family)


def plan(group: Group, settings: Settings, baseline: Baseline | None) -> list[tuple[str, str]]:
    """(gate, outcome) of everything that is to be judged about a group, whatever its records turn out to be."""
    calibrated = is_calibrated(group.method)
    planned = [("null", "")]
    for name in planned_outcomes(group):
        # One draw a source shows no spread, and no source can be told from its draw: nothing to plan.
        if calibrated and group.planned_draws > 1:
            planned += [("variance", name), ("source", name)]
        if baseline is not None:
            planned.append(("regression", name))
        if settings.of("release_margin" if name == "loss" else "release_margin_accuracy", group) is not None:
            planned.append(("release", name))
    if baseline is not None:
        planned.append(("reconstruction", ""))
    return [(gate, name) for gate, name in planned if gate in settings.gates]


def _judge_one(
    group: Group, gate: str, name: str, settings: Settings, baseline: Baseline | None, family: int
) -> Verdict:
    """A gate that cannot be judged is inconclusive and says why."""
    subject = group.label if name in ("", "loss") else f"{group.label} {name}"
    try:
        if group.missing:
            more = f" and {len(group.missing) - 2} more" if len(group.missing) > 2 else ""
            what = "1 record is missing" if len(group.missing) == 1 else f"{len(group.missing)} records are missing"
            raise ValueError(f"{what}: {', '.join(group.missing[:2])}{more}")
        if gate == "null":
            return draws.null(group, settings)
        if gate in ("regression", "reconstruction"):
            return _against_baseline(group, gate, name, settings, baseline or {}, family)
        outcome = OUTCOMES[name](group)
        if gate == "release":
            verdict = change.release(group, outcome, settings)
            assert verdict is not None  # planned only with a margin
            return verdict
        return (draws.variance if gate == "variance" else draws.source)(group, outcome, settings)
    except ValueError as error:
        return Verdict(gate, subject, "inconclusive", str(error), records=tuple(group.records))


def _against_baseline(
    group: Group, gate: str, name: str, settings: Settings, baseline: Baseline, family: int
) -> Verdict:
    entry = baseline.get("groups", {}).get(group.label)
    if entry is None:
        raise ValueError("the baseline has no such model and method; --update-baselines adds it")
    here, there = draw_list(group), entry["draws"]
    if here != there:
        raise ValueError(f"the baseline has {draw_count(there)} draws and they are not the {draw_count(here)} here")
    if entry.get("text") != draw_text(group):
        raise ValueError("the baseline was calibrated on other text or amounts of it, or scored on more or less of it")
    if gate == "reconstruction":
        return reconstruction(group, settings, baseline, entry, family)
    outcome = OUTCOMES[name](group)
    if name == "loss":
        return change.regression_loss(group, outcome, settings, baseline, entry, family)
    return change.regression_accuracy(group, outcome, settings, entry, family)


def correct(verdicts: list[Verdict], alpha: float, family: int) -> list[Verdict]:
    """Holm over the planned family; a failure that does not survive it becomes inconclusive."""
    members = [k for k, v in enumerate(verdicts) if v.gate in FAMILY]
    adjusted = holm([verdicts[k].p for k in members], family)
    for k, p in zip(members, adjusted, strict=True):
        verdict = dataclasses.replace(verdicts[k], p_adjusted=p)
        if verdict.outcome == "fail" and (p is None or p >= alpha):
            reason = f"{verdict.reason}, but not significant after correction over {family} gates"
            verdict = dataclasses.replace(verdict, outcome="inconclusive", reason=reason)
        verdicts[k] = verdict
    return verdicts
