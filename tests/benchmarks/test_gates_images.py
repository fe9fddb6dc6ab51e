"""The gate on distilled images: a temperature keeps every answer, item by item, of the same networks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.gates_images import judge

MODEL = "convnet3-fashion-mnist"


def judged(answers, plan=("dc-ipc10", "dc-ipc10+ts")):
    """``answers`` (0/1 of one network) of each planned case, by method and source."""
    cases = [
        {"id": name, "model": MODEL, "method": name.split(" ")[0], "seed": 0, "source": name.partition(" ")[2] or None}
        for name in plan
    ]
    records = [
        SimpleNamespace(id=name, tasks={"net 0": SimpleNamespace(correct=list(correct))})
        for name, correct in answers.items()
    ]
    (found,) = judge({"image_cases": cases}, records)
    return found


@pytest.mark.parametrize(("after", "outcome"), [([1, 0, 1], "pass"), ([1, 1, 1], "fail"), ([1, 1, 0], "fail")])
def test_as_many_right_answers_are_not_the_same_ones(after, outcome):
    found = judged({"dc-ipc10": [1, 0, 1], "dc-ipc10+ts": after})
    assert found.outcome == outcome
    assert found.records == ("dc-ipc10+ts",)


def test_a_temperature_without_its_record_leaves_it_open():
    plan = ("dc-ipc10", "dc-ipc10+ts", "dc-ipc10+mts distilled")
    found = judged({"dc-ipc10": [1], "dc-ipc10+ts": [1]}, plan)
    assert (found.outcome, found.reason) == ("inconclusive", "1 records are missing")


def test_networks_for_held_out_images_and_other_calibrators_are_others():
    plan = ("dc-ipc10", "dc-ipc10+ts", "dc-ipc10+ts distilled-held-out", "dc-ipc10+vector distilled")
    answers = {name: [0] if name == plan[2] or name == plan[3] else [1] for name in plan}
    assert judged(answers, plan).outcome == "pass"
