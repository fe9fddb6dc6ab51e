"""From claims and records to verdicts: one a claim, with the evidence of every cell behind it."""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.claims import rules
from benchmarks.claims.evidence import Cell
from benchmarks.claims.panels import NoEvidence
from benchmarks.claims.rules import CANNOT_TELL, DOES_NOT, NOT_RUN, REPLICATES
from benchmarks.claims.world import World
from fixtures.records import label
from reports.statistics import holm

PATH = Path(__file__).resolve().parents[1] / "claims.toml"
FAMILIES = ("A", "B", "C", "X", "M")
CORRECTED = ("A", "B", "C", "X")  # M asks about the measurement itself: each of its claims stands alone
GATED = ("P", "C")  # grades of published figures that may be relied on


class ClaimError(ValueError):
    """A row of claims.toml that cannot be read; the message names it and what was expected."""


@dataclass(frozen=True)
class Claim:
    """One row of claims.toml. ``published`` may name a figure, ``grade`` says who read it where."""

    id: str
    claim: str
    published: str
    grade: str
    needs: str
    rule: str
    margin: str
    command: str
    statistic: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    some: bool = False  # holds if it holds for one cell
    rederived: bool = False  # of a method without published code: a negative finding may be ours
    cells: str = ""  # pattern of the models it is about, in words
    note: str = ""
    hours: float | None = None  # of a GPU, where the command names no profile
    elsewhere: str = ""  # the command at the papers' scale, for a verdict that a small model cannot give

    @property
    def family(self) -> str:
        return self.id[0]


@dataclass(frozen=True)
class Result:
    """A claim's verdict; ``headline`` is the cell that decides it: the least favourable of those behind the verdict."""

    claim: Claim
    verdict: str
    reason: str
    by_outcome: dict[str, str]
    cells: tuple[tuple[Cell, str], ...]
    headline: Cell | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_against: float | None = None  # of *does not*, corrected over the cells that could have said so
    against_adjusted: float | None = None


def load(path: Path = PATH) -> list[Claim]:
    """The claims in order. Raises :class:`ClaimError`."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["claim"]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ClaimError(f"{path}: {error}") from error
    known = [f.name for f in dataclasses.fields(Claim)]
    claims = []
    for row in rows:
        if unknown := set(row) - set(known):
            raise ClaimError(
                f"{path}: claim {row.get('id')!r}: no field {sorted(unknown)[0]!r}; known: {', '.join(known)}"
            )
        try:
            claim = Claim(**row)
        except TypeError as error:
            raise ClaimError(f"{path}: claim {row.get('id')!r}: {error}") from error
        if claim.rule not in rules.RULES or claim.family not in FAMILIES:
            raise ClaimError(f"{path}: claim {claim.id}: rule {claim.rule!r}; known: {', '.join(rules.RULES)}")
        claims.append(claim)
    if len({claim.id for claim in claims}) != len(claims):
        raise ClaimError(f"{path}: two claims have the same id")
    return claims


def judge(claims: Sequence[Claim], world: World) -> list[Result]:
    """Results in the order of the claims; *replicates* and *does not* must each survive Holm's correction over the
    family.
    """
    results = [_one(claim, world) for claim in claims]
    for family in CORRECTED:
        members = [k for k, result in enumerate(results) if result.claim.family == family]
        judged = [
            k for k in members if results[k].verdict != NOT_RUN and results[k].claim.rule not in ("exact", "figure")
        ]
        sure, against = (holm([getattr(results[k], name) for k in judged]) for name in ("p", "p_against"))
        for k, p, q in zip(judged, sure, against, strict=True):
            results[k] = _corrected(results[k], p, q, len(judged))
    return results


def _corrected(result: Result, p: float | None, against: float | None, family: int) -> Result:
    result = dataclasses.replace(result, p_adjusted=p, against_adjusted=against)
    value = {REPLICATES: p, DOES_NOT: against}.get(result.verdict, 0.0)
    if value is None or value >= rules.ALPHA:
        reason = f"{result.reason}; not significant after Holm's correction over {family} claims"
        return dataclasses.replace(result, verdict=CANNOT_TELL, reason=reason)
    return result


def evidence(claim: Claim, world: World) -> list[Cell]:
    """The cells of a claim. Raises :class:`NoEvidence`, or ``ClaimError`` for a statistic that does not exist."""
    if not claim.statistic:
        raise NoEvidence(claim.needs)
    module, _, name = claim.statistic.partition(".")
    try:
        statistic = getattr(importlib.import_module(f"benchmarks.claims.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise ClaimError(f"claim {claim.id}: no statistic {claim.statistic!r}: {error}") from error
    return statistic(world, claim.settings)


def _one(claim: Claim, world: World) -> Result:
    try:
        cells = _of_any_model(claim, world)
    except NoEvidence as error:
        return Result(claim, NOT_RUN, f"needs {claim.needs} ({error})" if claim.statistic else str(error), {}, ())
    judged = tuple((cell, _decide(claim, cell)) for cell in cells)
    by_outcome = {
        outcome: _of_outcome(claim, [(c, v) for c, v in judged if c.outcome == outcome and not c.shown_only])
        for outcome in dict.fromkeys(cell.outcome for cell in cells if not cell.shown_only)
    }
    kept = [(cell, verdict) for cell, verdict in judged if not cell.shown_only]
    if not kept:
        why = "what could be read stands beside the verdict; nothing that it is taken on"
        return Result(claim, CANNOT_TELL, why, {}, judged, _headline(CANNOT_TELL, list(judged), claim))
    verdict, reason = _verdict(claim, by_outcome, kept)
    if claim.rederived and verdict == DOES_NOT:
        verdict, reason = CANNOT_TELL, f"{reason}; re-derived from the description, so a negative finding may be ours"
    p, against = _p_value(claim, kept), max(_against(claim, kept, outcome) for outcome in by_outcome)
    headline = _headline(verdict, kept, claim)
    return Result(claim, verdict, reason, by_outcome, judged, headline, p, p_against=against)


def _of_outcome(claim: Claim, judged: list[tuple[Cell, str]]) -> str:
    """The verdict of the cells of one outcome; *does not* because of one cell must survive their number."""
    found = rules.together([verdict for _, verdict in judged], claim.some, claim.rule)
    outcome = judged[0][0].outcome
    return CANNOT_TELL if found == DOES_NOT and _against(claim, judged, outcome) >= rules.ALPHA else found


def _against(claim: Claim, kept: Iterable[tuple[Cell, str]], outcome: str) -> float:
    """The p value that a claim fails. One that needs all cells fails with the surest (times their number, as Holm has
    it for the first); one that needs some cell fails with the least sure.
    """
    held = [_p_against(claim, cell) for cell, _ in kept if cell.outcome == outcome]
    return max(held) if claim.some else min(1.0, len(held) * min(held)) if claim.rule != "exact" else min(held)


def _p_against(claim: Claim, cell: Cell) -> float:
    """1 for a cell that cannot say *does not*, whatever its figures are."""
    if cell.cut or cell.contrary or cell.rederived:
        return 1.0
    return rules.p_against(cell.rule or claim.rule, cell.evidence, cell.margin)


def _decide(claim: Claim, cell: Cell) -> str:
    if cell.cut or cell.contrary:
        return CANNOT_TELL
    verdict = rules.decide(cell.rule or claim.rule, cell.evidence, cell.margin)
    return CANNOT_TELL if cell.rederived and verdict == DOES_NOT else verdict


def _of_any_model(claim: Claim, world: World) -> list[Cell]:
    """The cells; of the models whose records suffice if those of one do not. Raises :class:`NoEvidence`."""
    try:
        return evidence(claim, world)
    except ClaimError:
        raise
    except ValueError as error:
        why = error
    found: dict[tuple[str, str], Cell] = {}
    for model in world.models if len(world.models) > 1 else ():
        try:
            alone = World((r for r in world.records if r.case["model"] == model), world.published)
            alone.replays = {name: found for name, found in world.replays.items() if name == model}
            found |= {(cell.name, cell.outcome): cell for cell in evidence(claim, alone)}
        except ClaimError:
            raise
        except ValueError:
            continue
    if not found:
        raise NoEvidence(str(why)) from why
    return list(found.values())


def _verdict(claim: Claim, by_outcome: dict[str, str], kept: list[tuple[Cell, str]]) -> tuple[str, str]:
    count = {name: sum(verdict == name for _, verdict in kept) for name in (REPLICATES, DOES_NOT, CANNOT_TELL)}
    words = ", ".join(f"{name} in {n}" for name, n in count.items() if n) + f" of {len(kept)} cells"
    if claim.rule == "figure":
        return CANNOT_TELL, "a figure with its interval; no verdict is asked for"
    found = set(by_outcome.values())
    if found == {CANNOT_TELL} and count[DOES_NOT] and not count[REPLICATES]:
        words += "; none of them surely after Holm's correction over the cells"
    if len(found) == 1:
        return found.pop(), words
    apart = "; ".join(f"{name}: {verdict}" for name, verdict in by_outcome.items())
    return CANNOT_TELL, f"the outcomes disagree ({apart}); {words}"


def _p_value(claim: Claim, kept: Iterable[tuple[Cell, str]]) -> float:
    """All cells must hold: the largest. One must: the smallest, times their number."""
    values = [rules.p_value(cell.rule or claim.rule, cell.evidence, cell.margin) for cell, _ in kept]
    return min(1.0, len(values) * min(values)) if claim.some else max(values)


def _headline(verdict: str, kept: list[tuple[Cell, str]], claim: Claim) -> Cell:
    """Of the cells that have the verdict, the one that says it least clearly; most clearly if one is enough for it."""
    same = [cell for cell, found in kept if found == verdict] or [cell for cell, _ in kept]
    if verdict == DOES_NOT:
        pick = max if claim.some else min
        return pick(same, key=lambda cell: _p_against(claim, cell))
    pick = min if claim.some else max
    return pick(same, key=lambda cell: rules.p_value(cell.rule or claim.rule, cell.evidence, cell.margin))


def scales(result: Result) -> str:
    """What models a verdict is a statement about."""
    from benchmarks.claims.world import scale

    models = dict.fromkeys(cell.name.split(" ")[0].rstrip(",") for cell, _ in result.cells)
    return "; ".join(dict.fromkeys(scale(label(model)) for model in models if model not in ("any", "weights")))
