"""The answer for each method in words: which source, how sure, and what the draws alone do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.records import Verdict
from reports.components import of_row
from reports.groups import CONTROLS, is_calibrated
from reports.tables import Row, Table


@dataclass(frozen=True)
class Answer:
    """One method of a model. ``sure`` is ``yes``, ``partly``, ``no`` (no difference seen), ``refused`` (whatever was
    seen, its gate is refused) or ``open`` (not judged). ``gate`` is the outcome of the source gate.
    """

    model: str
    method: str
    outcome: str
    sure: str
    source: str
    words: str
    gap: str
    draws: str
    setting: str = ""
    gate: str = ""


def answers(tables: Sequence[Table]) -> list[Answer]:
    """One answer for each calibrated method of each table that has figures or a reason for having none."""
    return [
        _answer(table, row)
        for table in tables
        for row in table.rows
        if is_calibrated(row.group.method) and row.group.records
    ]


def number(value: float, table: Table, sign: bool = False) -> str:
    """In the table's unit; small ones keep two significant digits."""
    scaled = value * table.scale
    digits = table.digits
    while digits < 5 and 0 < abs(scaled) < 10 ** (1 - digits):
        digits += 1
    return (f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}").replace("-", "\u2212")


def unit(table: Table) -> str:
    return "nats a token" if table.outcome == "loss" else "points"


def _answer(table: Table, row: Row) -> Answer:
    group, verdict = row.group, row.source
    common = (table.model, group.method_name, table.outcome)
    rest = (_draws(table, row), group.setting, verdict.outcome if verdict else "")
    if row.best is None or verdict is None:
        return Answer(*common, "open", "", f"{why_open(row)}{lowest(table, row)}", "", *rest)
    worst = verdict.details["order"][-1]
    gap = f"{worst}: {number(verdict.estimate or 0, table)} more"
    gap += f" ({number(verdict.low or 0, table)} to {number(verdict.high or 0, table)}){_share(table, row, verdict)}"
    sure, words = _told(table, row, verdict)
    if verdict.outcome == "refused":
        return Answer(*common, "refused", row.best, f"{words}; its gate is refused", gap, *rest)
    if verdict.outcome == "inconclusive":
        words += "; its gate is inconclusive: more draws decide"
    return Answer(*common, sure, row.best, words, gap, *rest)


def _told(table: Table, row: Row, verdict: Verdict) -> tuple[str, str]:
    """(how sure, in words) of the lowest source, from the pairs that survive the correction."""
    if row.decided:
        return "yes", "better than every other source beyond the draws"
    others = [s for s in verdict.details["order"] if s != row.best and s not in row.tied]
    if others:
        return "partly", f"not told apart from {listed(row.tied)}, but better than {listed(others)}"
    seen = number(verdict.detectable or 0, table)
    return "no", f"{row.best} is lowest, but no source is told apart from it; a difference of {seen} would be seen"


def why_open(row: Row) -> str:
    """Why no source is named for a method."""
    if len(row.group.planned_sources) < 2:
        return "one source: there is nothing to compare it with"
    if row.group.missing and row.source is not None:
        return f"{len(row.group.missing)} of {row.group.planned_records} records are missing"
    if row.source is not None:
        return row.source.reason
    text = [c for c in row.cells.values() if c.source not in CONTROLS]
    if row.cells and sum(len(c.values) > 1 for c in text) < 2:
        return "too few draws: it takes two sources with two draws each, better five"
    return row.problem or "no gate compared the sources"


def lowest(table: Table, row: Row) -> str:
    """The source with the lowest mean, of those that were measured; empty with one source."""
    text = [c for c in row.cells.values() if c.source not in CONTROLS]
    if len(text) < 2:
        return ""
    best = min(text, key=lambda c: c.mean)
    return f"; lowest mean so far: {best.source} ({number(best.mean, table)})"


def _share(table: Table, row: Row, verdict: Verdict) -> str:
    """The gap as a share of the damage on the worst source: the figure that travels between models."""
    worst = row.cells.get(verdict.details["order"][-1])
    if worst is None or worst.mean <= 0 or verdict.estimate is None or not table.relative:
        return ""
    return f", {100 * verdict.estimate / worst.mean:.0f} % of its damage"


def _draws(table: Table, row: Row) -> str:
    """SD over draws, and what is left of it beyond the changes of single items."""
    sd = row.draw_sd
    if sd is None:
        return "unknown: one draw a source" if row.cells else ""
    text = f"±\u00a0{number(sd, table)}"
    part = beyond_items(row)
    if part is not None:
        component, low, high = (number(value, table) for value in part)
        text += f"; beyond single items {component} ({low} to {high})"
    return text


def beyond_items(row: Row) -> tuple[float, float, float] | None:
    """(component of the draws, low, high) as the variance gate has it, else from the cells; None with one draw."""
    if row.variance is not None and row.variance.estimate is not None and row.variance.high is not None:
        return row.variance.estimate, row.variance.low or 0.0, row.variance.high
    part = of_row(row)
    return None if part is None else (part.draw, part.draw_low, part.draw_high)


def controls_note(tables: Sequence[Table]) -> list[str]:
    """Where random tokens do no worse than the best text, the source hardly matters: worth a sentence."""
    notes = []
    for table in tables:
        for row in table.rows:
            for control in CONTROLS:
                best = row.cells.get(row.best or "")
                found = row.cells.get(control)
                if best and found and found.mean <= best.mean:
                    notes.append(f"{row.group.label}: {control} does no worse than {row.best}, the best text.")
    return notes


def listed(names: Sequence[str], word: str = "and") -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
