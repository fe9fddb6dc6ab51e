"""Which cases a fleet makes first: those of a file, those that decide certain claims, or few draws of everything."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.grid import GridError, nearest
from fixtures.records import Case

CONTROL_CLAIMS = ("M2", "M3")  # what null controls decide


def listed(cases: Sequence[Case], file: Path) -> list[Case]:
    """The cases that a file names (one id a line), in its order. Raises GridError for an id that is not among them."""
    wanted = dict.fromkeys(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    by_id = {case.id: case for case in cases}
    unknown = [name for name in wanted if name not in by_id]
    if unknown:
        near = difflib.get_close_matches(unknown[0], by_id, 1)
        hint = f"; nearest: {near[0]}" if near else ""
        raise GridError(f"{file}: {len(unknown)} ids are not in the profile, the first {unknown[0]!r}{hint}")
    return [by_id[name] for name in wanted]


def ranks(
    profile: dict[str, Any], cases: Sequence[Case], named: dict[str, tuple[str, ...]], wanted: Sequence[str] = ()
) -> dict[str, int]:
    """The place of the earliest claim that a case helps to decide, by id; cases that help none are left out.

    ``named``: the claims of a case by its id. ``wanted``: claims in order; without any, the profile's own order.
    Raises ``GridError`` for a claim that no grid of the profile names.
    """
    first = list(wanted) or list(profile.get("fleet", {}).get("first", ()))
    known = {*CONTROL_CLAIMS, *(claim for grid in profile.get("grid", ()) for claim in grid.get("claims", ()))}
    if unknown := [claim for claim in first if claim not in known]:
        raise GridError(f"claims: no grid of the profile names {unknown[0]!r}{nearest(unknown[0], known)}")
    helps = {case.id: CONTROL_CLAIMS if case.control else named.get(case.id, ()) for case in cases}
    places = {name: [first.index(claim) for claim in claims if claim in first] for name, claims in helps.items()}
    return {name: min(held) for name, held in places.items() if held}


def in_order(left: Sequence[Case], cases: Sequence[Case], places: dict[str, int], draws: int = 0) -> list[Case]:
    """``left`` of ``cases``: by place, and there by seed; then model by model, sweep by sweep, by seed.

    With ``draws``, so many draws of everything come before the others.
    """
    models = list(dict.fromkeys(case.model for case in cases))
    tags = list(dict.fromkeys(["", *(case.tag for case in cases)]))

    def place(case: Case) -> tuple[int, ...]:
        seed, model, tag = case.draw.seed if case.draw else -1, models.index(case.model), tags.index(case.tag)
        later = int(draws > 0 and seed >= draws)
        if case.id in places:  # a claim over several models or amounts wants few draws of all
            return later, places[case.id], seed, model, tag
        # Tagged cases are sweeps beside the main table of their model: they come after it.
        return later, len(places), model, tag, seed

    return sorted(left, key=place)


def first_draws(profile: dict[str, Any]) -> int:
    """``draws`` of the table ``[fleet]``, 0 without. Raises ``GridError`` if it is no whole number above 0."""
    found = profile.get("fleet", {}).get("draws", 0)
    if "draws" in profile.get("fleet", {}) and (type(found) is not int or found < 1):
        raise GridError(f"--profile: [fleet] draws = {found!r}: expected a whole number of at least 1")
    return found
