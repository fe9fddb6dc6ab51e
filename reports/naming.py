"""What groups are called in tables: words that all share are said once, evaluations that differ are kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.groups import Group


def name_groups(groups: Sequence[Group]) -> None:
    """Sets ``common`` and ``variant`` of each group; labels, which gates and baselines know, stay as they are."""
    shared = [word for word in groups[0].words[1:] if all(word in g.words for g in groups)] if groups else []
    models: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        group.common = tuple(shared)
        models.setdefault(group.name, {}).setdefault(repr(_evaluation(group)), []).append(group)
    for evaluations in models.values():
        first, *others = evaluations.values()
        for members in others:
            outside = {word for held in evaluations.values() if held is not members for g in held for word in g.words}
            own = [w for w in members[0].words[1:] if w not in outside and all(w in g.words for g in members)]
            said = " ".join(own) or _difference(_evaluation(members[0]), _evaluation(first[0]))
            taken = {held[0].variant for held in evaluations.values()}
            for group in members:
                group.variant = said if said not in taken else f"{said} ({len(taken)})"


def _evaluation(group: Group) -> dict[str, Any]:
    return group.cases[0]["evaluation"]


def _difference(here: dict[str, Any], first: dict[str, Any]) -> str:
    """In words, what is measured otherwise than in the first evaluation of the model."""
    found = []
    for name in ("items", "documents", "document_tokens"):
        if here.get(name) != first.get(name):
            count = "all" if here.get(name) is None else here[name]
            found.append(f"{count}-{name.replace('_', '-')}")
    found += [f"other-{name}" for name in ("tasks", "domains") if here.get(name) != first.get(name)]
    return " ".join(found) or "scored-otherwise"
