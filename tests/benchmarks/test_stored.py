"""Runs made elsewhere: other settings are named and left out, other experiments refused, nothing is no result."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks import stored
from benchmarks.claims.__main__ import main as claims
from benchmarks.grid import Overrides
from benchmarks.image_grid import build_image_cases
from fixtures.records import Record, TaskScores
from fixtures.store import Store
from reports.__main__ import main as reports
from tests.helpers_claims import Truth, records

PROFILE = """
[[grid]]
models = ["known-corpus-1m"]
methods = ["rtn-w3g64", "wanda-0.5"]
sources = ["web", "news"]
seeds = 2
sequences = 8
length = 64
[grid.evaluation]
domains = ["web", "news"]
documents = 16
items = 40
[gates]
gates = ["null", "source"]
"""
TRUTH = Truth(
    model="known-corpus-1m", methods=("rtn-w3g64", "wanda-0.5"), sources=("web", "news"), seeds=2, tasks=(),
    domains=("web", "news"), sequences=8, length=64,
)  # fmt: skip
IMAGES = """
[[distillation]]
models = ["convnet2w4-digits"]
methods = ["dm-ipc1"]
calibrators = ["ts"]
sources = ["distilled", "real"]
seeds = 2
[distillation.iterations]
dm = 3
"""


@pytest.fixture
def judge(tmp_path, capsys):
    """Runs the command on stores of the given records; status, output, and the report's folder."""

    def run(*runs, profile=PROFILE):
        (tmp_path / "small.toml").write_text(profile)
        arguments = ["--profile", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out")]
        for number, held in enumerate(runs):
            store = Store(tmp_path / f"run-{number}")
            (store.root / "records").mkdir(parents=True)
            for record in held:
                store.save(record.keys["record"], record)
            arguments += ["--store", str(store.root)]
        status = stored.main(arguments)
        said = capsys.readouterr()
        return status, said.out + said.err, tmp_path / "out"

    return run


def test_records_with_other_settings_are_named_and_left_out(judge):
    held = records(TRUTH)
    for record in held:
        if record.id.endswith("wanda-0.5-news-s1"):
            record.case["draw"]["n_sequences"] = 16
    status, said, out = judge(held)
    assert status == 0
    assert "8 of 9 cases" in said
    assert "left out 1 cases: its record in" in said
    assert "draw.n_sequences 16, not 8" in said
    assert "draw.n_sequences 16, not 8" in (out / "report.md").read_text()
    null = {v["subject"]: v["outcome"] for v in json.loads((out / "verdicts.json").read_text()) if v["gate"] == "null"}
    assert null["known-corpus-1m wanda-0.5"] == "inconclusive"


def test_the_other_store_supplies_what_one_has_with_other_settings(judge):
    other = records(dataclasses.replace(TRUTH, sequences=4))
    status, said, _ = judge(other, records(TRUTH))
    assert status == 0
    assert "9 of 9 cases" in said
    assert "left out" not in said


@pytest.mark.parametrize("key", ["method_code", "model_hash", "evaluation_key"])
def test_one_case_of_two_experiments_is_refused_with_both_stores(judge, key):
    first, second = records(TRUTH), records(TRUTH)
    second[3].keys[key] = "another"
    status, said, out = judge(first, second)
    assert status == 2
    assert second[3].id in said
    assert f"another {key}" in said
    assert "run-0" in said
    assert "run-1" in said
    assert not out.exists()


def test_equal_records_in_two_stores_are_one(judge):
    status, said, _ = judge(records(TRUTH), records(TRUTH)[:4])
    assert (status, "9 of 9 cases" in said) == (0, True)


def test_another_profile_has_no_record_here(judge):
    status, said, out = judge(records(TRUTH), profile=PROFILE.replace("documents = 16", "documents = 9"))
    assert status == 2
    assert "no record of a case of profile small: its record in" in said
    assert "evaluation.documents 16, not 9" in said
    assert not out.exists()


def test_distilled_images_are_judged_and_shown_too(judge):
    held = []
    for case in build_image_cases({"distillation": [_table()]}, Overrides()):
        scores = TaskScores("acc", [], [], [1, 0, 1], None, [[-0.1, -2.4]] * 3, [], [0, 1, 0], 0.5, 0.5)
        keys = {"record": case.id.replace("+", "-"), "method_code": "c", "model_hash": "m", "evaluation_key": "e"}
        held.append(Record(case.to_dict(), keys, tasks={"net 0": scores}, created="2026-01-01"))
    status, said, out = judge([*records(TRUTH), *held], profile=PROFILE + IMAGES)
    assert status == 0
    assert f"{9 + len(held)} of {9 + len(held)} cases" in said
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert [v["outcome"] for v in verdicts if v["gate"] == "answers"] == ["pass"]


def test_another_budget_is_another_setting():
    (case, *_) = build_image_cases({"distillation": [_table()]}, Overrides())
    held = case.to_dict()
    assert stored.other_settings(held, case.to_dict()) == []
    held["budget"]["epochs"] = 1
    assert stored.other_settings(held, case.to_dict()) == ["budget.epochs 1, not 300"]


def _table():
    import tomllib

    return tomllib.loads(IMAGES)["distillation"][0]


def test_an_empty_store_is_no_result(judge, tmp_path, capsys):
    status, said, out = judge([])
    assert status == 2
    assert "run-0 holds no readable record" in said
    assert not out.exists()
    empty = str(tmp_path / "run-0")
    assert claims(["--store", empty, "--out", str(tmp_path / "claims")]) == 2
    assert "holds no readable record" in capsys.readouterr().err
    assert not (tmp_path / "claims").exists()
    assert reports(["merge", empty, empty, "-o", str(tmp_path / "joined")]) == 2
    assert f"{empty} holds no readable record" in capsys.readouterr().err
    assert not (tmp_path / "joined").exists()
