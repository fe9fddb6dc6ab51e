"""What a CI service shows of ``python -m benchmarks.gate``: JUnit, a step summary, annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import github
from benchmarks.gates_samples import TaskRuns
from benchmarks.gates_settings import GateError
from fixtures.records import Verdict
from reports.terminal import verdict_text


def refuse_overlap(baseline: Path, candidate: Path) -> None:
    """Raises :class:`GateError` if one folder is the other or lies in it: its files would stand on both sides."""
    one, other = baseline.resolve(), candidate.resolve()
    if one == other:
        raise GateError(f"{baseline} is the baseline and the candidate; name two folders")
    for outer, inner in ((one, other), (other, one)):
        if outer in inner.parents:
            raise GateError(
                f"{inner} lies in {outer}, whose files would all be read as runs of one side; name both apart"
            )


def what_was_read(side: str, folder: Path, tasks: dict[str, TaskRuns]) -> str:
    """``baseline A: piqa 1838 items, 2 runs; ...``, so that a wrong folder is seen."""
    listed = (f"{name} {len(t.items)} items, {t.correct.shape[1]} run(s), {t.metric}" for name, t in tasks.items())
    return f"{side} {folder}: {'; '.join(listed)}"


def markdown(verdicts: Sequence[Verdict], names: Sequence[str]) -> str:
    """The verdict that decides, then a row a task."""
    pooled, *tasks = verdicts
    lines = [f"## {pooled.outcome}: {names[1]} against {names[0]}", "", verdict_text(pooled), ""]
    if tasks:
        lines += ["| task | verdict | lost | interval | answers lost, gained |", "|---|---|---|---|---|"]
    for one in tasks:
        interval = f"{one.low:.2%} to {one.high:.2%}" if one.low is not None and one.high is not None else ""
        lost = f"{one.estimate:.2%}" if one.estimate is not None else ""
        flips = "{}, {}".format(*one.flips) if one.flips else ""
        lines.append(f"| {one.subject} | {one.outcome} (for diagnosis) | {lost} | {interval} | {flips} |")
    return "\n".join(lines) + "\n"


def junit(verdicts: Sequence[Verdict]) -> str:
    """One test, the pooled verdict; a verdict that is none is a skipped test. Tasks are in its output."""
    pooled = verdicts[0]
    failed, undecided = pooled.outcome == "fail", pooled.outcome not in ("pass", "fail")
    suite = ElementTree.Element("testsuite", name="calibench", tests="1", errors="0")
    suite.set("failures", str(int(failed)))
    suite.set("skipped", str(int(undecided)))
    case = ElementTree.SubElement(suite, "testcase", classname="benchmarks.gate", name=pooled.id)
    properties = ElementTree.SubElement(case, "properties")
    for name in ("estimate", "low", "high", "p", "margin", "detectable"):
        if (value := getattr(pooled, name)) is not None:
            ElementTree.SubElement(properties, "property", name=name, value=repr(value))
    if failed or undecided:
        message = f"{pooled.outcome}: {pooled.reason}"
        ElementTree.SubElement(case, "failure" if failed else "skipped", message=message)
    ElementTree.SubElement(case, "system-out").text = "\n".join(map(verdict_text, verdicts))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def workflow_commands(pooled: Verdict) -> list[str]:
    """An error for a failure, a warning where nothing was decided: a green tick would hide it. Else nothing."""
    if pooled.outcome in ("pass", "fail") or os.environ.get("GITHUB_ACTIONS") != "true":
        return github.failure_annotations([pooled])
    return [github.annotation("warning", f"{pooled.outcome} {pooled.id}", pooled.reason)]
