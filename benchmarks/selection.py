"""Which tests are cases, and what to say when ``-m`` or ``-k`` leave none of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

import pytest

from fixtures.image_cases import ImageCase
from fixtures.records import Case

TERM = re.compile(r"""(?P<name>\w+)\s*=\s*(?P<quote>['"]?)(?P<value>[^'",)]+)(?P=quote)""")


def is_case(item: pytest.Item) -> bool:
    """Whether a test is a cell of a grid."""
    return not {"case", "image_case"}.isdisjoint(getattr(item, "fixturenames", ()))


def without_case(item: pytest.Item) -> bool:
    """Whether pytest made the item because there is nothing to run: an empty list of cases leaves one that skips."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    kinds = {"case": Case, "image_case": ImageCase}
    return any(name in parameters and not isinstance(parameters[name], kind) for name, kind in kinds.items())


def hint(markers: str, keywords: str, cases: Sequence[Case | ImageCase]) -> str:
    """One sentence a reason: unknown names or values of the expression with the nearest known, else a whole id."""
    known = _known(cases)
    problems = []
    for match in TERM.finditer(markers):
        name, value = match["name"], match["value"].strip()
        if name not in known:
            problems.append(f"case(...) has no {name!r}: {', '.join(known)}")
        elif value not in known[name]:
            problems.append(f"no case has {name} {value!r}{_nearest(value, known[name])}")
        elif name != "seed" and not match["quote"]:
            problems.append(f"{name} needs quotes: {name}='{value}'")
        elif name == "seed" and match["quote"]:
            problems.append(f"seed is a number: seed={value}")
    asked = " ".join(part for part in (f'-m "{markers}"' * bool(markers), f'-k "{keywords}"' * bool(keywords)) if part)
    start = f"{asked} selects none of the {len(cases)} cases"
    if problems:
        return f"{start}: {'; '.join(problems)}"
    close = get_close_matches(keywords, [case.id for case in cases], n=1, cutoff=0.3) if keywords else []
    example = close[0] if close else cases[-1].id
    return f"{start}. An id is, for instance, {example}; --dry-run shows the grid"


def _known(cases: Sequence[Case | ImageCase]) -> dict[str, list[str]]:
    draws = [case if isinstance(case, ImageCase) else case.draw for case in cases]
    return {
        "model": _once(case.model for case in cases),
        "method": _once(case.method for case in cases),
        "source": _once(draw.source for draw in draws if draw and draw.source),
        "seed": _once(str(draw.seed) for draw in draws if draw),
    }


def _once(names) -> list[str]:
    return list(dict.fromkeys(names))


def _nearest(value: str, known: Sequence[str]) -> str:
    close = get_close_matches(value, known, n=1, cutoff=0.4)
    listed = ", ".join(known[:8]) + (" ..." if len(known) > 8 else "")
    return f" (did you mean {close[0]!r}? there are: {listed})" if close else f" (there are: {listed})"
