"""Verdicts as JSON, Markdown and terminal lines: estimate, interval, detectable effect and scale stay together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.claims.costs import expected
from benchmarks.claims.evidence import Cell, Exact
from benchmarks.claims.judge import Result, scales
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.estimate import rates

TITLES = {
    "A": "Calibration data in quantization and pruning (arXiv 2311.09755)",
    "B": "Calibration data for pruning (arXiv 2410.17711 and related)",
    "C": "Distilled data and confidence (arXiv 2307.12463)",
    "X": "The bridge: calibration data and confidence",
    "M": "The measurement",
}


def figure(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}"


def words(cell: Cell) -> str:
    """``0.012 [0.01, 0.014] nats a token, detectable 0.003, margin 0.001``."""
    found = cell.evidence
    if isinstance(found, Exact):
        return f"{found.broken} of {found.checked} {cell.unit}"
    text = f"{figure(found.estimate)} [{figure(found.low)}, {figure(found.high)}] {cell.unit}"
    text += f", detectable {figure(found.detectable)}"
    if cell.margin:
        text += f", margin {figure(cell.margin)}"
    if cell.share is not None:
        text += f", {100 * cell.share:.1f} % of the damage"
    return text


def as_json(results: Sequence[Result], about: dict[str, Any]) -> dict[str, Any]:
    """Everything behind the table, as builtins."""
    return {"about": about, "claims": [_claim(result) for result in results]}


def _claim(result: Result) -> dict[str, Any]:
    claim = result.claim
    return {
        "id": claim.id,
        "claim": claim.claim,
        "published": claim.published,
        "grade": claim.grade,
        "rule": claim.rule,
        "verdict": result.verdict,
        "reason": result.reason,
        "outcomes": result.by_outcome,
        "p": _number(result.p),
        "p_adjusted": _number(result.p_adjusted),
        "p_against": _number(result.p_against),
        "p_against_adjusted": _number(result.against_adjusted),
        "scale": scales(result),
        "headline": None if result.headline is None else _cell(result.headline, result.verdict),
        "command": claim.command,
        "expected": expected(claim) if result.verdict == NOT_RUN else "",
        "cells": [_cell(cell, verdict) for cell, verdict in result.cells],
    }


def _cell(cell: Cell, verdict: str) -> dict[str, Any]:
    found = cell.evidence
    return {
        "name": cell.name,
        "outcome": cell.outcome,
        "verdict": verdict,
        "beside": cell.shown_only,
        "estimate": _number(found.estimate),
        "low": _number(found.low),
        "high": _number(found.high),
        "p": _number(found.p),
        "detectable": _number(found.detectable),
        "margin": cell.margin,
        "unit": cell.unit,
        "share_of_damage": _number(cell.share),
        "detail": cell.detail,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def markdown(results: Sequence[Result], about: dict[str, Any]) -> str:
    """A table a family; below each, what would make the records of claims that were not run."""
    count = Counter(result.verdict for result in results)
    order = (REPLICATES, DOES_NOT, CANNOT_TELL, NOT_RUN)
    lines = [
        "# Published claims, decided from records",
        "",
        ", ".join(f"{count[name]} {name}" for name in order)
        + f" of {len(results)} claims; {about['records']} records.",
        "",
        "Estimates are positive in the claimed direction, with a 95 % interval; *detectable* is the smallest true "
        "effect found with power 0.8. Verdicts are taken on nll (loss on neutral text) and bpb (bits a byte of right "
        "answers); "
        "where they disagree, it is *cannot tell*. *Replicates* and *does not* survive Holm's correction over their "
        "family, and *does not* also over the cells of which one is enough for it. Each line "
        "shows the cell that speaks least clearly for the verdict; `claims.json` has them all. Grades of published "
        "figures: P read in the paper, C authors' code or data, N third-party note, S a summary only.",
    ]
    for family, title in TITLES.items():
        rows = [result for result in results if result.claim.family == family]
        if rows:
            lines += [
                "",
                f"## {family}. {title}",
                "",
                "| | claim | published | verdict | evidence |",
                "|---|---|---|---|---|",
            ]
            lines += [_row(result) for result in rows]
    return "\n".join([*lines, *_to_run(results)]) + "\n"


def _to_run(results: Sequence[Result]) -> list[str]:
    """What would make the records that are missing, here and at the papers' scale, and what it costs."""
    machines = f"{rates()['gpu']}; {rates()['cpu']['core']}"
    head = ["| | needs | command | expected |", "|---|---|---|---|"]
    missing = [r for r in results if r.verdict == NOT_RUN]
    rows = [f"| {r.claim.id} | {_plain(r.reason)} | `{r.claim.command}` | {expected(r.claim)} |" for r in missing]
    lines: list[str] = []
    if rows:
        text = "*Expected*: all cases of the claim, of which some may be there, by the rates of `benchmarks/rates.toml`"
        lines += ["", "## Not run", "", f"{text} ({machines}).", "", *head, *rows]
    rows = [
        f"| {r.claim.id} | {_plain(r.claim.claim)} | `{r.claim.elsewhere}` | {expected(r.claim, r.claim.elsewhere)} |"
        for r in results
        if r.claim.elsewhere
    ]
    if rows:
        head[0] = "| | claim | command | expected |"
        lines += ["", "## Not run at the papers' scale", "", f"On {rates()['gpu']}.", "", *head, *rows]
    return lines


def _row(result: Result) -> str:
    claim = result.claim
    grade = f" [{claim.grade}]" if claim.grade else ""
    shown = ""
    if result.headline is not None:
        shown = f"{result.headline.name}: {words(result.headline)}. "
        shown += f"{result.reason}. At {scales(result)}. {result.headline.detail}"
    elif result.verdict != NOT_RUN:
        shown = result.reason
    cells = (claim.id, claim.claim, claim.published + grade, f"**{result.verdict}**", shown)
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def line(result: Result) -> str:
    """One claim on the terminal."""
    start = f"{result.claim.id:<4} {result.verdict:<11}"
    if result.verdict == NOT_RUN:
        return f"{start} {result.claim.claim}: {result.claim.command}"
    shown = f"{result.headline.name}: {words(result.headline)}" if result.headline else result.reason
    return f"{start} {result.claim.claim}: {shown} ({scales(result)})"
