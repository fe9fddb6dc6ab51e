"""Null controls: the same draw again gives the same bits; another batch size shows the noise of the machine itself.

A margin that the machine's own noise reaches is no margin: every gate whose margin is under twice the noise is refused.
The noise is compared with half the smallest margin in use by two one-sided tests (a 90 % interval).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gates_draws import scores_of
from benchmarks.gates_settings import Settings
from fixtures.records import Record, Verdict, fingerprint, label
from reports import statistics
from reports.groups import Group, answers, planned_outcomes, task_items
from reports.statistics import Interval

CONFIDENCE = 0.90  # two one-sided tests at 5 %
MARGINS = {"variance": "variance_limit", "source": "source_margin", "regression": "regression_margin"}
JUDGED = ("variance", "source", "regression", "release")


@dataclass(frozen=True)
class Control:
    """A case that was made again, and the group that holds the case itself."""

    case: dict[str, Any]
    group: Group
    twin_id: str
    again: Record | None

    @property
    def twin(self) -> Record | None:
        return self.group.records.get(self.twin_id)

    @property
    def subject(self) -> str:
        draw = self.case["draw"]
        return f"{self.group.label} {label(draw['source'])} s{draw['seed']} {self.case['control']}"


def make_controls(manifest: dict[str, Any], groups: Sequence[Group], records: Iterable[Record]) -> list[Control]:
    by_id = {record.id: record for record in records}
    homes = {case["id"]: group for group in groups for case in group.cases}
    found = []
    for case in manifest["cases"]:
        if case.get("control"):
            twin = case["id"].removesuffix(f"-{case['control']}")
            if twin in homes:  # a grid that asks another question is not judged here
                found.append(Control(case, homes[twin], twin, by_id.get(case["id"])))
    return found


def plan(controls: Sequence[Control], settings: Settings) -> list[tuple[Control, str, str]]:
    """(control, gate, outcome) of everything that is to be judged."""
    planned = []
    for control in controls:
        if control.case["control"] == "repeat":
            planned.append((control, "repeat", ""))
        else:
            planned += [(control, "noise_floor", name) for name in planned_outcomes(control.group)]
    return [row for row in planned if row[1] in settings.gates]


def judge(control: Control, gate: str, name: str, settings: Settings) -> Verdict:
    """A control that cannot be judged is inconclusive and says why."""
    subject = control.subject if name in ("", "loss") else f"{control.subject} {name}"
    again, twin = control.again, control.twin
    missing = [i for i, r in ((control.case["id"], again), (control.twin_id, twin)) if r is None]
    base: dict[str, Any] = {"gate": gate, "subject": subject, "records": (control.twin_id, control.case["id"])}
    if again is None or twin is None:
        return Verdict(**base, outcome="inconclusive", reason=f"records are missing: {', '.join(missing)}")
    try:
        if gate == "repeat":
            return _repeat(base, twin, again)
        return _noise_floor(base, control.group, twin, again, name, settings)
    except ValueError as error:
        return Verdict(**base, outcome="inconclusive", reason=str(error))


def _repeat(base: dict[str, Any], twin: Record, again: Record) -> Verdict:
    """The same draw, compressed and scored a second time from the dense weights."""
    if differ := [name for name in again.environment if again.environment[name] != twin.environment.get(name)]:
        why = f"made on another machine or with other versions ({', '.join(differ)}): equal bits are not promised"
        return Verdict(**base, outcome="inconclusive", reason=why)
    weights = twin.keys["weights_hash"] == again.keys["weights_hash"]
    scores = fingerprint(scores_of(twin)) == fingerprint(scores_of(again))
    details = {"same_weights": weights, "same_scores": scores}
    if weights and scores:
        return Verdict(**base, outcome="pass", reason="made twice, the same bits", details=details)
    what = "weights" if not weights else "scores"
    return Verdict(**base, outcome="fail", reason=f"made twice from the same draw, other {what}", details=details)


def _noise_floor(
    base: dict[str, Any], group: Group, twin: Record, again: Record, name: str, settings: Settings
) -> Verdict:
    """Mean difference that another batch size makes, against half the smallest margin in use."""
    difference = _differences(group, twin, again, name)
    error = float(difference.std(ddof=1)) / difference.size**0.5 if difference.size > 1 else 0.0
    interval = Interval.of_t(float(difference.mean()), error, max(1, difference.size - 1), CONFIDENCE)
    margin = smallest_margin(group, name, settings) / 2
    detectable = statistics.detectable_difference(error, settings.alpha, settings.power)
    details = {
        "items": int(difference.size),
        "largest": float(np.abs(difference).max()),
        "changed": float((difference != 0).mean()),
        "same_weights": twin.keys["weights_hash"] == again.keys["weights_hash"],
        "batch_sizes": [twin.case["batch_size"], again.case["batch_size"]],
        "floor": max(abs(interval.low), abs(interval.high)),
    }
    outcome, reason = _equivalence(interval, margin)
    p = max(interval.p_greater(-margin), 1 - interval.p_greater(margin))  # of the two one-sided tests
    flips = None if name == "loss" else (int((difference > 0).sum()), int((difference < 0).sum()))
    return Verdict(
        **base, outcome=outcome, reason=reason, estimate=interval.estimate, low=interval.low, high=interval.high,
        p=p, margin=margin, detectable=detectable, unit="nats a token" if name == "loss" else "share", flips=flips,
        details=details,
    )  # fmt: skip


def _equivalence(interval: Interval, margin: float) -> tuple[str, str]:
    if -margin < interval.low and interval.high < margin:
        return "pass", f"another batch size moves it by less than half the smallest margin ({margin:.3g})"
    if interval.low > margin or interval.high < -margin:
        return "fail", f"another batch size alone moves it by more than half the smallest margin ({margin:.3g})"
    return "inconclusive", f"half the smallest margin ({margin:.3g}) lies inside the interval"


def _differences(group: Group, twin: Record, again: Record, name: str) -> np.ndarray:
    """``again`` minus ``twin``, an entry a document (nats a token) or answer (1: lost, -1: gained)."""
    if name == "loss":
        return group.losses(again) - group.losses(twin)
    tasks = group.informative
    if not tasks:
        raise ValueError("no task is informative: the dense model is not surely above chance and majority class")
    if task_items(twin, tasks) != task_items(again, tasks):
        raise ValueError("the tasks were not scored on the same items and prompts")
    return answers(twin, tasks) - answers(again, tasks)


def smallest_margin(group: Group, name: str, settings: Settings) -> float:
    """Of the gates that judge this outcome of the group; raises ``ValueError`` if none has a margin."""
    names = [MARGINS.get(gate, f"{gate}_margin") for gate in JUDGED if gate in settings.gates]
    suffix = "" if name == "loss" else "_accuracy"
    margins = [m for m in (settings.of(key + suffix, group) for key in names) if m is not None]
    if not margins:
        raise ValueError("no gate has a margin that the noise could be compared with")
    return min(margins)


def floors(verdicts: Sequence[Verdict], controls: Sequence[Control]) -> dict[tuple[str, str], float]:
    """The most that the machine alone makes, by (model, unit)."""
    models = {control.subject: control.group.name for control in controls}
    found: dict[tuple[str, str], float] = {}
    for verdict in verdicts:
        if verdict.gate == "noise_floor" and "floor" in verdict.details:
            model = models[verdict.subject.removesuffix(" accuracy")]
            key = (model, verdict.unit)
            found[key] = max(found.get(key, 0.0), verdict.details["floor"])
    return found


def against_floor(verdict: Verdict, floor: float | None) -> Verdict:
    """Refuses a verdict whose margin is under twice the machine's noise, unless it fails by more than that noise."""
    if floor is None or verdict.margin is None or verdict.gate not in JUDGED:
        return verdict
    details = {**verdict.details, "noise_floor": floor}
    sure = verdict.outcome == "fail" and verdict.estimate is not None and verdict.estimate - floor > verdict.margin
    if verdict.margin >= 2 * floor or sure:
        return dataclasses.replace(verdict, details=details)
    reason = f"another batch size alone moves it by {floor:.3g}, over half its margin of {verdict.margin:.4g}"
    return dataclasses.replace(verdict, outcome="refused", reason=reason, details=details)
