"""The run as plain text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fixtures.records import Record, Verdict
from reports.answer import controls_note
from reports.distilled import distilled_tables, is_image, text_lines
from reports.groups import CONTROLS
from reports.headline import headlines
from reports.notes import notes
from reports.tables import Row, Table, make_tables

ORDER = ("fail", "inconclusive", "refused", "pass")


def render(manifest: dict[str, Any], records: Sequence[Record], verdicts: Sequence[Verdict], width: int = 100) -> str:
    """At most ``width`` columns (60 at least): the answer, tables, verdicts, notes."""
    width = max(60, width)
    distilled = distilled_tables(records)
    records = [record for record in records if not is_image(record)]
    groups, tables = make_tables(manifest, records, verdicts)
    parts = [_wrapped(str(line), width) for line in headlines(tables)]
    parts += [_wrapped(line, width) for line in controls_note(tables)]
    parts += ["", *(line for table in tables for line in _table(table, width))]
    if tables:
        parts.append(_wrapped("mean ± SD over draws; * best source, = not told apart from it (source gate)", width))
    for images in distilled:
        parts += ["", *text_lines(images)]
    parts += ["", *_verdicts(verdicts, width)]
    found = notes(manifest, records, groups)
    if found:
        parts += ["", "repaired, skipped or missing:", *(_wrapped(line, width, "  ") for line in found)]
    return "\n".join(parts).strip("\n")


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)


def _table(table: Table, width: int) -> list[str]:
    """Methods down, sources across; sources go to a second block if they do not fit."""
    dense = "" if table.dense is None else f"; dense {table.dense * table.scale:.{table.digits}f}"
    lines = [f"{table.model}: {table.title}{dense}"]
    first = max(len("method"), *(len(_name(table, row)) for row in table.held)) + 1
    sources = table.sources
    texts = {(id(row), s): cell_text(table, row, s) for row in table.held for s in sources if s in row.cells}
    column = max([len(s) for s in sources] + [len(text) for text in texts.values()]) + 1
    across = max(1, (width - first) // column)
    for start in range(0, len(sources), across):
        block = sources[start : start + across]
        lines.append("method".ljust(first) + "".join(s.rjust(column) for s in block))
        for row in table.held:
            cells = "".join(texts.get((id(row), s), "-").rjust(column) for s in block)
            lines.append(_name(table, row).ljust(first) + cells)
    for reason, names in table.without:
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        lines.append(_wrapped(f"{reason}: {', '.join(names[:4])}{more}", width, "  "))
    return [*lines, ""]


def _name(table: Table, row: Row) -> str:
    return row.group.method_name


def mark(row: Row, source: str) -> str:
    """``*`` for the best source, ``=`` for one that cannot be told apart from it."""
    if source in CONTROLS or row.best is None:
        return " "
    return "*" if source == row.best else "=" if source in row.tied else " "


def cell_text(table: Table, row: Row, source: str) -> str:
    cell, digits = row.cells[source], table.digits_of(row)
    spread = "" if cell.sd is None else f" ±{cell.sd * table.scale:.{digits}f}" if cell.sd else " ±0"
    return f"{cell.mean * table.scale:.{digits}f}{spread}{mark(row, source)}"


def _verdicts(verdicts: Sequence[Verdict], width: int) -> list[str]:
    """Counts first; then every gate that did not pass, failures first, with its reason."""
    if not verdicts:
        return ["gates: none was judged"]
    counts = Counter(v.outcome for v in verdicts)
    lines = ["gates: " + ", ".join(f"{counts[o]} {o}" for o in ORDER if counts[o])]
    for outcome in ORDER[:3]:
        alike: dict[tuple[str, str], list[Verdict]] = {}
        for verdict in (v for v in verdicts if v.outcome == outcome):
            alike.setdefault((verdict.gate, verdict.reason), []).append(verdict)
        for (gate, reason), members in alike.items():
            subjects = ", ".join(v.subject for v in members[:4]) + (
                f" and {len(members) - 4} more" if len(members) > 4 else ""
            )
            text = (
                verdict_text(members[0])
                if len(members) == 1
                else f"{outcome} {gate}, {len(members)} times: {reason} ({subjects})"
            )
            lines.append(_wrapped(text, width, "  "))
    return lines


def verdict_text(verdict: Verdict) -> str:
    """``FAIL variance[model method]: reason (estimate [low, high], p, detectable)``."""
    numbers = []
    if verdict.estimate is not None and verdict.low is not None and verdict.high is not None:
        numbers.append(f"{verdict.estimate:.4g} [{verdict.low:.4g}, {verdict.high:.4g}] {verdict.unit}".strip())
    p = verdict.p if verdict.p_adjusted is None else verdict.p_adjusted
    if p is not None:
        numbers.append(f"p {p:.2g}")
    if verdict.detectable is not None:
        numbers.append(f"detectable {verdict.detectable:.3g}")
    if verdict.flips is not None:
        numbers.append(f"flips -{verdict.flips[0]} +{verdict.flips[1]}")
    shown = verdict.outcome.upper() if verdict.outcome == "fail" else verdict.outcome
    return f"{shown} {verdict.id}: {verdict.reason}" + (f" ({'; '.join(numbers)})" if numbers else "")
