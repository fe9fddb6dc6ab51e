"""Distilled images in two runs: what differs is named, networks and images are paired, and the figures are right."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from fixtures.records import Record, TaskScores
from reports import statistics
from reports.comparing import cases_csv, compare_records, text
from tests.simulate import World, generator, simulate

MODEL, METHOD, IMAGES, NETS = "convnet2-digits", "dc-ipc1+ts", 300, 2


def run(worse=0.0, hotter=1.0, seeds=3, change=None, moved=0.0):
    """Records of distilled sets: ``worse`` is added to the margin of the wrong answers, ``hotter`` scales logits."""
    records = []
    for seed in range(seeds):
        target = generator("target").integers(0, 10, size=IMAGES)
        tasks = {}
        for net in range(NETS):
            logits = generator("net", seed, net).normal(size=(IMAGES, 10))
            logits[np.arange(IMAGES), target] += 2 - worse - moved * (-1) ** seed
            logits *= hotter
            logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            right = (logits.argmax(1) == target).astype(int).tolist()
            tasks[f"net {net}"] = TaskScores("acc", [], [], right, None, logs.tolist(), [], target.tolist(), 0.1, 0.1)
        case = {
            "id": f"{MODEL}-{METHOD}-real-s{seed}", "kind": "images", "model": MODEL, "method": METHOD,
            "source": "real", "seed": seed, "device": "cpu", "threads": 1, "draw": {"source": "real", "seed": seed},
            "budget": {"iterations": {"dc": 20}, "epochs": 60},
        }  # fmt: skip
        keys = {"method_code": "c", "model_hash": "m", "evaluation_key": "e", "record": str(seed)}
        record = Record(case, keys, tasks=tasks, environment={"versions": {"torch": "9"}, "processor": "one"})
        if change:
            change(record)
        records.append(record)
    return records


def compared(**options):
    return compare_records({"cases": []}, run(), run(**options))


@pytest.mark.parametrize(
    ("kind", "what", "change"),
    [
        ("code", "distillation and confidence", lambda r: r.keys.update(method_code="other")),
        ("data", f"images of {MODEL}", lambda r: r.keys.update(model_hash="other")),
        ("data", "budget of distilling: epochs", lambda r: r.case.update(budget={**r.case["budget"], "epochs": 9})),
        ("data", "networks a distilled set", lambda r: r.tasks.pop("net 1")),
        ("versions", "torch", lambda r: r.environment.update(versions={"torch": "8"})),
        ("device", "processor", lambda r: r.environment.update(processor="two")),
        ("settings", "threads", lambda r: r.case.update(threads=2)),
    ],
)
def test_each_difference_is_named_and_code_and_data_forbid_pairing(kind, what, change):
    found = compared(change=change)
    assert kind in {difference.kind for difference in found.differences}
    assert what in [difference.what for difference in found.differences]
    assert bool(found.refused) == (kind in ("code", "data"))
    assert bool(found.groups) == bool(found.cases) == (not found.refused)


def test_a_run_differs_from_itself_in_nothing():
    found = compared()
    assert len(found.common) == 3
    assert not found.differences
    assert {change.interval.estimate for change in [*found.groups, *found.cases]} == {0.0}
    assert {(c.outcome, c.draws, c.items) for c in found.groups} == {(o, 3, IMAGES) for o in ("nll", "accuracy", "ece")}


def test_the_figures_are_those_of_the_records():
    before, after = run(), run(worse=0.5)
    found = compare_records({"cases": []}, before, after)
    loss = [
        np.mean(
            [-np.asarray(t.loglikelihoods)[np.arange(IMAGES), t.target].mean() for r in side for t in r.tasks.values()]
        )
        for side in (before, after)
    ]
    accuracy = [np.mean([t.correct for r in side for t in r.tasks.values()]) for side in (before, after)]
    errors = [np.mean([_ece(t) for r in side for t in r.tasks.values()]) for side in (before, after)]
    group = {change.outcome: change for change in found.groups}
    assert group["nll"].interval.estimate == pytest.approx(loss[1] - loss[0])
    assert group["accuracy"].interval.estimate == pytest.approx(accuracy[0] - accuracy[1])
    assert group["ece"].interval.estimate == pytest.approx(errors[1] - errors[0])
    assert group["accuracy"].interval.low > 0
    lost, gained = group["accuracy"].flips
    assert lost - gained == round((accuracy[0] - accuracy[1]) * IMAGES * NETS * 3)
    assert group["accuracy"].subject == f"{MODEL} {METHOD} real"


def _ece(scores):
    rows = np.asarray(scores.loglikelihoods)
    return statistics.expected_calibration_error(np.exp(rows.max(1)), scores.correct, 10, "left")


def test_another_temperature_moves_confidence_and_no_answer():
    found = compared(hotter=2.0)
    group = {change.outcome: change for change in found.groups}
    assert group["accuracy"].flips == (0, 0)
    assert group["accuracy"].interval.high == 0.0
    assert abs(group["ece"].interval.estimate) > 0.02
    assert group["ece"].interval.low > 0 or group["ece"].interval.high < 0


def test_sets_that_disagree_widen_the_interval_of_the_group():
    steady, moved = compared(worse=0.3), compared(worse=0.3, moved=0.3)
    widths = [
        next(c.interval.high - c.interval.low for c in found.groups if c.outcome == "nll") for found in (steady, moved)
    ]
    assert widths[1] > 3 * widths[0]


def test_one_set_has_no_interval_of_its_calibration_error_over_sets():
    found = compare_records({"cases": []}, run(seeds=1), run(seeds=1, worse=0.3))
    assert {change.outcome for change in found.groups} == {"nll", "accuracy"}


def test_both_kinds_of_record_are_paired_side_by_side_in_words_and_csv():
    manifest, records = simulate(World(methods=("wanda-0.5",), sources=("web",), seeds=2, documents=6))
    found = compare_records(manifest, [*records, *run()], [*records, *run(worse=0.2)])
    assert not found.refused
    said = text(found, ["A", "B"], most=100)
    assert f"{MODEL} {METHOD} real: +" in said
    assert "nats an image" in said
    assert "points of ECE" in said
    assert "known-corpus-1m wanda-0.5: +0 [+0, +0] nats a token" in said
    rows = [row for row in csv.DictReader(io.StringIO(cases_csv(found))) if row["case"].startswith(MODEL)]
    assert len(rows) == 9
    assert all(float(r["low"]) <= float(r["difference"]) <= float(r["high"]) for r in rows)
