"""A run by parts, a run that fails, a disk that fills: what is kept, what is said, and with which exit status."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import judging
from benchmarks.grid import Overrides
from benchmarks.image_grid import build_image_cases
from benchmarks.sharding import compressed_weights, shard, trained_networks
from fixtures.records import Case, Verdict
from reports.__main__ import main as reports
from tests.helpers_suite import counts, records
from tests.simulate import World, simulate

pytest_plugins = ["pytester"]

CASES = [Case.from_dict(case) for case in simulate(World())[0]["cases"]]
DISTILLATION = {
    "models": ["convnet2w4-digits"],
    "methods": ["dm-ipc1", "dc-ipc2+mdt"],
    "calibrators": ["ts", "mts"],
    "sources": ["distilled", "real"],
    "seeds": 2,
    "iterations": {"dm": 3, "dc": 2},
}


class TestShards:
    @given(st.integers(1, 40))
    def test_every_case_is_in_one_part_and_an_artefact_is_never_divided(self, parts):
        dealt = [shard(CASES, compressed_weights, part, parts) for part in range(1, parts + 1)]
        assert sorted(case.id for cases in dealt for case in cases) == sorted(case.id for case in CASES)
        homes = [{compressed_weights(case) for case in cases} for cases in dealt]
        assert sum(map(len, homes)) == len(set().union(*homes))

    def test_draws_of_a_calibration_free_method_are_one_artefact_and_others_spread(self):
        dealt = [shard(CASES, compressed_weights, part, 2) for part in (1, 2)]
        rtn, wanda = ([sum(m in c.method for c in cases) for cases in dealt] for m in ("rtn", "wanda"))
        assert sorted(rtn) == [0, 15]
        assert min(wanda) >= 7

    def test_null_controls_stay_with_their_case(self):
        case = next(case for case in CASES if "wanda" in case.id)
        for control, size in (("repeat", case.batch_size), ("batch4", 4)):
            again = dataclasses.replace(case, control=control, batch_size=size)
            assert compressed_weights(again) == compressed_weights(case)

    def test_calibrators_stay_with_the_networks_that_they_calibrate(self):
        cases = build_image_cases({"distillation": [DISTILLATION]}, Overrides())
        dealt = [shard(cases, trained_networks, part, 3) for part in (1, 2, 3)]
        assert sum(map(len, dealt)) == len(cases) == 20
        homes = [{trained_networks(case) for case in part} for part in dealt]
        assert sorted(map(len, homes)) == [1, 1, 2]
        assert len(set().union(*homes)) == 4

    def test_two_parts_in_one_store_or_joined_are_the_whole_run(self, suite, finished, tmp_path):
        whole = records(finished[0])
        assert suite("--shard", "1/2").returncode == 0
        assert "inconclusive" in {v["outcome"] for v in verdicts(suite.store) if v["gate"] == "null"}
        shutil.copytree(suite.store, tmp_path / "one")
        assert suite("--shard", "2/2").returncode == 0
        assert verdicts(suite.store) == verdicts(finished[0])
        assert records(suite.store) == whole
        # What the second part wrote, as if it had had a store of its own.
        shutil.copytree(suite.store, tmp_path / "other")
        for kind in ("records", "cases", "scores"):
            for path in (tmp_path / "one" / kind).iterdir():
                (tmp_path / "other" / kind / path.name).unlink()
        parts = [records(tmp_path / name) for name in ("one", "other")]
        assert all(parts)
        assert not parts[0].keys() & parts[1].keys()
        suite.store = tmp_path / "joined"
        assert reports(["merge", str(tmp_path / "one"), str(tmp_path / "other"), "-o", str(suite.store)]) == 0
        assert suite("--judge-only").returncode == 0
        assert records(suite.store) == whole
        assert verdicts(suite.store) == verdicts(finished[0])


def verdicts(store: Path) -> list[dict]:
    return json.loads((store / "verdicts.json").read_text())


def test_a_case_that_is_not_there_leaves_no_skipped_test(finished):
    assert "SKIPPED" not in finished[1]


def test_a_log_has_a_plain_line_for_every_case(finished):
    """Position, share done, the case and what it found; no line is rewritten where there is no terminal."""
    lines = re.findall(r"^\[(\d)/9 +(\d+) %\] .*?(\S+)  [\d.]+ s  [\d.]+ nats a token$", finished[1], re.M)
    assert [int(position) for position, _, _ in lines] == list(range(1, 10))
    assert [int(share) for _, share, _ in lines] == [100 * k // 9 for k in range(1, 10)]
    assert {case for _, _, case in lines} == records(finished[0]).keys()
    assert "left" in finished[1]
    assert "\r" not in finished[1]


def test_every_verdict_is_in_junit_with_its_figures(finished, mini):
    found = {}
    for test in ET.parse(mini / "junit.xml").iter("testcase"):
        if test.get("classname") == "benchmarks.gates":
            found[test.get("name")] = {p.get("name"): p.get("value") for p in test.iter("property")}
    judged = {f"{v['gate']}[{v['subject']}]": v for v in verdicts(finished[0])}
    assert found.keys() == judged.keys()
    for name, verdict in judged.items():
        assert found[name]["gate"] == verdict["outcome"]
        for figure in ("estimate", "low", "high", "p", "margin", "detectable"):
            if verdict[figure] is not None:
                assert float(found[name][figure]) == verdict[figure], (name, figure)


def test_flips_are_two_scalars():
    verdict = Verdict("regression", "m w accuracy", "inconclusive", "why", estimate=0.01, flips=(7, 3))
    call, end = judging.verdict_reports(verdict)
    assert (call.outcome, end.outcome) == ("skipped", "passed")
    properties = dict(end.user_properties)
    assert (properties["answers_lost"], properties["answers_gained"]) == (7, 3)
    assert all(isinstance(value, int | float | str) for value in properties.values())


EMPTY = '{"schema": 1, "groups": {}}'
FAULT = """
def pytest_configure(config):
    from compressors import wanda
    wanda.importance = lambda weight, norms: weight.abs()
"""


def test_a_failed_gate_fails_the_run_is_annotated_and_leaves_the_baseline(suite, mini, tmp_path):
    (tmp_path / "fault_plugin.py").write_text(FAULT)
    (tmp_path / "own.toml").write_text((mini / "mini.toml").read_text())
    (tmp_path / "own.baseline.json").write_text(EMPTY)
    env = {"PYTHONPATH": str(tmp_path), "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md")}
    options = ["-p", "fault_plugin", "--update-baselines", "--profile", str(tmp_path / "own.toml")]
    done = suite(*options, "--methods", "wanda-0.5", "-n", "2", env=env)
    assert done.returncode == 1, done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert "gates.py::null[tiny wanda-0.5]" in failed[0]
    assert "::error title=null[tiny wanda-0.5]::the seed does not reach the weights" in done.stdout
    assert "no baseline is made from a run with failures: null[tiny wanda-0.5]" in done.stdout
    assert (tmp_path / "own.baseline.json").read_text() == EMPTY
    assert "the seed does not reach the weights" in (tmp_path / "step.md").read_text()


FULL = f"""
import os
calls, fsync = [0], os.fsync
def full(handle):
    calls[0] += 1
    if calls[0] > 15:
        raise OSError({errno.ENOSPC}, "No space left on device")
    fsync(handle)
os.fsync = full
"""


def test_a_disk_that_fills_up_is_not_a_failed_gate(suite, tmp_path):
    """The cases that were written stay, nothing is half-written, and the status is neither pass nor fail."""
    (tmp_path / "full_plugin.py").write_text(FULL)
    done = suite("-p", "full_plugin", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3, done.stdout
    assert "the disk is full: free some space" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    kept = records(suite.store)
    assert 1 <= len(kept) < 9
    # The record of the case at which the disk filled may have been whole already.
    assert counts(done.stdout)["failed"] - (9 - len(kept)) in (0, 1)
    assert not [path for path in suite.store.rglob("*") if ".tmp-" in path.name]
    whole = suite()
    assert whole.returncode == 0
    assert {name: value for name, value in records(suite.store).items() if name in kept} == kept


OTHER = """
import pytest
begun = []
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    begun.append(item)
    if len(begun) == 1:
        pytest.fail("not for want of room", pytrace=False)
"""


def test_a_full_disk_does_not_hide_another_failure(suite, tmp_path):
    (tmp_path / "full_plugin.py").write_text(FULL + OTHER)
    done = suite("-p", "full_plugin", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1, done.stdout
    assert "not for want of room" in done.stdout
    assert "the disk is full: free some space" in done.stdout


@pytest.mark.parametrize(
    ("gates", "baseline", "says"),
    [
        ("alhpa = 0.05", EMPTY, "did you mean 'alpha'"),
        ("alpha = 0.05", "{", "is not valid JSON"),
        ("alpha = 0.05", "[]", "has no table of groups"),
        ("alpha = 0.05", '{"schema": 9, "groups": {}}', "is of schema 9, not 1"),
    ],
)
def test_what_judging_would_stumble_over_is_said_before_anything_runs(suite, mini, tmp_path, gates, baseline, says):
    (tmp_path / "own.toml").write_text((mini / "mini.toml").read_text().replace("alpha = 0.05", gates))
    (tmp_path / "own.baseline.json").write_text(baseline)
    done = suite("--profile", str(tmp_path / "own.toml"))
    assert done.returncode == 4, done.stdout
    assert says in done.stdout + done.stderr
    assert not (suite.store / "records").exists()


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_store_that_cannot_be_written_is_said_before_anything_runs(suite, tmp_path, workers):
    (tmp_path / "file").write_text("")
    suite.store = tmp_path / "file" / "store"
    done = suite(*workers)
    assert done.returncode == 4
    said = done.stdout + done.stderr
    assert len(re.findall("cannot write", said)) == 1
    assert f"{suite.store}" in said
    assert "--store" in said
    assert "Traceback" not in said


def test_a_report_that_cannot_be_written_is_said_in_words_and_made_later(suite, copied):
    """As on a full disk: nothing failed but the writing, so that the status is 3."""
    shutil.rmtree(copied / "plots")
    (copied / "plots").write_text("a file where a folder should be")
    done = suite("--judge-only")
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert "the report cannot be written" in output
    assert "Traceback" not in output
    (copied / "plots").unlink()
    assert suite("--judge-only").returncode == 0
    assert list((copied / "plots").glob("*.svg"))
