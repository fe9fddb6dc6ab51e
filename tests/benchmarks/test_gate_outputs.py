"""What a CI service shows of the gate on lm-eval's files, and folders that would be compared with themselves."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.gate import main
from tests.benchmarks.test_gate_samples import write


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    """Runs the gate as GitHub Actions does; returns (exit status, output, step summary, JUnit)."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    right = np.random.default_rng(0).random(2000) < 0.75

    def run(lost, *options, items=2000):
        write(tmp_path / "a", right[:items])
        after = right[:items].copy()
        after[:lost] = False
        write(tmp_path / "b", after)
        status = main([str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out"), *options])
        junit = ElementTree.parse(tmp_path / "out" / "gate.xml").getroot()
        return status, capsys.readouterr().out, (tmp_path / "summary.md").read_text(), junit

    return run


def test_a_failure_is_an_annotation_a_summary_and_a_failed_test(gate):
    status, output, summary, junit = gate(300)
    assert status == 1
    assert "::error title=regression[pooled]::" in output
    assert "piqa 2000 items, 1 run(s), acc" in output
    assert summary.startswith("## fail: ")
    assert "| piqa | fail (for diagnosis) |" in summary
    assert (junit.get("tests"), junit.get("failures"), junit.get("skipped")) == ("1", "1", "0")
    assert junit.find("testcase/failure").get("message").startswith("fail: ")
    assert {p.get("name") for p in junit.iter("property")} >= {"estimate", "p", "margin", "detectable"}


def test_what_is_undecided_is_a_warning_and_no_pass(gate):
    status, output, summary, junit = gate(3, "--strict-gates", items=40)
    assert status == 6
    assert "::warning title=" in output
    assert "::error" not in output
    assert not summary.startswith("## pass")
    assert (junit.get("failures"), junit.get("skipped")) == ("0", "1")


def test_a_pass_is_silent(gate):
    status, output, summary, junit = gate(0)
    assert status == 0
    assert "::" not in output
    assert summary.startswith("## pass")
    assert junit.find("testcase/skipped") is junit.find("testcase/failure") is None


@pytest.mark.parametrize(("one", "other", "message"), [("a", "a", "name two folders"), ("a", ".", "lies in")])
def test_a_folder_is_not_compared_with_itself(tmp_path, capsys, one, other, message):
    write(tmp_path / "a", np.ones(50, bool))
    for pair in ((one, other), (other, one)):
        assert main([*(str(tmp_path / name) for name in pair), "-o", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
