"""The first lines of a report: which source to use for each model, how sure that is, and what the draws alone do.

Gates decide: a source is recommended as far as its gates say so, and where they are refused, inconclusive or lack
records the headline says that first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reports.answer import listed, number, unit
from reports.groups import CONTROLS, is_calibrated
from reports.tables import Row, Table


@dataclass(frozen=True)
class Headline:
    """``lead`` is the answer in one line, ``rest`` how sure it is and what it costs to ignore it."""

    lead: str
    rest: str

    def __str__(self) -> str:
        return f"{self.lead} {self.rest}"


def headlines(tables: Sequence[Table]) -> list[Headline]:
    """One a table that names a source: the one that wins most, the price of the wrong one, the draws.

    Models of which no table does share a line for each reason.
    """
    found, named = [], set()
    for table in tables:
        rows = _answered(table)
        if rows:
            named.add(table.model)
            found.append(_headline(table, rows))
    # Other items or perturbed inputs of a model that has its answer need no line of their own.
    silent = [t for t in tables if not {t.model, t.rows[0].group.name} & named]
    return found + _silent([t for k, t in enumerate(silent) if t.model not in {o.model for o in silent[:k]}], not found)


def of_setting(table: Table, setting: str) -> str:
    """The answer of one setting in a line; empty where no source is named."""
    rows = [row for row in _calibrated(table, setting) if row.best]
    return _headline(table, rows).lead.partition(": ")[2] if rows else ""


def _calibrated(table: Table, setting: str) -> list[Row]:
    return [row for row in table.of(setting) if is_calibrated(row.group.method)]


def _answered(table: Table) -> list[Row]:
    """Rows with a source, of one setting: amounts are not mixed. The setting with the most records that has any."""
    for setting in table.settings:
        rows = [row for row in _calibrated(table, setting) if row.best]
        if rows:
            return rows
    return []


def _headline(table: Table, rows: Sequence[Row]) -> Headline:
    wins = Counter(row.best for row in rows)
    # Not ruled out for most methods, then lowest for most.
    best = max(table.sources, key=lambda s: (sum(s == row.best or s in row.tied for row in rows), wins[s]))
    count = wins[best]
    within = sum(best == row.best or best in row.tied for row in rows)
    sure = sum(row.decided and row.best == best for row in rows)
    everywhere = [s for s in table.sources if all(s == row.best or s in row.tied for row in rows)]
    open_ = all(len(row.tied) + 1 == len([s for s in row.cells if s not in CONTROLS]) for row in rows)
    several = len(rows) > 1
    every = len(_calibrated(table, rows[0].group.setting))
    methods = f"{len(rows)} calibrated methods" if several else "the one calibrated method"
    if every > len(rows):
        methods = f"{len(rows)} calibrated methods that were judged, of {every},"
    chosen = [best]
    if open_:
        which = f"{count} of {methods}" if several else methods
        text = f"{best} is lowest for {which} within what the draws do."
    elif sure == len(rows) and count == len(rows):
        text = (
            f"It is better than every other source beyond the draws for {'all ' * several}{methods}".rstrip(",") + "."
        )
    elif sure == 0 and len(everywhere) > 1:
        chosen = everywhere
        text = f"These are not told apart from the best for {'any of the ' * several}{methods}".rstrip(",") + "."
    elif several:
        text = f"It is best or not told apart from the best for {within} of {methods}, surely best for {sure}."
    else:
        text = "It is lowest, and not every other source is told apart from it."
    setting = f" at {rows[0].group.setting}" if rows[0].group.setting else ""
    lead = f"{table.model}{setting}: {_lead(table, rows, chosen, open_)}"
    return Headline(lead, f"{text}{_gates(rows)}{_prices(table, rows)}")


def _lead(table: Table, rows: Sequence[Row], chosen: Sequence[str], open_: bool) -> str:
    measure = "" if table.outcome == "loss" else " by accuracy on tasks"
    if open_:
        return f"no source is told apart from another{measure}."
    if all(_outcome(row) == "refused" for row in rows):
        return f"{listed(chosen, 'or')} measured best{measure}, but no gate confirms it."
    return f"calibrate on {listed(chosen, 'or')}{measure}."


def _outcome(row: Row) -> str:
    return row.source.outcome if row.source else ""


def _gates(rows: Sequence[Row]) -> str:
    """What the source gates hold against the answer; empty where all pass."""
    text, n = "", len(rows)
    refused = [row for row in rows if _outcome(row) == "refused"]
    open_ = [row for row in rows if _outcome(row) == "inconclusive"]
    if refused:
        assert refused[0].source is not None
        which = "every source gate is" if len(refused) == n else f"{len(refused)} of {n} source gates are"
        text += f" But {which} refused: {refused[0].source.reason}."
    if open_:
        which = "Every source gate is" if len(open_) == n else f"{len(open_)} of {n} source gates are"
        text += f" {which} inconclusive: more draws decide."
    return text


def _prices(table: Table, rows: Sequence[Row]) -> str:
    """What the wrong source costs where it is told apart, else how far the sources lie apart; and the draws."""
    found = [(row, row.source) for row in rows if row.source and row.source.estimate is not None]
    worse = [verdict.estimate or 0.0 for row, verdict in found if verdict.details["order"][-1] not in row.tied]
    gaps = worse or [verdict.estimate or 0.0 for _, verdict in found]
    spreads = [row.draw_sd for row in rows if row.draw_sd is not None]
    if not gaps or not spreads:
        return ""
    gap, spread = _span(gaps, table), _span(spreads, table)
    if len(worse) == len(rows):
        price = f"The wrong source costs {gap} {unit(table)}"
    elif worse:
        where = f"{len(worse)} of {len(rows)} methods"
        price = f"Where the highest source is told apart from the lowest ({where}), it costs {gap} {unit(table)} more"
    else:
        price = f"The sources lie {gap} {unit(table)} apart"
    return f" {price}; another draw of the same source moves the result by {spread} (SD)."


def _span(values: Sequence[float], table: Table) -> str:
    low, high = number(min(values), table), number(max(values), table)
    return low if low == high else f"{low} to {high}"


def _silent(tables: Sequence[Table], nothing_else: bool) -> list[Headline]:
    """Why no source is named, a line a reason; models with the same reason share it."""
    if nothing_else and not any(row.cells for table in tables for row in table.rows):
        return [Headline("No answer yet.", "No compressed model was scored.")]
    reasons: dict[tuple[str, str], list[Table]] = {}
    for table in tables:
        reasons.setdefault(_reason(table), []).append(table)
    found = []
    for (lead, rest), members in reasons.items():
        so_far = " ".join(text for t in members if (text := _so_far(t, len(members) > 1)))
        start = f"{listed([t.model for t in members])}: {lead}."
        found.append(Headline(start, f"{rest} {so_far}".rstrip()))
    if nothing_else:
        return [Headline("These records do not say which source to use.", " ".join(map(str, found)))]
    return found


def _reason(table: Table) -> tuple[str, str]:
    """(in short, in full) why a table names no source."""
    rows = next((rows for s in table.settings if (rows := _calibrated(table, s))), [])
    if rows and all(len(row.group.planned_sources) < 2 for row in rows):
        return "one source, nothing to compare it with", "The table shows what the draws do."
    text = [[len(c.values) for c in row.cells.values() if c.source not in CONTROLS] for row in rows]
    if not any(sum(n > 1 for n in draws) > 1 for draws in text):
        rest = "That takes two sources with two draws each, better five; the table shows what was measured."
        return "too few draws to name a source", rest
    judged = [row for row in rows if row.source is not None]
    if not judged:
        return "no source gate was judged", "The table shows what was measured."
    missing = sum(len(row.group.missing) for row in judged)
    if missing:
        planned = sum(row.group.planned_records for row in judged)
        return "too few records to name a source", f"Its source gates lack {missing} of {planned} planned records."
    assert judged[0].source is not None
    reason = judged[0].source.reason
    return "its source gates could not be judged", f"{reason[:1].upper()}{reason[1:]}."


def _so_far(table: Table, named: bool) -> str:
    """Which source has the lowest mean for most methods, without a judgement."""
    rows = next((rows for s in table.settings if (rows := _calibrated(table, s))), [])
    best = []
    for row in rows:
        text = [c for c in row.cells.values() if c.source not in CONTROLS]
        if len(text) > 1 and all(len(c.values) > 1 for c in text):
            best.append(min(text, key=lambda c: c.mean).source)
    if not best:
        return ""
    source, count = Counter(best).most_common(1)[0]
    of = f" of {table.model}" if named else ""
    return f"Lowest mean so far, not judged: {source}, for {count} of {len(best)} methods{of}."
