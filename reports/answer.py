"""The answer in words: which source, how sure, and what the draws alone do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fixtures.records import Verdict
from reports.groups import CONTROLS, is_calibrated
from reports.tables import Row, Table


@dataclass(frozen=True)
class Answer:
    """One method of a model. ``sure`` is ``yes``, ``partly``, ``no`` or ``open`` (cannot be said)."""

    model: str
    method: str
    outcome: str
    sure: str
    source: str
    words: str
    gap: str
    draws: str


def answers(tables: Sequence[Table]) -> list[Answer]:
    """One answer for each calibrated method of each table."""
    return [_answer(table, row) for table in tables for row in table.rows if is_calibrated(row.group.method)]


def number(value: float, table: Table, sign: bool = False) -> str:
    """In the table's unit; small ones keep two significant digits."""
    scaled = value * table.scale
    digits = table.digits
    while digits < 5 and 0 < abs(scaled) < 10 ** (1 - digits):
        digits += 1
    return f"{scaled:+.{digits}f}" if sign else f"{scaled:.{digits}f}"


def unit(table: Table) -> str:
    return "nats a token" if table.outcome == "loss" else "points"


def _answer(table: Table, row: Row) -> Answer:
    group, verdict = row.group, row.source
    common = (table.model, group.method_name, table.outcome)
    draws = _draws(table, row)
    if row.best is None or verdict is None:
        why = verdict.reason if verdict else (row.problem or "the sources were not compared")
        return Answer(*common, "open", "", why, "", draws)
    worst = verdict.details["order"][-1]
    gap = f"{worst} costs {number(verdict.estimate or 0, table)} more"
    gap += f" ({number(verdict.low or 0, table)} to {number(verdict.high or 0, table)}){_share(row, verdict)}"
    if row.decided:
        return Answer(*common, "yes", row.best, "better than every other source beyond the draws", gap, draws)
    others = [s for s in verdict.details["order"] if s != row.best and s not in row.tied]
    tied = _listed(row.tied)
    if others:
        words = f"not told apart from {tied}, but better than {_listed(others)}"
        return Answer(*common, "partly", row.best, words, gap, draws)
    seen = number(verdict.detectable or 0, table)
    words = f"{row.best} is lowest, but no source is told apart from it; a difference of {seen} would be seen"
    return Answer(*common, "no", row.best, words, gap, draws)


def _share(row: Row, verdict: Verdict) -> str:
    """The gap as a share of the damage on the worst source: the figure that travels between models."""
    worst = row.cells.get(verdict.details["order"][-1])
    if worst is None or worst.mean <= 0 or verdict.estimate is None:
        return ""
    return f", {verdict.estimate / worst.mean:.0%} of its damage"


def _draws(table: Table, row: Row) -> str:
    sd = row.draw_sd
    if sd is None:
        return "unknown: one draw a source"
    text = f"± {number(sd, table)}"
    if row.variance is not None and row.variance.estimate is not None and row.variance.high is not None:
        low, high = number(row.variance.low or 0, table), number(row.variance.high, table)
        text += f", by its text {number(row.variance.estimate, table)} ({low} to {high})"
    return text


@dataclass(frozen=True)
class Headline:
    """``lead`` is the answer in one line, ``rest`` how sure it is and what it costs to ignore it."""

    lead: str
    rest: str

    def __str__(self) -> str:
        return f"{self.lead} {self.rest}"


def headlines(tables: Sequence[Table]) -> list[Headline]:
    """One a model: the source that wins most, the price of the wrong one, the draws."""
    found = []
    named: set[str] = set()
    for table in tables:
        rows = [row for row in table.rows if is_calibrated(row.group.method) and row.best]
        if rows:
            named.add(table.model)
            found.append(_headline(table, rows))
    silent = list(dict.fromkeys(t.model for t in tables if t.model not in named))
    if silent and found:
        rest = "That takes two sources with two draws each, better five; its table shows what was measured."
        found.append(Headline(f"{_listed(silent)}: too few draws to name a source.", rest))
    return found or [_nothing(tables)]


def _headline(table: Table, rows: Sequence[Row]) -> Headline:
    wins = Counter(row.best for row in rows)
    # Not ruled out for most methods, then lowest for most.
    best = max(table.sources, key=lambda s: (sum(s == row.best or s in row.tied for row in rows), wins[s]))
    count = wins[best]
    within = sum(best == row.best or best in row.tied for row in rows)
    sure = sum(row.decided and row.best == best for row in rows)
    measure = "" if table.outcome == "loss" else " by accuracy on tasks"
    everywhere = [s for s in table.sources if all(s == row.best or s in row.tied for row in rows)]
    open_ = all(len(row.tied) + 1 == len([s for s in row.cells if s not in CONTROLS]) for row in rows)
    methods = f"{len(rows)} calibrated methods" if len(rows) > 1 else "the one calibrated method"
    if open_:
        lead = f"{table.model}: no source is told apart from another{measure}."
        which = f"{count} of {methods}" if len(rows) > 1 else methods
        text = f"{best} is lowest for {which}, within what the draws do."
    elif sure == len(rows) and count == len(rows):
        lead = f"{table.model}: calibrate on {best}{measure}."
        text = f"It is better than every other source beyond the draws for {'all ' * (len(rows) > 1)}{methods}."
    elif sure == 0 and len(everywhere) > 1:
        lead = f"{table.model}: calibrate on {_listed(everywhere, 'or')}{measure}."
        text = f"These are not told apart from the best for {'any of the ' * (len(rows) > 1)}{methods}."
    else:
        lead = f"{table.model}: calibrate on {best}{measure}."
        several = f"It is best or not told apart from the best for {within} of {methods}, surely best for {sure}."
        one = "It is lowest, and not every other source is told apart from it."
        text = several if len(rows) > 1 else one
    return Headline(lead, text + _prices(table, rows, open_))


def _prices(table: Table, rows: Sequence[Row], open_: bool) -> str:
    gaps = [row.source.estimate for row in rows if row.source and row.source.estimate is not None]
    spreads = [row.draw_sd for row in rows if row.draw_sd is not None]
    if not gaps or not spreads:
        return ""
    gap, spread = _span(gaps, table), _span(spreads, table)
    price = "The sources lie {} {} apart" if open_ else "The wrong source costs {} {}"
    return f" {price.format(gap, unit(table))}; another draw of the same source moves the result by {spread} (SD)."


def _span(values: Sequence[float], table: Table) -> str:
    low, high = number(min(values), table), number(max(values), table)
    return low if low == high else f"{low} to {high}"


def _nothing(tables: Sequence[Table]) -> Headline:
    cells = sum(len(row.cells) for table in tables for row in table.rows)
    if cells == 0:
        return Headline("No answer yet.", "No compressed model was scored.")
    rest = "That takes at least two sources with two draws each, better five. The table shows what was measured."
    return Headline("These records do not say which source to use.", rest)


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


def _listed(names: Sequence[str], word: str = "and") -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
