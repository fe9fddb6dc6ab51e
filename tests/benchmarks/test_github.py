"""The step summary stays under the limit at which it would be dropped; annotations name what failed."""

from __future__ import annotations

from benchmarks.github import failure_annotations, write_step_summary
from fixtures.records import Verdict


def test_a_long_summary_is_cut_at_a_line_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    write_step_summary("a line of a table\n" * 100_000)
    text = path.read_text()
    assert len(text.encode()) < 2**20
    assert "Cut here" in text
    assert set(text.split("\n\n")[0].splitlines()) == {"a line of a table"}


def test_annotations_escape_and_are_at_most_ten(monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    verdicts = [Verdict("regression", f"m, {i}", "fail", "5 % worse\nthan before") for i in range(12)]
    lines = failure_annotations([*verdicts, Verdict("variance", "m", "pass", "fine")])
    assert len(lines) == 10
    assert lines[0] == "::error title=regression[m%2C 0]::5 %25 worse%0Athan before"
    assert "12 gates failed" in lines[-1]


def test_nothing_is_written_elsewhere(monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    write_step_summary("text")
    assert failure_annotations([Verdict("variance", "m", "fail", "x")]) == []
