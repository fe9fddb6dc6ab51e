"""What the records of a claim cost: the cases of its command, by measured rates (``benchmarks/rates.toml``)."""

from __future__ import annotations

import functools
import re

from benchmarks.claims.judge import Claim
from benchmarks.estimate import Estimate, estimate
from benchmarks.grid import Overrides, build_cases, build_claims, load_profile, split_list
from fixtures.records import Case


def cost(claim: Claim, command: str = "") -> Estimate | None:
    """Of the cases that name the claim in the profile of each command (parted by ``; ``), or of all where none does;
    None for a command without a profile, or if a source or model of a profile is not known here.
    """
    found: list[Case] = []
    for part in (command or claim.command).split("; "):
        options = dict(re.findall(r"--(profile|models|methods|sources) (\S+)", part))
        if "profile" not in options:
            return None
        try:
            cases, helps = _profile(**options)
        except ValueError:  # GridError, SourceError, ModelError
            return None
        found += [case for case in cases if claim.id in helps[case.id]] or cases
    return estimate(found)


def expected(claim: Claim, command: str = "") -> str:
    """``0.2 GPU hours, 42 cases``; a dash where nothing was measured that would say."""
    found = cost(claim, command)
    if found is None:
        return "–" if claim.hours is None else f"{claim.hours:g} GPU hours"
    return f"{found.work}, {found.cases:,} cases"


@functools.cache
def _profile(profile: str, **chosen: str) -> tuple[list[Case], dict[str, tuple[str, ...]]]:
    read, lists = load_profile(profile), {name: split_list(text.strip("'")) for name, text in chosen.items()}
    overrides = Overrides(models=lists.get("models"), methods=lists.get("methods"), sources=lists.get("sources"))
    return build_cases(read, overrides), build_claims(read, overrides)
