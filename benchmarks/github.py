"""What GitHub Actions shows: the step summary (over 1 MiB it is dropped whole) and annotations of failed gates."""

from __future__ import annotations

import os
from pathlib import Path

from fixtures.records import Verdict

SUMMARY_BYTES = 1_000_000  # below the 1 MiB limit, with room for what other steps add
ANNOTATIONS = 10  # a step shows no more than ten errors


def write_step_summary(markdown: str) -> None:
    """Appends the report to ``GITHUB_STEP_SUMMARY``; too long a report is cut at a line and says so."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    data = markdown.encode()
    if len(data) > SUMMARY_BYTES:
        cut = data[:SUMMARY_BYTES].rsplit(b"\n", 1)[0]
        data = cut + b"\n\n*Cut here: the whole report is among the files of the run.*\n"
    with Path(target).open("ab") as file:
        file.write(data + b"\n")


def failure_annotations(verdicts: list[Verdict]) -> list[str]:
    """Workflow commands for failed gates, at most ten; empty outside GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    failed = [verdict for verdict in verdicts if verdict.outcome == "fail"]
    lines = [annotation("error", verdict.id, verdict.reason) for verdict in failed[:ANNOTATIONS]]
    if len(failed) > ANNOTATIONS:
        lines[-1] = f"::error title=calibench::{len(failed)} gates failed; the report lists them all"
    return lines


def annotation(level: str, title: str, text: str) -> str:
    """One workflow command; ``level`` is error, warning or notice."""
    return f"::{level} title={_escape(title, True)}::{_escape(text)}"


def _escape(text: str, attribute: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if attribute else text
